"""Addresses, routes, rules, neighbours, forwarding entries: ip addr, ip route, ip rule, ip neigh, bridge fdb."""

from __future__ import annotations

from netlab.base.addresses import Address as IpAddress
from netlab.model.explain.command import Command, command, option
from netlab.model.l3 import METRIC6, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, Address, Fdb, Neighbour, Route, Rule

#: /etc/iproute2/rt_tables
_TABLE_NAMES = {TABLE_LOCAL: "local", TABLE_MAIN: "main", TABLE_DEFAULT: "default"}
_NO_MAC = "00:00:00:00:00:00"


def create_address(address: Address) -> list[Command]:
    usual = "host" if address.address.ip.version == 4 and address.address.ip.is_loopback else "global"
    six = address.address.version == 6  # an IPv6 address says its scope itself
    words = (
        *option("brd", address.broadcast),
        "dev",
        address.dev,
        *(("nodad",) if six else ()),
        *(("scope", address.scope) if not six and address.scope != usual else ()),
    )
    return [command("ip", "addr", "add", address.address, *words, why=address.why)]


def change_address(old: Address, new: Address) -> list[Command]:
    return [*delete_address(old), *create_address(new)]


def delete_address(address: Address) -> list[Command]:
    return [command("ip", "addr", "del", address.address, "dev", address.dev, why=address.why)]


def create_route(route: Route) -> list[Command]:
    return [_route("add", route)]


def change_route(old: Route, new: Route) -> list[Command]:
    return [_route("replace", new)]


def delete_route(route: Route) -> list[Command]:
    """Names what tells the route from its siblings, and no more."""
    six = route.dst.version == 6
    words = (
        *_destination(route),
        *_hop(route.dev, route.via, family=route.dst.version),
        *_table(route),
        # IPv6 without a metric means any metric; IPv4 finds the one without first
        *option("metric", route.metric),
    )
    return [command("ip", *(("-6",) if six else ()), "route", "del", *words, why=route.why)]


def _route(verb: str, route: Route) -> Command:
    six = route.dst.version == 6
    words = (
        *_destination(route),
        *_hop(route.dev, route.via, family=route.dst.version, onlink=route.onlink),
        *_table(route),
        *(option("metric", route.metric) if not six or route.metric != METRIC6 else ()),
        *(("proto", route.protocol) if route.protocol != "boot" else ()),
        *(("scope", str(route.scope)) if route.scope != _usual_scope(route) else ()),
        *option("src", route.src),
        *option("mtu", route.mtu),
    )
    ways: list[str] = []
    for hop in route.nexthops:
        ways += ["nexthop", *_hop(hop.dev, hop.via, family=route.dst.version, onlink=hop.onlink)]
        ways += ["weight", str(hop.weight)] if hop.weight != 1 else []
    return command("ip", *(("-6",) if six else ()), "route", verb, *words, *ways, why=route.why)


def _destination(route: Route) -> tuple[str, ...]:
    name = "default" if route.dst.prefixlen == 0 else str(route.dst)
    return (name,) if route.type == "unicast" else (route.type, name)


def _hop(dev: str | None, via: IpAddress | None, *, family: int, onlink: bool = False) -> tuple[str, ...]:
    gateway: tuple[str, ...] = ()
    if via:
        gateway = ("via", str(via)) if via.version == family else ("via", "inet6", str(via))
    return (*gateway, *option("dev", dev), *(("onlink",) if onlink else ()))


def _usual_scope(route: Route) -> str | None:
    """The scope that ip chooses, which is also what the model fills in."""
    if route.dst.version == 6:
        return route.scope
    if route.type == "local":
        return "host"
    return "link" if route.type == "unicast" and not route.via and not route.nexthops else "global"


def _table(route: Route) -> tuple[str, ...]:
    usual = TABLE_LOCAL if route.type == "local" else TABLE_MAIN
    return () if route.table == usual else ("table", _table_name(route.table))


def _table_name(table: int) -> str:
    return _TABLE_NAMES.get(table, str(table))


def create_rule(rule: Rule) -> list[Command]:
    return [_rule("add", rule)]


def change_rule(old: Rule, new: Rule) -> list[Command]:
    return [*delete_rule(old), *create_rule(new)]


def delete_rule(rule: Rule) -> list[Command]:
    return [_rule("del", rule)]


def _rule(verb: str, rule: Rule) -> Command:
    mark = f"{rule.fwmark:#x}" + (f"/{rule.mask:#x}" if rule.mask != 0xFFFFFFFF else "") if rule.fwmark else ""
    words = (
        *(("not",) if rule.invert else ()),
        *option("from", rule.src),
        *option("to", rule.dst),
        *option("fwmark", mark),
        *option("iif", rule.iif),
        *option("oif", rule.oif),
        *(("lookup", _table_name(rule.table)) if rule.action == "lookup" else (rule.action,)),
    )
    family = ("-6",) if rule.family == 6 else ()
    return command("ip", *family, "rule", verb, "priority", rule.priority, *words, why=rule.why)


def create_neighbour(entry: Neighbour) -> list[Command]:
    if entry.proxy:
        return [command("ip", "neigh", "add", "proxy", entry.address, "dev", entry.dev, why=entry.why)]
    words = (entry.address, "lladdr", entry.mac, "dev", entry.dev, "nud", "permanent")
    return [command("ip", "neigh", "replace", *words, why=entry.why)]


def change_neighbour(old: Neighbour, new: Neighbour) -> list[Command]:
    return create_neighbour(new)


def delete_neighbour(entry: Neighbour) -> list[Command]:
    proxy = ("proxy",) if entry.proxy else ()
    return [command("ip", "neigh", "del", *proxy, entry.address, "dev", entry.dev, why=entry.why)]


def create_fdb(entry: Fdb) -> list[Command]:
    if entry.dst is None:
        return [command("bridge", "fdb", "replace", entry.mac, "dev", entry.dev, "master", "static", why=entry.why)]
    # the all-zero MAC floods to many VTEPs, one entry beside the other
    verb = "append" if entry.mac == _NO_MAC else "replace"
    words = (entry.mac, "dev", entry.dev, "dst", entry.dst, "self", "permanent")
    return [command("bridge", "fdb", verb, *words, why=entry.why)]


def change_fdb(old: Fdb, new: Fdb) -> list[Command]:
    if bool(old.dst) != bool(new.dst):
        return [*delete_fdb(old), *create_fdb(new)]
    return create_fdb(new)


def delete_fdb(entry: Fdb) -> list[Command]:
    where = ("dst", str(entry.dst), "self") if entry.dst else ("master",)
    return [command("bridge", "fdb", "del", entry.mac, "dev", entry.dev, *where, why=entry.why)]
