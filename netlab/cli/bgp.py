"""`netlab bgp …`: ask a running bgpd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from netlab.base.errors import InputError
from netlab.cli import output
from netlab.lab.journal import CLUSTER

Command = TypeVar("Command", bound=Callable[..., Any])
RUN = Path("/run/netlab")


def where(command: Command) -> Command:
    """Give a verb the options that find the daemon."""
    for option in (
        click.option("--node", metavar="NODE", help="The bgpd of that node of --lab."),
        click.option("--lab", metavar="LAB", help="A lab that runs bgpd on its nodes, or a cluster with Calico."),
        click.option("--socket", type=click.Path(path_type=Path), help="The control socket of the daemon."),
    ):
        command = option(command)
    return command


def find(socket: Path | None, lab: str | None, node: str | None) -> Path:
    """The socket that is meant; without a word the only one there is. InputError."""
    if socket is not None:
        return socket
    if lab is None and node is not None:
        raise InputError("--node needs --lab", hint="netlab bgp summary --lab LAB --node NODE")
    if lab is not None and node is not None and (RUN / lab / CLUSTER).exists():
        return _in_cluster(lab, node)
    folder = RUN / lab / "bgp" if lab else RUN / "bgp"
    if node is not None:
        return folder / f"{node}.sock"
    found = sorted(folder.glob("*.sock"))
    if len(found) == 1:
        return found[0]
    option = f"--lab {lab} --node" if lab else "--socket"
    names = ", ".join(p.stem if lab else str(p) for p in found)
    raise InputError(
        f"there are {len(found)} bgpd in {folder}" if found else f"no bgpd runs in {folder}",
        hint=f"say which: {option} one of {names}" if found else "start one: netlab bgpd --config FILE",
    )


def _in_cluster(name: str, node: str) -> Path:
    """The socket in a cluster's node. InputError if the node is off."""
    from netlab.cli.lab.common import on_clusters

    found = on_clusters().cluster(name).bgp(node)
    if found is None:
        raise InputError(f"cluster {name} has no node {node!r} that is on", hint=f"netlab cluster status {name}")
    return found


def ask(socket: Path | None, lab: str | None, node: str | None, **request: Any) -> Any:
    """The daemon's answer."""
    from netlab.daemons.bgpcontrol import ask as asking

    return asking(find(socket, lab, node), {k: v for k, v in request.items() if v is not None})


@click.group(
    epilog=output.examples(
        "netlab bgp summary",
        "netlab bgp neighbors tor1",
        "netlab bgp explain 10.1.0.0/16          # why this path won, step by step",
        "netlab bgp rib --lab bgp-border --node router1",
    )
)
def bgp() -> None:
    """Look into a running bgpd: peers, routes, and why."""


def _span(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"


@bgp.command(
    epilog=output.examples("netlab bgp summary", "netlab bgp summary --socket r1.sock --json | jq .peers[].state")
)
@where
@output.json_option
def summary(socket: Path | None, lab: str | None, node: str | None, as_json: bool) -> None:
    """One line per peer."""
    told = ask(socket, lab, node, verb="summary")
    if as_json:
        output.emit_json(told)
        return
    routes = ", ".join(f"{count} {family}" for family, count in told["routes"].items())
    click.echo(f"{told['name']}: AS {told['as']}, router id {told['router_id']}")
    click.echo(f"routes: {routes}; in the kernel: {told['kernel_routes']}")
    if told["last_kernel_error"]:
        click.echo(f"the kernel refused {told['kernel_errors']} times, the last time: {told['last_kernel_error']}")
    rows = []
    for p in told["peers"]:
        up = p["state"] == "Established"
        state = output.Styled(p["state"], "green" if up else "yellow")
        counts = [" ".join(f"{family}:{n}" for family, n in p[key].items()) for key in ("received", "sent")]
        last = "" if up else p["last_error"]
        rows.append((p["name"], p["address"], p["as"], p["type"], state, _span(p["since"]), *counts, last))
    output.table(("peer", "address", "AS", "type", "state", "for", "received", "sent", "last error"), rows)


@bgp.command(epilog=output.examples("netlab bgp neighbors", "netlab bgp neighbors 10.0.0.2 --json"))
@click.argument("peer", required=False)
@where
@output.json_option
def neighbors(peer: str | None, socket: Path | None, lab: str | None, node: str | None, as_json: bool) -> None:
    """Everything about each peer: what was agreed, what was sent, what went wrong."""
    told = ask(socket, lab, node, verb="neighbors", peer=peer)
    if as_json:
        output.emit_json(told)
        return
    for n in told:
        click.echo(f"{n['name']}: {n['address']}, AS {n['as']} ({n['type']}), {n['state']} for {_span(n['since'])}")
        for key in ("router_id", "local_address", "opened_by", "hold_time", "import", "export", "last_error"):
            if n[key]:
                click.echo(f"  {key.replace('_', ' ')}: {n[key]}")
        for side in ("ours", "theirs"):
            capabilities = n["capabilities"][side]
            if capabilities:
                words = [f"{k}: {_words(v)}" for k, v in capabilities.items() if v]
                click.echo(f"  capabilities, {side}: {'; '.join(words)}")
        for direction in ("received", "sent"):
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(n["messages"][direction].items()))
            click.echo(f"  messages {direction}: {counts or 'none'}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else "yes" if value is True else str(value)


_FAMILY = click.option("--family", type=click.Choice(["ipv4", "ipv6"]), help="Only this family.")


def _attributes(a: dict[str, Any]) -> tuple[str, str, str, str, str]:
    communities = " ".join([*a.get("communities", []), *a.get("extended_communities", [])])
    more = " ".join([communities, *a.get("large_communities", [])]).strip()
    pref, med = a.get("local_pref"), a.get("med")
    return (
        a.get("next_hop", ""), "" if pref is None else str(pref), "" if med is None else str(med),
        f"{a['as_path']} {a['origin'][0]}".strip(), more,
    )  # fmt: skip


@bgp.command(
    epilog=output.examples(
        "netlab bgp rib",
        "netlab bgp rib 10.0.0.0/8               # what lies within it",
        "netlab bgp rib --told tor1              # what the peer tor1 has been told",
    )
)
@click.argument("prefix", required=False)
@_FAMILY
@click.option("--told", "peer", metavar="PEER", help="What this peer has been told (Adj-RIB-Out).")
@where
@output.json_option
def rib(
    prefix: str | None,
    family: str | None,
    peer: str | None,
    socket: Path | None,
    lab: str | None,
    node: str | None,
    as_json: bool,
) -> None:
    """All paths to all prefixes. > is the best, = shares the load with it, x cannot be used."""
    told = ask(socket, lab, node, verb="rib", prefix=prefix, family=family, peer=peer)
    if as_json:
        output.emit_json(told)
        return
    columns = ("prefix", "next hop", "pref", "MED", "path", "communities")
    if peer:
        output.table(columns, [(r["prefix"], *_attributes(r["attributes"])) for r in told])
        return
    rows = []
    for entry in told:
        for i, path in enumerate(entry["paths"]):
            mark = ">" if i == 0 and entry["best"] else "=" if i < entry["best"] else " " if path["usable"] else "x"
            rows.append((mark, entry["prefix"] if i == 0 else "", *_attributes(path["attributes"]), path["from"]))
    output.table(("", *columns, "from"), rows)


@bgp.command(epilog=output.examples("netlab bgp routes", "netlab bgp routes --family ipv6 --json"))
@_FAMILY
@where
@output.json_option
def routes(family: str | None, socket: Path | None, lab: str | None, node: str | None, as_json: bool) -> None:
    """What the kernel was asked for."""
    told = ask(socket, lab, node, verb="routes", family=family)
    if as_json:
        output.emit_json(told)
        return
    rows = []
    for r in told:
        ways = ", ".join(f"via {w['via']} dev {w['dev']}" if w["via"] else f"dev {w['dev']}" for w in r["next_hops"])
        rows.append((r["prefix"], ways or r["type"], r["protocol"], r["metric"], r["why"]))
    output.table(("prefix", "next hops", "protocol", "metric", "why"), rows)


@bgp.command(
    epilog=output.examples(
        "netlab bgp explain 10.1.0.0/16",
        "netlab bgp explain 10.1.2.3             # by the longest prefix that has the address",
        "netlab bgp explain 2001:db8::/32 --json",
    )
)
@click.argument("prefix")
@where
@output.json_option
def explain(prefix: str, socket: Path | None, lab: str | None, node: str | None, as_json: bool) -> None:
    """Why this path won: each step of the decision, what each path had to show, and who was left."""
    told = ask(socket, lab, node, verb="explain", prefix=prefix)
    if as_json:
        output.emit_json(told)
        return
    if told["prefix"] is None:
        raise InputError(f"there is no route to {prefix}", hint="netlab bgp rib lists them all")
    click.echo(f"{told['prefix']}: {len(told['paths'])} paths, " + _outcome(told))
    for step in told["steps"]:
        click.echo(f"  {step['step']}")
        for name, value in step["values"].items():
            mark = "✓" if name in step["left"] else "✗"
            click.echo(f"    {mark} {name}: {value}")
    click.echo(f"  kernel: {told['kernel'] or 'nothing'}")
    for line in told["told"]:
        click.echo(f"  {'told to' if line['told'] else 'not told to'} {line['peer']}: {line['why']}")


def _outcome(told: dict[str, Any]) -> str:
    if told["winner"] is None:
        return "none of which can be used"
    sharing = f", sharing the load with {', '.join(told['multipath'])}" if told["multipath"] else ""
    return f"the best from {told['winner']}{sharing}"


@bgp.command(epilog=output.examples("netlab bgp refresh tor1      # watch the UPDATEs come in again in the event log"))
@click.argument("peer", required=False)
@where
@output.json_option
def refresh(peer: str | None, socket: Path | None, lab: str | None, node: str | None, as_json: bool) -> None:
    """Ask a peer, or all, for all routes again (ROUTE-REFRESH)."""
    told = ask(socket, lab, node, verb="refresh", peer=peer)
    output.emit_json(told) if as_json else click.echo(f"asked for {told['asked']} families")


@bgp.command(epilog=output.examples("netlab bgp reset tor1 --text 'maintenance, back in 5 min'"))
@click.argument("peer", required=False)
@click.option("--text", help="Words for whoever looks at the other side (RFC 9003).")
@where
@output.json_option
def reset(
    peer: str | None, text: str | None, socket: Path | None, lab: str | None, node: str | None, as_json: bool
) -> None:
    """End the session with a peer, or all, and begin anew."""
    told = ask(socket, lab, node, verb="reset", peer=peer, text=text)
    output.emit_json(told) if as_json else click.echo(f"reset {peer or 'all peers'}")


@bgp.command(epilog=output.examples("netlab bgp reload"))
@where
@output.json_option
def reload(socket: Path | None, lab: str | None, node: str | None, as_json: bool) -> None:
    """Have the configuration read again, and see what is wrong with it."""
    told = ask(socket, lab, node, verb="reload")
    if "error" in told:
        raise InputError(str(told["error"]), hint=told.get("hint"))
    output.emit_json(told) if as_json else click.echo(f"read {told['reloaded']}: {told['peers']} peers")
