"""Random networks that a kernel accepts, for hypothesis.

`host_states()` draws a HostState without `problems()`, whose items agree with each other as Linux wants it: gateways
are on-link, preferred sources are addresses of the host, no bridge is part of a loop, no number is given out twice.
A kernel may lack whole features; `kinds` says which to draw.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import strategies as st

from netlab.base.addresses import derived_mac
from netlab.model import (
    Address,
    Bridge,
    BridgePort,
    BridgeVlan,
    Chain,
    Dummy,
    Fdb,
    HostState,
    Ipip,
    Ipset,
    IptablesRule,
    IpvsDestination,
    IpvsService,
    Item,
    Link,
    Loopback,
    Macvlan,
    Neighbour,
    Netem,
    NextHop,
    Qdisc,
    Route,
    Rule,
    Sysctl,
    Tbf,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
    WireguardPeer,
)
from netlab.model.l3 import TABLE_MAIN

#: what every kernel made for containers has
COMMON = frozenset({"veth", "bridge", "vxlan", "tun", "macvlan", "tbf", "ipset", "iptables", "br_netfilter"})
#: what comes as a module of its own, or was left out of a small kernel
EXTRA = frozenset({"dummy", "ipip", "wireguard", "netem", "ipvs", "bridge-vlan"})
ALL = COMMON | EXTRA

MTUS = st.sampled_from([1280, 1300, 1400, 1450, 1500])
#: kinds that have MAC addresses and answer for neighbours
_ETHERNET = (Veth, Bridge, Vxlan, Macvlan)
_KEYS = ("2BjGZb0aXAnEIJ3M5BaVvkG7FvQ4kQvWz5Zq0yZVd2Y=", "hnT0x1rCFDsm7BvN0X1vM4mqyXKx8vYfJ2mZk1vE1Wc=")
_SAFE = st.sampled_from(["labs/x/lab.yaml:14", "Service default/hostnames port 80", 'it\'s "quoted"', ""])
_PROTOCOLS = st.sampled_from(["boot", "static", "bird", "bgp", "55"])


@st.composite
def host_states(draw: st.DrawFn, kinds: Collection[str] = COMMON) -> HostState:
    """A random valid state, of any size from empty to some dozens of items."""
    links = draw(_links(frozenset(kinds)))
    addresses = draw(_addresses(links))
    items: list[Item] = [*links, *addresses]
    items += draw(_routes(links, addresses))
    items += draw(_rules(links))
    items += draw(_neighbours(links))
    items += draw(_fdb(links))
    if "bridge-vlan" in kinds:
        items += draw(_vlans(links))
    items += draw(_sysctls(links, "br_netfilter" in kinds))
    items += draw(_qdiscs(links, frozenset(kinds)))
    sets: list[Ipset] = draw(_ipsets()) if "ipset" in kinds else []
    items += sets
    if "iptables" in kinds:
        items += draw(_chains(sets))
    # without a table of local addresses, which comes with lo, the kernel takes no address for a real server's
    if "ipvs" in kinds and any(isinstance(link.kind, Loopback) and link.up for link in links):
        items += draw(_ipvs())
    return HostState.of(items)


def _some(draw: st.DrawFn, strategy: st.SearchStrategy, limit: int) -> list:
    return draw(st.lists(strategy, max_size=limit))


# --- devices


@st.composite
def _links(draw: st.DrawFn, kinds: frozenset[str]) -> list[Link]:
    def few(kind: str, limit: int = 2) -> int:
        return draw(st.integers(0, limit)) if kind in kinds else 0

    def link(name: str, kind: object, **fields: object) -> Link:
        fields = {"up": draw(st.booleans() | st.just(True)), "why": draw(_SAFE)} | fields
        return Link(name=name, kind=kind, **fields)  # type: ignore[arg-type]

    def mac(name: str) -> str | None:
        return draw(st.sampled_from([None, derived_mac(name)]))

    out = [Link(name="lo", kind=Loopback(), up=draw(st.booleans()))] if draw(st.booleans()) else []
    bridges = ["docker0", "cni0"][: few("bridge")]
    out += [link(n, draw(_bridge_kinds("bridge-vlan" in kinds)), mtu=draw(MTUS), mac=mac(n)) for n in bridges]

    underlay: dict[str, int] = {}
    for i in range(few("veth", 3)):
        near, far = f"veth{i}", f"eth{i}"
        for name, peer in ((near, far), (far, near)):
            # one end at most is a bridge's port: two would close a loop
            port = draw(_ports(bridges)) if name == near else {}
            made = link(name, Veth(peer), mtu=draw(MTUS), mac=mac(name), alias=draw(_aliases()), **port)
            out.append(made)
            if not made.master:
                underlay[name] = made.mtu
    for i, name in enumerate(["flannel.1", "vxlan7"][: few("vxlan")]):
        # the kernel cuts an MTU short that leaves no room for the outer header, and IPv6 needs 1280
        dev = draw(st.sampled_from([None, *(name for name, mtu in underlay.items() if mtu >= 1350)]))
        room = (underlay[dev] if dev else 1500) - 70
        kind = Vxlan(
            vni=i + 1,
            port=draw(st.sampled_from([8472, 4789])) + i,
            local=draw(st.sampled_from([None, ip_address("10.200.0.1"), ip_address("fd00:200::1")])),
            dev=dev,
            learning=draw(st.booleans()),
            ttl=draw(st.sampled_from([0, 5])),
            gbp=draw(st.booleans()),
        )
        out.append(link(name, kind, mtu=draw(st.integers(1280, room)), mac=mac(name), **draw(_ports(bridges))))
    for i in range(few("macvlan", 1) if underlay else 0):
        parent = draw(st.sampled_from(sorted(underlay)))
        mode = draw(st.sampled_from(["bridge", "private", "vepa"]))
        out.append(link(f"macvlan{i}", Macvlan(parent, mode), mtu=underlay[parent], mac=mac(f"macvlan{i}")))
    for i in range(few("tun")):
        flags = {"packet_info": draw(st.booleans()), "multi_queue": draw(st.booleans())}
        if draw(st.booleans()):
            out.append(link(f"flannel{i}", Tun("tun", **flags), mtu=draw(MTUS)))
        else:
            kind_ = Tun("tap", vnet_hdr=draw(st.booleans()), **flags)
            out.append(link(f"tap{i}", kind_, mtu=draw(MTUS), mac=mac(f"tap{i}"), **draw(_ports(bridges))))
    for i in range(few("dummy")):
        out.append(link(f"dummy{i}", Dummy(), mtu=draw(MTUS), mac=mac(f"dummy{i}")))
    for i in range(few("ipip", 1)):
        kind_ = Ipip(local=ip_address("10.200.0.1"), remote=draw(st.sampled_from([None, ip_address("10.200.0.2")])))
        out.append(link(f"ipip{i}", kind_, mtu=draw(st.integers(1280, 1480))))
    for i in range(few("wireguard", 1)):
        peer = WireguardPeer(_KEYS[1], (ip_network(f"10.210.{i}.0/24"),), (ip_address("10.200.0.2"), 51820), 25)
        peers = draw(st.sampled_from([(), (peer,)]))
        out.append(link(f"wg{i}", Wireguard(_KEYS[0], listen_port=51820 + i, peers=peers), mtu=1420))
    return out


def _bridge_kinds(vlan: bool) -> st.SearchStrategy[Bridge]:
    return st.builds(
        Bridge,
        stp=st.booleans(),
        vlan_filtering=st.booleans() if vlan else st.just(False),
        ageing=st.sampled_from([300, 0, 30]),
        forward_delay=st.sampled_from([15, 4]),
        mcast_snooping=st.booleans(),
        default_pvid=st.sampled_from([1, 1, 0, 5]) if vlan else st.just(1),
    )


def _ports(bridges: list[str]) -> st.SearchStrategy[dict[str, object]]:
    free: st.SearchStrategy[dict[str, object]] = st.just({})
    if not bridges:
        return free
    flag = st.booleans()
    ports = st.builds(BridgePort, hairpin=flag, learning=flag, flood=flag, isolated=flag)
    return free | st.fixed_dictionaries({"master": st.sampled_from(bridges), "port": ports | st.just(BridgePort())})


def _aliases() -> st.SearchStrategy[str]:
    return st.sampled_from(["", "", "the way to node-1", "it's"])


# --- layer 3


@st.composite
def _addresses(draw: st.DrawFn, links: list[Link]) -> list[Address]:
    """Device number i has 10.i.0.0/16 and fd00:i::/64 to itself, so that gateways are always clear."""
    out: list[Address] = []
    for i, link in enumerate(links):
        if isinstance(link.kind, Loopback):
            continue
        scope = draw(st.sampled_from(["global", "global", "link"]))  # one for the whole subnet, or the kernel refuses
        for host in draw(st.lists(st.integers(1, 9), max_size=2, unique=True)):
            interface = ip_interface(f"10.{i}.0.{host}/16")
            broadcast = draw(st.sampled_from([None, interface.network.broadcast_address]))
            out.append(Address(dev=link.name, address=interface, broadcast=broadcast, scope=scope, why=draw(_SAFE)))
        if draw(st.booleans()) and link.mtu >= 1280:
            out.append(Address(dev=link.name, address=ip_interface(f"fd00:{i}::1/64")))
    return out


@st.composite
def _routes(draw: st.DrawFn, links: list[Link], addresses: list[Address]) -> list[Route]:
    up = [link.name for link in links if link.up and not isinstance(link.kind, Loopback)]
    out: dict[object, Route] = {}
    for version in (4, 6):
        mine = [a for a in addresses if a.address.version == version and a.dev in up]
        prefixes = [f"192.168.{i}.0/24" for i in range(5)] if version == 4 else [f"fd01:{i}::/64" for i in range(5)]
        networks = [ip_network(p) for p in ("0.0.0.0/0" if version == 4 else "::/0", *prefixes)]
        for _ in range(draw(st.integers(0, 4))):
            common = {
                "dst": draw(st.sampled_from(networks)),
                "table": draw(st.sampled_from([254, 254, 100])),
                "metric": draw(st.sampled_from([0, 0, 50])),
                "protocol": draw(_PROTOCOLS),
                "why": draw(_SAFE),
            }
            shapes = ["refused"] + ["direct"] * bool(up) + ["via", "onlink", "many"] * bool(mine)
            route = draw(_route(draw(st.sampled_from(shapes)), common, version, up, mine))
            out.setdefault(route.identity, route)
    return list(out.values())


@st.composite
def _route(draw: st.DrawFn, shape: str, common: dict, version: int, up: list[str], mine: list[Address]) -> Route:
    mtu = draw(st.sampled_from([0, 0, 1300]))
    if shape == "refused":
        # in another table it could refuse a gateway to the kernel, as a rule could (see `_rules`)
        common = {**common, "table": TABLE_MAIN}
        return Route(**common, type=draw(st.sampled_from(["blackhole", "unreachable", "prohibit", "throw"])))
    if shape == "direct":
        scope = draw(st.sampled_from([None, "global"])) if version == 4 else None
        return Route(**common, dev=draw(st.sampled_from(up)), scope=scope, mtu=mtu)
    if shape == "many":
        ways = draw(
            st.lists(st.tuples(st.sampled_from(mine), st.integers(20, 23)), min_size=2, max_size=3, unique=True)
        )
        hops = tuple(NextHop(dev=a.dev, via=_beside(a, host), weight=draw(st.integers(1, 3))) for a, host in ways)
        if len({(hop.dev, hop.via) for hop in hops}) == len(hops):
            return Route(**common, nexthops=hops)
    way = draw(st.sampled_from(mine))
    src = draw(st.sampled_from([None, way.address.ip]))
    if shape == "onlink":
        far = ip_address("172.31.0.9" if version == 4 else "fd02::9")
        return Route(**common, dev=way.dev, via=far, onlink=True, src=src, mtu=mtu)
    return Route(**common, dev=way.dev, via=_beside(way, draw(st.integers(20, 23))), src=src, mtu=mtu)


def _beside(address: Address, host: int):
    return address.address.network.network_address + host


@st.composite
def _rules(draw: st.DrawFn, links: list[Link]) -> list[Rule]:
    out = []
    devices = [link.name for link in links if not isinstance(link.kind, Loopback)]
    for i in range(draw(st.integers(0, 3))):
        family = draw(st.sampled_from([4, 6]))
        network = ip_network(f"10.{i}.0.0/16" if family == 4 else f"fd00:{i}::/64")
        iif = draw(st.sampled_from([None, *devices]))
        # the kernel asks the rules whether a gateway is on-link, so what comes from nowhere is never refused
        actions = ["lookup", "blackhole", "unreachable", "prohibit"] if iif else ["lookup"]
        action = draw(st.sampled_from(actions))
        out.append(
            Rule(
                priority=100 + i,
                family=family,
                src=draw(st.sampled_from([None, network])),
                dst=draw(st.sampled_from([None, network])),
                fwmark=draw(st.sampled_from([0, 0x4000])),
                mask=draw(st.sampled_from([0xFFFFFFFF, 0x4000])),
                iif=iif,
                invert=action == "lookup" and draw(st.booleans()),
                action=action,
                table=draw(st.sampled_from([100, 254])),
            )
        )
    return out


@st.composite
def _neighbours(draw: st.DrawFn, links: list[Link]) -> list[Neighbour]:
    out = []
    for i, link in enumerate(links):
        if not (link.up and isinstance(link.kind, _ETHERNET)):
            continue
        for host in draw(st.lists(st.integers(100, 109), max_size=2, unique=True)):
            address = ip_address(draw(st.sampled_from([f"10.{i}.0.{host}", f"fd00:{i}::{host}"])))
            proxy = draw(st.booleans())
            mac = None if proxy else derived_mac("neighbour", link.name, str(host))
            out.append(Neighbour(dev=link.name, address=address, mac=mac, proxy=proxy, why=draw(_SAFE)))
    return out


@st.composite
def _fdb(draw: st.DrawFn, links: list[Link]) -> list[Fdb]:
    out = []
    for link in links:
        if isinstance(link.kind, Vxlan):
            # a VTEP of one family has no socket for the other
            version = link.kind.local.version if link.kind.local else 4
            for host in draw(st.lists(st.integers(1, 9), max_size=2, unique=True)):
                vtep = ip_address(f"10.200.0.{host + 10}" if version == 4 else f"fd00:200::{host + 10}")
                mac = draw(st.sampled_from(["00:00:00:00:00:00", derived_mac("vtep", link.name, str(host))]))
                out.append(Fdb(dev=link.name, mac=mac, dst=vtep))
        elif link.master and draw(st.booleans()):
            out.append(Fdb(dev=link.name, mac=derived_mac("behind", link.name)))
    return out


@st.composite
def _vlans(draw: st.DrawFn, links: list[Link]) -> list[BridgeVlan]:
    out = []
    for link in links:
        bridge = isinstance(link.kind, Bridge)
        if not (link.master or bridge):
            continue
        vids = draw(st.lists(st.sampled_from([1, 5, 10, 20, 4094]), max_size=3, unique=True))
        pvid = draw(st.sampled_from([None, *vids]))
        for vid in vids:
            flags = {"pvid": vid == pvid, "untagged": draw(st.booleans()), "on_bridge": bridge}
            out.append(BridgeVlan(dev=link.name, vid=vid, why=draw(_SAFE), **flags))
    return out


# --- settings and queues


@st.composite
def _sysctls(draw: st.DrawFn, links: list[Link], br_netfilter: bool) -> list[Sysctl]:
    names = ["net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv6/conf/all/forwarding"]
    names += ["net/bridge/bridge-nf-call-iptables"] if br_netfilter else []
    # not a device's forwarding: net/ipv4/ip_forward overwrites them all
    names += [f"net/ipv4/conf/{link.name}/{key}" for link in links for key in ("rp_filter", "proxy_arp")]
    names += [f"net/ipv4/neigh/{link.name}/ucast_solicit" for link in links]
    chosen = draw(st.lists(st.sampled_from(names), max_size=4, unique=True))
    return [Sysctl(name=name, value=draw(st.sampled_from("01")), why=draw(_SAFE)) for name in chosen]


@st.composite
def _qdiscs(draw: st.DrawFn, links: list[Link], kinds: frozenset[str]) -> list[Qdisc]:
    out = []
    tbf = st.builds(
        Tbf,
        rate=st.sampled_from([1_000_000, 8_000_000, 10_123_456, 1_000_000_000]),
        burst=st.sampled_from([16 * 1024, 32 * 1024, 20_000]),
        limit=st.sampled_from([64 * 1024, 100_001]),
    )
    netem = st.builds(
        Netem,
        delay=st.sampled_from([1, 1500, 20_000]),
        jitter=st.sampled_from([0, 300]),
        loss=st.sampled_from([0.0, 0.5, 12.5]),
        duplicate=st.sampled_from([0.0, 1.0]),
        limit=st.sampled_from([1000, 50]),
    )
    offered = [s for name, s in (("tbf", tbf), ("netem", netem)) if name in kinds]
    for link in links:
        if offered and isinstance(link.kind, Veth | Tun) and draw(st.integers(0, 3)) == 0:
            out.append(Qdisc(dev=link.name, kind=draw(st.one_of(offered)), handle="1:"))
    return out


# --- packet filter


@st.composite
def _ipsets(draw: st.DrawFn) -> list[Ipset]:
    entries = {
        ("hash:ip", 4): [f"10.0.0.{i}" for i in range(1, 5)],
        ("hash:ip", 6): [f"fd00::{i}" for i in range(1, 5)],
        ("hash:net", 4): [f"10.{i}.0.0/16" for i in range(1, 5)],
        ("hash:ip,port", 4): [f"10.0.0.{i},{p}:80" for i in (1, 2) for p in ("tcp", "udp")],
        ("hash:ip,port,ip", 4): [f"10.0.0.{i},tcp:80,10.0.0.{i}" for i in range(1, 5)],
    }
    out = []
    # a set that rules refer to cannot change its type, so each type has a name of its own
    for type_, family in draw(st.lists(st.sampled_from(sorted(entries)), max_size=2, unique=True)):
        out.append(
            Ipset(
                name=f"KUBE-{type_}-{family}",
                type=type_,
                family=family,
                maxelem=draw(st.sampled_from([65536, 1000])),
                entries=tuple(draw(st.lists(st.sampled_from(entries[type_, family]), unique=True))),
                why=draw(_SAFE),
            )
        )
    return out


_FILTER = (
    "-i docker0 -j ACCEPT",
    "! -i eth0 -o docker0 -j DROP",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    '-m comment --comment "it\'s a \\"test\\"" -j RETURN',
    "-p tcp -m tcp --dport 80 -j ACCEPT",
    "-p udp -m multiport --dports 53,5353 -j ACCEPT",
    "-m mark --mark 0x4000/0x4000 -j DROP",
)
_RULES: dict[tuple[str, int], tuple[str, ...]] = {
    ("filter", 4): (*_FILTER, "-s 10.0.0.0/8 ! -d 10.1.0.0/16 -j REJECT --reject-with icmp-port-unreachable"),
    ("filter", 6): (*_FILTER, "-s fd00::/64 -j REJECT --reject-with icmp6-port-unreachable"),
    ("nat", 4): ("-s 10.0.0.0/8 -j RETURN", "-m mark --mark 0x1 -j ACCEPT", "-j MARK --set-xmark 0x4000/0x4000"),
    ("nat", 6): ("-s fd00::/64 -j RETURN", "-j MARK --set-xmark 0x4000/0x4000"),
    ("mangle", 4): ("-p tcp -j MARK --set-xmark 0x1/0xffffffff", "-i eth0 -j ACCEPT"),
    ("raw", 4): ("-d 10.0.0.0/8 -j ACCEPT",),
}
#: what is only allowed in one built-in chain
_HOOK_RULES: dict[tuple[str, int, str], tuple[str, ...]] = {
    ("nat", 4, "POSTROUTING"): (
        "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        "-s 10.9.0.0/16 -j SNAT --to-source 1.2.3.4",
    ),
    ("nat", 4, "PREROUTING"): ("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",),
    ("nat", 6, "POSTROUTING"): ("-s fd00::/64 -j MASQUERADE",),
}
_HOOKS = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "POSTROUTING"),
    "mangle": ("PREROUTING",),
    "raw": ("PREROUTING",),
}
#: the device that a packet has not yet, or no longer, at a hook
_NO_OPTION = {"INPUT": "-o", "PREROUTING": "-o", "OUTPUT": "-i", "POSTROUTING": "-i"}


@st.composite
def _chains(draw: st.DrawFn, sets: list[Ipset]) -> list[Chain]:
    """Chains of one's own, some of which jump to later ones, and rules in the built-in chains that lead there."""
    out = []
    for (table, family), texts in _RULES.items():
        if not draw(st.booleans()):
            continue
        matches = [
            f"-m set --match-set {s.name} {','.join(['dst'] * (s.type.count(',') + 1))} -j RETURN"
            for s in sets
            if s.family == family
        ]
        own = ["KUBE-SERVICES", "FLANNEL-POSTRTG", "cali-FORWARD", "DOCKER"][: draw(st.integers(0, 4))]
        for i, name in enumerate(own):
            jumps = [f"-j {other}" for other in own[i + 1 :]]
            rules = draw(_rule_lists([*texts, *matches, *jumps]))
            out.append(Chain(family=family, table=table, name=name, rules=rules, why=draw(_SAFE)))
        for hook in _HOOKS[table]:
            lines = [*texts, *_HOOK_RULES.get((table, family, hook), ()), *(f"-j {name}" for name in own)]
            lines = [line for line in lines if _NO_OPTION.get(hook) not in line.split()]
            policy = draw(st.sampled_from([None, "ACCEPT", "DROP"])) if table == "filter" else None
            out.append(Chain(family=family, table=table, name=hook, policy=policy, rules=draw(_rule_lists(lines))))
    return out


def _rule_lists(lines: list[str]) -> st.SearchStrategy[tuple[IptablesRule, ...]]:
    # rules of one chain are told apart by their text
    rules = st.builds(lambda text, why: IptablesRule.of(text, why=why), st.sampled_from(lines), _SAFE)
    return st.lists(rules, max_size=4, unique=True).map(tuple)


@st.composite
def _ipvs(draw: st.DrawFn) -> list[IpvsService]:
    out = []
    for i in range(draw(st.integers(0, 2))):
        hosts = draw(st.lists(st.integers(1, 9), max_size=3, unique=True))
        real = tuple(IpvsDestination(ip_address(f"10.1.0.{h}"), 8080, draw(st.integers(0, 3))) for h in hosts)
        out.append(
            IpvsService(
                protocol=draw(st.sampled_from(["tcp", "udp"])),
                address=ip_address(f"10.96.0.{i + 1}"),
                port=80,
                scheduler=draw(st.sampled_from(["rr", "wrr"])),
                persistence=draw(st.sampled_from([0, 300])),
                destinations=real,
            )
        )
    return out
