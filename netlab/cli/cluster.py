"""`netlab cluster …`: a Kubernetes cluster on this machine, its nodes, and the way into them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netlab.base.errors import InputError, MachineError
from netlab.cli import output

if TYPE_CHECKING:
    from netlab.cluster.engine import Engine, NodeStatus
    from netlab.cluster.machine import Progress
    from netlab.cluster.probing import Seen

PATH = click.Path(path_type=Path, file_okay=False)
F = TypeVar("F", bound=Callable[..., Any])

#: rows of the matrix (`netlab.cluster.matrix.KINDS`, which takes longer to import than help should)
KINDS = ("pod-pod", "pod-node", "pod-Service", "node-Service", "outside-NodePort", "hairpin", "DNS", "MTU")
#: what a cluster is called that is given no name
DEFAULT = "k8s"


@click.group(
    epilog=output.examples(
        "sudo netlab cluster up                         # a cluster of three nodes, called k8s",
        'export KUBECONFIG="$(netlab cluster kubeconfig)"',
        "kubectl get nodes",
        "sudo netlab cluster exec node1 -- ip route     # into a node",
        "sudo netlab cluster node crash node1           # pull its plug",
        "sudo netlab cluster down",
    )
)
def cluster() -> None:
    """Kubernetes on this machine: nodes made of namespaces, and real pods on them."""


def _engine() -> Engine:
    from netlab.cluster.engine import Engine
    from netlab.daemons.clusters import ClusterMachine

    return Engine(ClusterMachine(), say=output.note)


def _up() -> list[str]:
    from netlab.lab.journal import running

    return running(kind="cluster")


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _up() if name.startswith(incomplete)]


def _name(given: str | None) -> str:
    """The cluster that is meant: the only one that is up, if none was named. InputError if that says nothing."""
    if given:
        return given
    up = _up()
    if len(up) == 1:
        return up[0]
    if not up:
        raise InputError("no cluster is up", hint="netlab cluster up")
    raise InputError(f"which cluster? there are {', '.join(up)}")


def _named(command: F) -> F:
    return click.argument("name", metavar="[NAME]", required=False, shell_complete=_complete)(command)


def _of(command: F) -> F:
    text = "Which cluster. [default: the only one that is up]"
    return click.option("--cluster", "name", metavar="NAME", shell_complete=_complete, help=text)(command)


def _told(bar: output.Progress) -> Progress:
    return lambda what, count: bar.advance(0, description=f"{what} ({count})" if count else what)


@cluster.command(
    epilog=output.examples(
        "netlab cluster up",
        "netlab cluster up blue --nodes 5 --network calico",
        "netlab cluster up --network flannel-udp --proxy nftables --store etcd",
        "netlab cluster up --json",
    )
)
@click.argument("name", metavar="[NAME]", default=DEFAULT)
@click.option("--nodes", "count", type=int, default=3, show_default=True, metavar="N",
              help="How many, the control plane included.")  # fmt: skip
@click.option("--network", default="flannel-vxlan", show_default=True,
              type=click.Choice(["flannel-vxlan", "flannel-udp", "flannel-host-gw", "calico"]),
              help="How pods of different nodes reach each other.")  # fmt: skip
@click.option("--proxy", default="iptables", show_default=True, type=click.Choice(["iptables", "ipvs", "nftables"]),
              help="How Services are served.")  # fmt: skip
@click.option("--store", default="sqlite", show_default=True, type=click.Choice(["sqlite", "etcd"]),
              help="Where the API server keeps its objects.")  # fmt: skip
@click.option("--node-monitor-grace-period", type=int, default=50, show_default=True, metavar="SECONDS",
              help="How long a node may be silent before its pods are given up.")  # fmt: skip
@click.option("--ipv6", is_flag=True, help="Nodes and pods have IPv6 addresses, too.")
@click.option("--disk", "disks", type=PATH, metavar="DIR", default="/var/lib/netlab/clusters", show_default=True,
              help="Where a new cluster's nodes keep what they write: a real file system, no overlay.")  # fmt: skip
@click.option("--images", type=PATH, metavar="DIR", default="/var/lib/netlab/images", show_default=True,
              help="The store of images, which clusters share.")  # fmt: skip
@output.json_option
def up(name: str, count: int, disks: Path, images: Path, as_json: bool, **given: Any) -> None:
    """Bring a cluster up, and wait until all of its nodes are Ready.

    On one that is up, what is missing is brought back: nodes that were stopped or have crashed.
    """
    from netlab.cluster.options import options

    asked = options(name, count=count, **given)
    started = time.monotonic()
    with output.progress(f"cluster {name}", None) as bar:
        done = _engine().up(asked, disks=disks, images=images, progress=_told(bar))
    seconds = round(time.monotonic() - started, 2)
    if as_json:
        output.emit_json({
            "name": done.name, "fresh": done.fresh, "nodes": done.nodes, "kubeconfig": done.kubeconfig,
            "steps": done.seconds, "seconds": seconds,
        })  # fmt: skip
        return
    click.echo(f"{output.style('up', 'green')}  {name}: {len(done.nodes)} nodes Ready in {seconds:.2f} s")
    click.echo(f"    export KUBECONFIG={done.kubeconfig}    kubectl get nodes    netlab cluster exec {done.nodes[-1]}")


@cluster.command(epilog=output.examples("netlab cluster down", "netlab cluster down blue", "netlab cluster down --all"))
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete)
@click.option("--all", "everything", is_flag=True, help="Every cluster that is up.")
@output.json_option
def down(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Take clusters down, with all that runs in them and all that they have written. Needs nothing but the name."""
    if names and everything:
        raise click.UsageError("name the clusters to take down, or say --all")
    gone = []
    for name in _up() if everything else names or (_name(None),):
        started = time.monotonic()
        count = _engine().down(name)
        seconds = round(time.monotonic() - started, 2)
        gone.append({"name": name, "was_up": count is not None, "nodes": count or 0, "seconds": seconds})
        if not as_json:
            what = f"{count} nodes removed in {seconds:.2f} s" if count is not None else "is not up"
            click.echo(f"{output.style('down', 'green')}  {name}: {what}" if count is not None else f"{name} {what}")
    if as_json:
        output.emit_json(gone)


@cluster.command("list", epilog=output.examples("netlab cluster list", "netlab cluster list --json"))
@output.json_option
def list_(as_json: bool) -> None:
    """List the clusters that are up. One that another netlab has made is named on standard error."""
    found = []
    for name in _up():
        try:
            found.append(_engine().cluster(name))
        except MachineError as e:
            output.note(f"cluster {name}: {e} ({e.hint})")
    rows = [
        {"name": c.name, "nodes": len(c.nodes), "network": c.options.network, "proxy": c.options.proxy,
         "store": c.options.store, "ipv6": c.options.ipv6, "server": c.outer, "kubeconfig": c.kubeconfig}
        for c in found
    ]  # fmt: skip
    if as_json:
        output.emit_json(rows)
        return
    columns = ("name", "nodes", "network", "proxy", "store", "server")
    output.table(columns, [[row[column] for column in columns] for row in rows])


@cluster.command(epilog=output.examples("netlab cluster status", "netlab cluster status blue --json"))
@_named
@output.json_option
def status(name: str | None, as_json: bool) -> None:
    """Tell how the nodes are: whether they have power, what runs in them, and what the API says of them.

    Status 1 if a node is not Ready.
    """
    found = _engine().status(_name(name))
    if as_json:
        output.emit_json([_status(node) for node in found])
    else:
        rows = [
            [node.name, *_words(node), ", ".join(node.addresses), node.pid,
             ", ".join(f"{what} {process['state']}" for what, process in node.processes.items())]
            for node in found
        ]  # fmt: skip
        output.table(("node", "power", "api", "addresses", "init", "processes"), rows)
    if any(_status(node)["ready"] is not True for node in found):
        click.get_current_context().exit(1)


def _status(node: NodeStatus) -> dict[str, Any]:
    from netlab.daemons.clusters import not_ready

    why = "is not in the API" if node.api is None else not_ready(node.api)
    return {
        "name": node.name, "on": node.on, "ready": why is None, "why": why, "addresses": node.addresses,
        "init": node.pid, "processes": node.processes,
    }  # fmt: skip


def _words(node: NodeStatus) -> list[output.Styled]:
    said = _status(node)
    power = output.Styled("on", "green") if node.on else output.Styled("off", "red")
    return [power, output.Styled("Ready", "green") if said["ready"] else output.Styled(f"it {said['why']}", "red")]


@cluster.command(
    epilog=output.examples(
        "netlab cluster check",
        "netlab cluster check blue --only DNS --only hairpin",
        "netlab cluster check --json",
    )
)
@_named
@click.option("--only", "kinds", multiple=True, type=click.Choice(KINDS), help="Not all of the matrix.")
@click.option("--within", type=click.FloatRange(0), metavar="S", default=30, show_default=True,
              help="Seconds in which everything has to work: rules follow pods a little later.")  # fmt: skip
@output.json_option
@click.pass_context
def check(ctx: click.Context, name: str | None, kinds: tuple[str, ...], within: float, as_json: bool) -> None:
    """Send packets between pods, nodes, Services and the world outside, by every way that should work.

    For that it makes a pod on every node, and takes them away again. Its exit status is 1 if something does not work.
    """
    from netlab.daemons.clustercheck import check as checked

    named = _name(name)
    with output.progress(f"cluster {named}", None) as bar:
        results = checked(_engine(), named, kinds or KINDS, within=within, progress=_told(bar))
    failed = [result for result in results if result.failure]
    if as_json:
        output.emit_json([
            {"kind": r.probe.kind, "family": r.probe.family, "from": r.probe.source.name, "to": r.probe.to,
             "outcome": "failed" if r.failure else "passed", "detail": r.failure}
            for r in results
        ])  # fmt: skip
    else:
        families = sorted({r.probe.family for r in results})
        rows = [(kind, *(_counted(results, kind, family) for family in families)) for kind in kinds or KINDS]
        output.table(("", *(f"IPv{family}" for family in families)), rows)
        for r in failed:
            click.echo(f"{r.probe.kind} IPv{r.probe.family}: {r.probe.source.name} → {r.probe.to}: {r.failure}")
    ctx.exit(1 if failed else 0)


def _counted(results: list[Seen], kind: str, family: int) -> object:
    those = [r for r in results if (r.probe.kind, r.probe.family) == (kind, family)]
    bad = sum(bool(r.failure) for r in those)
    if bad:
        return output.Styled(f"{bad} of {len(those)} failed", "red")
    return output.Styled(f"{len(those)} passed", "green") if those else None


@cluster.command(
    epilog=output.examples(
        'export KUBECONFIG="$(netlab cluster kubeconfig)"',
        "kubectl --kubeconfig $(netlab cluster kubeconfig blue) get pods",
    )
)
@_named
def kubeconfig(name: str | None) -> None:
    """Print the path of the administrator's kubeconfig."""
    click.echo(_engine().cluster(_name(name)).kubeconfig)


@cluster.command(epilog=output.examples("netlab cluster token", "netlab cluster token blue --hours 1 --json"))
@_named
@click.option("--hours", type=click.FloatRange(0.01, 8760), default=24, show_default=True, help="How long it is good.")
@output.json_option
def token(name: str | None, hours: float, as_json: bool) -> None:
    """Make a token with which a machine can become a node, and print the command that it takes there."""
    from netlab.daemons.joining import Invitation, fingerprint

    engine, named = _engine(), _name(name)
    found = engine.cluster(named)
    made = engine.token(named, hours=hours)
    invitation = Invitation(found.server, made, fingerprint(found.authority.read_bytes()))
    if as_json:
        output.emit_json({"server": found.server, "token": made, "ca_hash": invitation.ca_hash})
    else:
        click.echo(invitation.command())


@cluster.command(
    context_settings={"ignore_unknown_options": True},
    epilog=output.examples(
        "netlab cluster exec node1                      # a shell in a node",
        "netlab cluster exec node1 -- ip route",
        "netlab cluster exec --cluster blue control-plane -- ls /var/lib/netlab/server",
    ),
)
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_of
def exec(node: str, command: tuple[str, ...], name: str | None) -> None:
    """Run COMMAND in a node: in its network, its files, among its processes. Its exit status is ours."""
    _engine().enter(_name(name), node, list(command) or ["bash"])


@cluster.command(
    epilog=output.examples(
        "netlab cluster logs                            # what there is",
        "netlab cluster logs node1/agent",
        "netlab cluster logs control-plane/server --follow",
    )
)
@click.argument("process", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added.")
@_of
@output.json_option
def logs(process: str | None, follow: bool, name: str | None, as_json: bool) -> None:
    """Print what a process of the cluster has logged; without PROCESS, the names of those that have."""
    engine, named = _engine(), _name(name)
    if process is None:
        names = sorted(f"{node.name}/{what}" for node in engine.status(named) for what in ("init", *node.processes))
        output.emit_json(names) if as_json else click.echo("\n".join(names))
        return
    file = engine.log(named, process)
    if as_json:
        output.emit_json({"process": process, "file": file, "lines": file.read_text(errors="replace").splitlines()})
    elif follow:
        from netlab.kernel.commands import become

        become(["tail", "-n", "+1", "-F", str(file)])
    else:
        click.echo(file.read_text(errors="replace"), nl=False)


@cluster.group(
    epilog=output.examples(
        "netlab cluster node add",
        "netlab cluster node stop node1                 # shut it down",
        "netlab cluster node crash node1                # pull its plug",
        "netlab cluster node start node1",
        "netlab cluster node remove node1",
    )
)
def node() -> None:
    """Nodes of a cluster: add, stop, start, crash, remove."""


def _done(verb: str, node: str, name: str, began: float, as_json: bool, *, changed: bool = True) -> None:
    seconds = round(time.monotonic() - began, 2)
    if as_json:
        output.emit_json({"cluster": name, "node": node, "verb": verb, "changed": changed, "seconds": seconds})
    else:
        click.echo(f"{node}: {verb} in {seconds:.2f} s" if changed else f"{node}: it is so already")


@node.command(epilog=output.examples("netlab cluster node add", "netlab cluster node add --cluster blue"))
@_of
@output.json_option
def add(name: str | None, as_json: bool) -> None:
    """Add a node, and wait until it is Ready. It gets the first number that is free."""
    began, named = time.monotonic(), _name(name)
    with output.progress(f"cluster {named}", None) as bar:
        added = _engine().add(named, progress=_told(bar))
    _done("added", added, named, began, as_json)


@node.command(epilog=output.examples("netlab cluster node start node1"))
@click.argument("node")
@_of
@output.json_option
def start(node: str, name: str | None, as_json: bool) -> None:
    """Give a node that is off its power back, and wait until it is Ready."""
    began, named = time.monotonic(), _name(name)
    with output.progress(f"node {node}", None) as bar:
        changed = _engine().start(named, node, progress=_told(bar))
    _done("started", node, named, began, as_json, changed=changed)


@node.command(epilog=output.examples("netlab cluster node stop node1"))
@click.argument("node")
@_of
@output.json_option
def stop(node: str, name: str | None, as_json: bool) -> None:
    """Shut a node down: its agent is told, and may finish what it does."""
    began, named = time.monotonic(), _name(name)
    changed = _engine().stop(named, node)
    _done("stopped", node, named, began, as_json, changed=changed)


@node.command(epilog=output.examples("netlab cluster node crash node1"))
@click.argument("node")
@_of
@output.json_option
def crash(node: str, name: str | None, as_json: bool) -> None:
    """Pull a node's plug: all that runs in it is gone at once, and nobody is told. Its disk stays."""
    began, named = time.monotonic(), _name(name)
    changed = _engine().crash(named, node)
    _done("crashed", node, named, began, as_json, changed=changed)


@node.command(epilog=output.examples("netlab cluster node remove node1"))
@click.argument("node")
@_of
@output.json_option
def remove(node: str, name: str | None, as_json: bool) -> None:
    """Take a node out of the cluster, with its disk."""
    began, named = time.monotonic(), _name(name)
    _engine().remove(named, node)
    _done("removed", node, named, began, as_json)
