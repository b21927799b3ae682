"""`netlab rules …`: Services and policies as a node's rules, and a packet's way through them. Nothing needs root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import manifests, output

if TYPE_CHECKING:
    from netlab.compile.proxying import ProxyConfig
    from netlab.compile.walk import Outcome

_FAMILY = click.option("-6", "v6", is_flag=True, help="IPv6 instead of IPv4.")


@click.group(
    epilog=output.examples(
        "netlab rules compile -f manifests/ --node n1",
        "netlab rules walk -f manifests/ --from client --to hostnames:80",
    )
)
def rules() -> None:
    """What Services and NetworkPolicies come to: the rules of a node, and a packet's way through them."""


@rules.command(
    epilog=output.examples(
        "netlab rules compile -f manifests/ --node n1 --mode iptables   # kube-proxy's chains",
        "netlab rules compile -f manifests/ --node n1 --mode nftables > n1.nft",
        "netlab rules compile -f manifests/ --node n1 --why             # as commands, each with its reason",
    )
)
@manifests.FILES
@click.option("--node", "name", required=True, metavar="NAME", help="Whose rules.")
@manifests.MODE
@manifests.proxy_options
@click.option("--policies/--no-policies", default=True, help="Whether NetworkPolicies are compiled, too.")
@click.option("--why", is_flag=True, help="One command per line, each with the object that asks for it.")
@output.json_option
def compile(
    files: tuple[Path, ...],
    name: str,
    mode: Literal["iptables", "ipvs", "nftables"],
    cidrs: tuple[str, ...],
    masquerade_all: bool,
    node_port_addresses: tuple[str, ...],
    policies: bool,
    why: bool,
    as_json: bool,
) -> None:
    """The rules of one node, ready for iptables-restore, ipset, ipvsadm and nft."""
    from netlab.compile.rules import node_rules
    from netlab.model.codec import to_json
    from netlab.model.explain import explain

    objects = manifests.cluster(files)
    node = next((n for n in objects.nodes if n.name == name), None)
    if node is None:
        raise manifests.unknown("--node", name, "node", (n.name for n in objects.nodes))
    state = node_rules(
        objects, node, mode, given=_config(cidrs, masquerade_all, node_port_addresses), policies=policies
    )
    if as_json:
        output.emit_json({"node": name, "mode": mode, "items": to_json(state)})
        return
    for command in explain(state, style="lines" if why else "restore"):
        if why and command.why:
            click.echo(f"# {command.why}")
        click.echo(command.shell())


@rules.command(
    epilog=output.examples(
        "netlab rules walk -f manifests/ --from client --to hostnames:80       # a pod to a Service",
        "netlab rules walk -f manifests/ --from client --to hostnames:80 --all # every endpoint, with its chance",
        "netlab rules walk -f manifests/ --from 203.0.113.9@n2 --to node:n2:30080",
        "netlab rules walk -f manifests/ --from node:n1 --to pod/web-0:80 --mode nftables",
    )
)
@manifests.FILES
@click.option("--from", "source", required=True, metavar="PLACE", help="A pod, node:NAME, or an address[@node].")
@click.option(
    "--to", "destination", required=True, metavar="PLACE:PORT", help="service:port, pod/NAME:port, address:port."
)
@click.option("--protocol", type=click.Choice(["tcp", "udp", "sctp"]), default="tcp", show_default=True)
@manifests.MODE
@manifests.proxy_options
@_FAMILY
@click.option("--all", "every", is_flag=True, help="Every way that chance can take, with its probability.")
@click.option(
    "--choose", type=click.IntRange(0), multiple=True, metavar="N", help="The dice: each throw in turn, from 0."
)
@click.option("--established", is_flag=True, help="Not the first packet of its connection.")
@output.json_option
def walk(
    files: tuple[Path, ...],
    source: str,
    destination: str,
    protocol: str,
    mode: Literal["iptables", "ipvs", "nftables"],
    cidrs: tuple[str, ...],
    masquerade_all: bool,
    node_port_addresses: tuple[str, ...],
    v6: bool,
    every: bool,
    choose: tuple[int, ...],
    established: bool,
    as_json: bool,
) -> None:
    """A packet's way, chain by chain: which rule matched, what was rewritten, the verdict, and why.

    Exits with 1 if the packet does not arrive.
    """
    from netlab.compile.rules import world
    from netlab.compile.walk import Dice, Packet, UnknownRule

    objects = manifests.cluster(files)
    made = world(objects, mode, 6 if v6 else 4, given=_config(cidrs, masquerade_all, node_port_addresses))
    place, address = manifests.start(objects, made, source)
    host, port = manifests.target(objects, made, destination)
    packet = Packet(address, host, protocol, port, state="ESTABLISHED" if established else "NEW")
    try:
        outcomes = list(made.outcomes(place, packet)) if every else [made.walk(place, packet, dice=Dice(choose))]
    except UnknownRule as e:
        raise InputError([Problem("the rules", str(e))]) from e
    except IndexError:
        raise InputError([Problem("--choose", "there are not so many choices", "leave it out, or use --all")]) from None
    outcomes.sort(key=lambda o: (-o.probability, o.where))
    if as_json:
        output.emit_json({"packet": str(packet), "from": str(place), "outcomes": [o.as_json() for o in outcomes]})
    else:
        click.echo(f"{packet}, from {place}")
        for outcome in outcomes:
            show(outcome, brief=every)
    if not all(o.verdict == "delivered" for o in outcomes):
        click.get_current_context().exit(1)


def show(outcome: Outcome, *, brief: bool = False) -> None:
    """One way of a packet: its steps, unless brief, and its end."""
    if not brief:
        for step in outcome.steps:
            number = f" {step.number}" if step.number else ""
            effect = output.style(step.effect, "cyan")
            click.echo(f"  {step.node}  {step.table} {step.chain}{number}  {effect}")
            click.echo(f"      {step.rule}")
            if step.why:
                click.echo(f"      because of {step.why}")
    packet = outcome.packet
    if outcome.verdict == "delivered":
        end = f"{output.style('delivered', 'green')} to {outcome.where}, as {packet}"
    else:
        words = {"drop": "dropped", "reject": "rejected"}.get(outcome.verdict, outcome.verdict)
        end = f"{output.style(words, 'red')} on {outcome.where}" + (f": {outcome.decided}" if outcome.decided else "")
    chance = f"{outcome.probability:7.2%}  " if outcome.probability < 1 else ""
    click.echo(chance + end)


def _config(cidrs: Sequence[str], masquerade_all: bool, addresses: Sequence[str]) -> ProxyConfig:
    from netlab.compile.proxying import ProxyConfig

    manifests.prefixes({"--cluster-cidr": cidrs, "--node-port-addresses": addresses})
    values: dict[str, Any] = {"masquerade_all": masquerade_all, "node_port_addresses": tuple(addresses)}
    return ProxyConfig(node="", cluster_cidrs=tuple(cidrs), **values)
