"""The chains that stand in every node that serves Services by iptables, whatever the Services.

Facts: Kubernetes 1.30, pkg/proxy/iptables/proxier.go (iptablesJumpChains, KUBE-POSTROUTING, KUBE-FORWARD, canary).
"""

from __future__ import annotations

from netlab.compile.proxying import Family, ProxyConfig
from netlab.model import Chain, IptablesRule, Item, Sysctl

#: bit 14: what has it is masqueraded on its way out
MARK = "0x4000/0x4000"
CANARY = "KUBE-PROXY-CANARY"

_NEW = "-m conntrack --ctstate NEW "
#: (table, built-in chain, target, match, comment), in the order in which they stand
JUMPS = (
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL", _NEW, "kubernetes load balancer firewall"),
    ("filter", "INPUT", "KUBE-NODEPORTS", "", "kubernetes health check service ports"),
    ("filter", "INPUT", "KUBE-EXTERNAL-SERVICES", _NEW, "kubernetes externally-visible service portals"),
    ("filter", "INPUT", "KUBE-FIREWALL", "", ""),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL", _NEW, "kubernetes load balancer firewall"),
    ("filter", "FORWARD", "KUBE-FORWARD", "", "kubernetes forwarding rules"),
    ("filter", "FORWARD", "KUBE-SERVICES", _NEW, "kubernetes service portals"),
    ("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", _NEW, "kubernetes externally-visible service portals"),
    ("filter", "OUTPUT", "KUBE-PROXY-FIREWALL", _NEW, "kubernetes load balancer firewall"),
    ("filter", "OUTPUT", "KUBE-SERVICES", _NEW, "kubernetes service portals"),
    ("filter", "OUTPUT", "KUBE-FIREWALL", "", ""),
    ("nat", "PREROUTING", "KUBE-SERVICES", "", "kubernetes service portals"),
    ("nat", "OUTPUT", "KUBE-SERVICES", "", "kubernetes service portals"),
    ("nat", "POSTROUTING", "KUBE-POSTROUTING", "", "kubernetes postrouting rules"),
)


def jump(target: str, match: str, comment: str) -> IptablesRule:
    """A jump out of a built-in chain."""
    note = f'-m comment --comment "{comment}" ' if comment else ""
    return IptablesRule.of(f"{match}{note}-j {target}", why="the proxy: way into its chains")


def localhost_served(config: ProxyConfig, family: Family) -> bool:
    """Whether node ports answer on 127.0.0.1 (S15, S16)."""
    if family != 4 or not config.localhost_node_ports:
        return False
    return not config.node_port_addresses or any(
        cidr.startswith("127.") or cidr.endswith("/0") for cidr in config.of_family(config.node_port_addresses, 4)
    )


def base_chains(config: ProxyConfig, family: Family) -> tuple[Item, ...]:
    """All of them, and the sysctl that node ports on 127.0.0.1 need."""
    rules: dict[tuple[str, str], list[IptablesRule]] = {}
    localhost = localhost_served(config, family)
    for table, builtin, target, match, comment in JUMPS:
        if target != "KUBE-FIREWALL" or localhost:
            rules.setdefault((table, builtin), []).append(jump(target, match, comment))

    def own(table: str, name: str, *lines: tuple[str, str]) -> None:
        rules[table, name] = [IptablesRule.of(line, why=f"the proxy: {why}") for line, why in lines]

    fully = " --random-fully" if config.random_fully else ""
    own("nat", "KUBE-MARK-MASQ", (f"-j MARK --or-mark {MARK.partition('/')[0]}", "mark for masquerading"))
    own(
        "nat", "KUBE-POSTROUTING",
        (f"-m mark ! --mark {MARK} -j RETURN", "only what is marked"),
        # else a packet that an overlay wraps would be masqueraded once more outside
        ("-j MARK --xor-mark 0x4000", "the mark has done its work"),
        (f'-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{fully}', "masquerade"),
    )  # fmt: skip
    liberal = config.conntrack_be_liberal
    own(
        "filter", "KUBE-FORWARD",
        # a packet that connection tracking does not know would leave with the wrong address
        *([] if liberal else [("-m conntrack --ctstate INVALID -j DROP", "no packet without its connection")]),
        (f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {MARK} -j ACCEPT', "Service traffic"),
        (
            '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED '
            "-j ACCEPT",
            "answers",
        ),
    )  # fmt: skip
    if localhost:
        line = (
            '-d 127.0.0.0/8 ! -s 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        )
        own("filter", "KUBE-FIREWALL", (line, "route_localnet lets 127.0.0.0/8 in from the wire"))
    for table in ("mangle", "nat", "filter"):
        own(table, CANARY)
    items: list[Item] = [
        Chain(
            family=family, table=table, name=name, rules=tuple(listed), owner=config.owner,
            why="the proxy: a chain that stands in every node",
        )
        for (table, name), listed in rules.items()
    ]  # fmt: skip
    if localhost:
        items.append(
            Sysctl(
                name="net/ipv4/conf/all/route_localnet", value="1", owner=config.owner,
                why="node ports on 127.0.0.1",
            )
        )  # fmt: skip
    return tuple(items)
