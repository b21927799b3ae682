"""`netlab policy …`: who reaches whom under the NetworkPolicies of a folder of manifests. Nothing needs root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import manifests, output

if TYPE_CHECKING:
    from netlab.compile.objects import Objects, Pod
    from netlab.compile.walk import Outcome, World


@click.group(
    epilog=output.examples(
        "netlab policy matrix -f manifests/", "netlab policy matrix -f manifests/ --explain web db --port 6379"
    )
)
def policy() -> None:
    """Who reaches whom, and which policy decides."""


@policy.command(
    epilog=output.examples(
        "netlab policy matrix -f manifests/                        # every port that a pod declares",
        "netlab policy matrix -f manifests/ --port 80 --port 53/udp",
        "netlab policy matrix -f manifests/ --explain default/web default/db",
        "netlab policy matrix -f manifests/ --json | jq '.ports[0].denied'",
    )
)
@manifests.FILES
@click.option("--port", "texts", multiple=True, metavar="N[/PROTO]", help="Ask for this port only; repeatable.")
@click.option("--explain", nargs=2, metavar="A B", help="Which policy decides between two pods, port by port.")
@click.option("--outside", metavar="ADDRESS", help="A client outside the cluster as one more row.")
@click.option("-6", "v6", is_flag=True, help="IPv6 instead of IPv4.")
@output.json_option
def matrix(
    files: tuple[Path, ...],
    texts: tuple[str, ...],
    explain: tuple[str, str] | None,
    outside: str | None,
    v6: bool,
    as_json: bool,
) -> None:
    """Pods by pods: who may open a connection to whom, on which port."""
    from netlab.compile.rules import world

    objects = manifests.cluster(files)
    made = world(objects, "iptables", 6 if v6 else 4)
    ports = [_port(text) for text in texts] or _declared(objects)
    if explain:
        _explain(objects, made, explain, ports, as_json=as_json)
        return
    rows = [_name(p) for p in objects.pods if made.ip_of(p) and p.node and not p.finished]
    sources = rows + ([outside] if outside else [])
    found = []
    for number, protocol in ports:
        denied = [
            (source, target)
            for source in sources
            for target in rows
            if _ask(objects, made, source, target, number, protocol).verdict != "delivered"
        ]
        found.append((number, protocol, denied))
    if as_json:
        output.emit_json(
            {
                "sources": sources,
                "targets": rows,
                "ports": [{"port": n, "protocol": p, "denied": [list(d) for d in denied]} for n, p, denied in found],
            }
        )
        return
    for number, protocol, denied in found:
        refused = set(denied)
        table = [
            (source, *(output.Styled("x", "red") if (source, t) in refused else "." for t in rows))
            for source in sources
        ]
        output.table((f"{number}/{protocol}  from \\ to", *rows), table)
        click.echo()
    click.echo(". may open a connection   x may not")


def _name(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name}"


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if not number.isdigit() or not 0 < int(number) < 65536 or protocol not in ("tcp", "udp", "sctp"):
        raise InputError([Problem("--port", f"{text!r} is no port", "write it like 80 or 53/udp")])
    return int(number), protocol


def _declared(objects: Objects) -> list[tuple[int, str]]:
    return sorted({(p.port, p.protocol) for pod in objects.pods for p in pod.ports}) or [(80, "tcp")]


def _ask(objects: Objects, world: World, source: str, target: str, number: int, protocol: str) -> Outcome:
    from netlab.compile.walk import Packet

    place, address = manifests.start(objects, world, source)
    ip = world.ip_of(manifests.pod_named(objects, target, "--explain"))
    return world.walk(place, Packet(address, ip or "", protocol, number))


def _explain(
    objects: Objects, world: World, pair: tuple[str, str], ports: list[tuple[int, str]], *, as_json: bool
) -> None:
    source = _name(manifests.pod_named(objects, pair[0], "--explain"))
    target = _name(manifests.pod_named(objects, pair[1], "--explain"))
    listed = []
    for number, protocol in ports:
        outcome = _ask(objects, world, source, target, number, protocol)
        allowed = [
            step.why
            for step in outcome.steps
            if step.chain.startswith(("NETPOL-IN-", "NETPOL-EG-")) and "mark" in step.effect
        ]
        listed.append((number, protocol, outcome, list(dict.fromkeys(allowed))))
    if as_json:
        output.emit_json(
            {
                "from": source,
                "to": target,
                "ports": [
                    {"port": n, "protocol": p, "verdict": o.verdict, "allowed_by": a, "denied_by": o.decided or None}
                    for n, p, o, a in listed
                ],
            }
        )
        return
    click.echo(f"{source} → {target}")
    for number, protocol, outcome, allowed in listed:
        if outcome.verdict == "delivered":
            because = "allowed by " + " and ".join(allowed) if allowed else "no policy isolates either side for this"
            click.echo(f"  {number}/{protocol}  {output.style('may', 'green')}      {because}")
        else:
            click.echo(f"  {number}/{protocol}  {output.style('may not', 'red')}  {outcome.decided}")
