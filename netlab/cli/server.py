"""`netlab server`, `token`, `controllers`, `scheduler`, `kubeconfig`: a cluster's control plane, who may speak to it,
and who may join it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netlab.cli import output
from netlab.cli.apiserver import DATA_DIR, PATH, data_dir, options_of, server_options

if TYPE_CHECKING:
    from netlab.daemons.controllers import Settings
    from netlab.daemons.joining import Invitation

_CONTROLLERS = (
    click.option(
        "--controllers", "chosen", metavar="NAMES", default="*", show_default=True,
        help="Which controllers run: *,-job-controller for all but that one.",
    ),
    click.option(
        "--cluster-cidr", metavar="CIDR,…", default="",
        help="Give every node its part (podCIDRs) of this prefix, or of these two of IPv4 and IPv6.",
    ),
    click.option(
        "--node-cidr-mask-size", metavar="BITS,…", default="",
        help="How long a node's parts are, in the same order.  [default: 24 for IPv4, 64 for IPv6]",
    ),
    click.option(
        "--node-monitor-grace-period", "node_grace", type=click.FloatRange(1), metavar="SECONDS", default=50,
        show_default=True, help="How long a node may give no sign of life; it has to renew its Lease more often.",
    ),
)  # fmt: skip


def _controllers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb what controllers are told."""
    for option in reversed(_CONTROLLERS):
        command = option(command)
    return command


def _settings(given: dict[str, Any]) -> Settings:
    """What was given by `_controllers`, which is taken out. InputError."""
    from netlab.controllers.podranges import cluster_ranges
    from netlab.daemons.controllers import Settings, chosen

    ranges = cluster_ranges(given.pop("cluster_cidr"), given.pop("node_cidr_mask_size"))
    return Settings(chosen(given.pop("chosen")), ranges, node_grace=given.pop("node_grace"))


@click.command(
    epilog=output.examples(
        "sudo netlab server                              # prints the command by which machines become its nodes",
        "sudo netlab server --bind 192.168.61.10         # of several addresses, this one",
        "sudo netlab server --network flannel-host-gw --proxy nftables",
        "netlab kubectl get nodes                        # or: export KUBECONFIG=/var/lib/netlab/server/admin.conf",
        "netlab server --no-nodes --data-dir /tmp/try --store memory --port 0    # the API, for this machine alone",
    ),
)
@data_dir
@click.option("--bind", metavar="ADDRESS", show_default="all, known by that of the default route; or 127.0.0.1",
              help="Address to answer on, and that nodes know it by.")  # fmt: skip
@server_options
@click.option("--nodes/--no-nodes", "joinable", default=True, show_default=True,
              help="Let machines join: with what they have to be told, and the cluster's name server.")  # fmt: skip
@click.option("--network", default="flannel-vxlan", show_default=True,
              type=click.Choice(["flannel-vxlan", "flannel-udp", "flannel-host-gw"]),
              help="How pods of different nodes reach each other.")  # fmt: skip
@click.option("--proxy", type=click.Choice(["iptables", "ipvs", "nftables"]), default="iptables", show_default=True,
              help="How nodes serve Services.")  # fmt: skip
@click.option("--dns/--no-dns", default=True, show_default=True, help="Be the name server, at port 53.")
@click.option("--token/--no-token", "invite", default=True, show_default=True,
              help="Make a token for nodes at once; `netlab token` makes more.")  # fmt: skip
@click.option(
    "--scheduler/--no-scheduler", "schedule", default=True, show_default=True, help="Place pods on nodes, too."
)
@_controllers
def server(
    joinable: bool, network: str, proxy: str, dns: bool, invite: bool, schedule: bool, bind: str | None, **given: Any
) -> None:
    """Be a cluster's control plane: the Kubernetes API, the controllers and the scheduler that make its objects mean
    something, and the name server. Other machines become its nodes by the command that it prints.

    Namespaces end with all that is in them, what has owners goes with them, every namespace has a service account,
    quotas are counted, Services have endpoints, Deployments, DaemonSets and Jobs have pods, pods are given nodes, and
    nodes that are silent lose theirs. It runs no pods itself, and changes nothing of this machine's network: that is
    for `netlab agent --control-plane` beside it. It ends by SIGINT or SIGTERM.
    """
    if joinable and not given["cluster_cidr"]:
        from netlab.cluster.networks import PODS

        given["cluster_cidr"] = str(PODS)
    settings, advertise = _settings(given), ""
    if bind is None:
        bind = "0.0.0.0" if joinable else "127.0.0.1"
    if joinable and _address(bind).is_unspecified:
        from netlab.daemons.ownaddress import own

        found = own()
        advertise = str(found[0])
        given["tls_san"] = (*given["tls_san"], socket.gethostname(), *map(str, found))
    options = replace(options_of({**given, "bind": bind}), advertise=advertise)
    from netlab.daemons.server import Nodes, run

    nodes = Nodes(network=network, proxy=proxy, dns=dns, invited=partial(_tell, given["data_dir"]) if invite else None)
    run(options, settings, schedule=schedule, nodes=nodes if joinable else None)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as e:
        raise click.UsageError(f"--bind: {e}") from e


def _tell(data_dir: Path, invitation: Invitation) -> None:
    click.echo(f"{output.style('up', 'green')}  {invitation.server}")
    click.echo(f"    export KUBECONFIG={data_dir.absolute() / 'admin.conf'}    kubectl get nodes")
    click.echo(f"another machine becomes a node by\n    sudo {invitation.command()}")
    here = "" if data_dir == DATA_DIR else f" --data-dir {data_dir.absolute()}"
    click.echo(f"this one by\n    sudo netlab agent --this-machine --control-plane{here}")


@click.command(
    epilog=output.examples(
        "sudo netlab token",
        "sudo netlab token --hours 1",
        'ssh agent-1 "sudo $(sudo netlab token)"        # joins it, and stays in the foreground',
        "netlab token --data-dir /srv/cluster --json",
    ),
)
@data_dir
@click.option("--hours", type=click.FloatRange(0.01, 8760), default=24, show_default=True, help="How long it is good.")
@output.json_option
def token(data_dir: Path, hours: float, as_json: bool) -> None:
    """Make a token with which machines can become nodes of the server of this machine, and print the command that it
    takes there. `netlab cluster token` does so for a cluster made of namespaces."""
    from netlab.daemons.server import invite

    made = invite(data_dir, hours=hours)
    if as_json:
        output.emit_json({"server": made.server, "token": made.token, "ca_hash": made.ca_hash})
    else:
        click.echo(made.command())


def _follower(lease: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a verb what a process is told that follows an API server."""
    given = (
        click.option(
            "--kubeconfig", type=PATH, required=True, metavar="FILE", help="The API server, and as whom to ask."
        ),
        click.option(
            "--leader-elect/--no-leader-elect", default=True, show_default=True,
            help=f"Of several such processes let one work, by the Lease kube-system/{lease}.",
        ),
        click.option(
            "--health-host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Of /healthz, /metrics."
        ),
        click.option("--health-port", type=click.IntRange(1, 65535), show_default="none", help="Its port."),
    )  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(given):
            command = option(command)
        return command

    return decorate


@click.command(
    epilog=output.examples(
        "netlab controllers --kubeconfig /srv/cluster/admin.conf",
        "netlab controllers --kubeconfig admin.conf --health-port 10257   # /healthz, /readyz, /metrics",
    ),
)
@_follower("kube-controller-manager")
@_controllers
@click.option(
    "--cluster-signing-cert-file", "cert", type=PATH, metavar="FILE", help="The CA that signs certificate requests."
)
@click.option("--cluster-signing-key-file", "key", type=PATH, metavar="FILE", help="Its key.")
def controllers(cert: Path | None, key: Path | None, **given: Any) -> None:
    """Run the controllers against an API server: netlab's, or another that has none of its own.

    It ends by SIGINT or SIGTERM, or when another process has taken the Lease.
    """
    settings = _settings(given)
    if (cert is None) != (key is None):
        raise click.UsageError("--cluster-signing-cert-file and --cluster-signing-key-file go together")
    if cert is not None and key is not None:
        from netlab.controllers.certificates import Authority

        settings = replace(settings, authority=Authority.load(cert, key))
    from netlab.daemons.controllers import run
    from netlab.daemons.loops import Options

    run(Options(**given), settings)


@click.command(
    epilog=output.examples(
        "netlab scheduler --kubeconfig /srv/cluster/admin.conf",
        "netlab scheduler --kubeconfig admin.conf --health-port 10259   # /healthz, /readyz, /metrics",
        "netlab server --data-dir /srv/cluster --no-scheduler            # a server that leaves it to this one",
    ),
)
@_follower("kube-scheduler")
def scheduler(**given: Any) -> None:
    """Give pods their nodes, against an API server that has no scheduler.

    It ends by SIGINT or SIGTERM, or when another process has taken the Lease.
    """
    from netlab.daemons.loops import Options
    from netlab.daemons.scheduler import run

    run(Options(**given))


@click.command(
    epilog=output.examples(
        "netlab kubeconfig jane --group dev --data-dir /srv/cluster -o jane.conf",
        "kubectl --kubeconfig jane.conf auth whoami",
        "netlab kubeconfig root --group system:masters --data-dir /srv/cluster",
    ),
)
@click.argument("user")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Groups of the user.")
@data_dir
@click.option("--server", metavar="URL", default="", help="The server's address. [default: as the administrator's]")
@click.option("-o", "--output", "file", type=PATH, metavar="FILE", help="Write it here, for its owner alone.")
def kubeconfig(user: str, groups: tuple[str, ...], data_dir: Path, server: str, file: Path | None) -> None:
    """Print a kubeconfig for USER of a server on this machine: a client certificate, good for a year.

    What the user may do is for RoleBindings to say; the group system:masters may do anything.
    """
    from netlab.daemons.apiserver import issue_kubeconfig, write_private

    config = issue_kubeconfig(data_dir, user, groups, server=server)
    if file is None:
        click.echo(config.decode(), nl=False)
    else:
        write_private(file, config)
