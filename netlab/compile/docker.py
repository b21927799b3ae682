"""The firewall of a container host, as a container engine lays it out (the chains that `iptables-save` shows there).

nat     PREROUTING, OUTPUT → DOCKER: published ports become DNAT to the container
        POSTROUTING: MASQUERADE for what leaves the bridge, and for a container that calls itself (hairpin)
filter  FORWARD, policy DROP → DOCKER: only published ports come in; what goes out, and its answers, may pass
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from netlab.compile.topology import ContainerBridge, Published
from netlab.model import Chain, IptablesRule

#: (table, chain) to rules
Rules = dict[tuple[str, str], list[IptablesRule]]


def container_host_chains(family: Literal[4, 6], bridges: Iterable[ContainerBridge], *, why: str) -> list[Chain]:
    """All chains of one family for the bridges of a host."""
    rules: Rules = {("nat", "DOCKER"): [], ("filter", "DOCKER"): []}

    def add(table: str, chain: str, text: str, because: str) -> None:
        rules.setdefault((table, chain), []).append(IptablesRule.of(text, why=because))

    loopback = "127.0.0.0/8" if family == 4 else "::1/128"
    add("nat", "PREROUTING", "-m addrtype --dst-type LOCAL -j DOCKER", f"{why}: published ports, from outside")
    add(
        "nat", "OUTPUT", f"! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER", f"{why}: published ports, from here"
    )
    for bridge in bridges:
        subnets = [s for s in bridge.subnets if s.version == family]
        published = [p for p in bridge.published if p.address.version == family]
        if not subnets:
            continue
        if bridge.masquerade:
            for subnet in subnets:
                text = f"-s {subnet} ! -o {bridge.name} -j MASQUERADE"
                add("nat", "POSTROUTING", text, f"{bridge.why}: masquerade what leaves {bridge.name}")
        _publish(rules, bridge, published)
        b = bridge.name
        add(
            "filter",
            "FORWARD",
            f"-o {b} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            f"{bridge.why}: answers",
        )
        add("filter", "FORWARD", f"-o {b} -j DOCKER", f"{bridge.why}: published ports")
        add("filter", "FORWARD", f"-i {b} ! -o {b} -j ACCEPT", f"{bridge.why}: containers to outside")
        add("filter", "FORWARD", f"-i {b} -o {b} -j ACCEPT", f"{bridge.why}: container to container")
    rules.setdefault(("filter", "FORWARD"), [])
    return [
        Chain(
            family=family,
            table=table,
            name=name,
            policy="DROP" if (table, name) == ("filter", "FORWARD") else None,
            rules=tuple(listed),
            why=why,
        )
        for (table, name), listed in rules.items()
    ]


def _publish(rules: Rules, bridge: ContainerBridge, published: Iterable[Published]) -> None:
    for port in published:
        host = f"[{port.address}]" if port.address.version == 6 else str(port.address)
        # without a hairpin port, a packet from the bridge must not be sent back into it
        inside = "" if bridge.hairpin else f"! -i {bridge.name} "
        proto, dport = port.protocol, port.host_port
        length = port.address.max_prefixlen
        target = f"{port.address}/{length}"

        def add(table: str, chain: str, text: str, because: str = port.why) -> None:
            rules.setdefault((table, chain), []).append(IptablesRule.of(text, why=because))

        add("nat", "DOCKER", f"{inside}-p {proto} --dport {dport} -j DNAT --to-destination {host}:{port.port}")
        if bridge.hairpin:
            text = f"-s {target} -d {target} -p {proto} --dport {port.port} -j MASQUERADE"
            add("nat", "POSTROUTING", text, f"{port.why}: hairpin, a container that calls its own published port")
        text = f"-d {target} ! -i {bridge.name} -o {bridge.name} -p {proto} --dport {port.port} -j ACCEPT"
        add("filter", "DOCKER", text)
