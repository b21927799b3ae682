"""What a namespace has learnt by itself and no value asks for: neighbour tables, forwarding databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from netlab.base.addresses import Address
from netlab.base.errors import KernelError
from netlab.kernel import netns
from netlab.kernel.rtnl import decode, encode, wire
from netlab.kernel.rtnl.socket import Netlink

#: linux/neighbour.h
STATES = {
    0x00: "NONE", 0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY",
    0x10: "PROBE", 0x20: "FAILED", 0x40: "NOARP", 0x80: "PERMANENT",
}  # fmt: skip


_PROC_SYS = Path("/proc/sys")


class Learnt(NamedTuple):
    """See `netlab.lab.machine.Learnt`."""

    dev: str
    address: Address | None
    mac: str | None
    state: str


def neighbours(name: str) -> list[Learnt]:
    """The ARP and NDP tables of a namespace."""
    return [
        entry
        for family in (wire.AF_INET, wire.AF_INET6)
        for entry in _table(name, wire.NDMSG.pack(family, 0, 0, 0, 0))
        if entry.address and not entry.address.is_multicast and entry.state != "NOARP"
    ]


def forwarding(name: str) -> list[Learnt]:
    """What bridges and VXLAN devices of a namespace know of MACs: STATIC, PERMANENT (own) or LEARNT."""
    return list(_table(name, wire.IFINFO.pack(wire.AF_BRIDGE, 0, 0, 0, 0)))


def _table(name: str, request: bytes) -> Iterator[Learnt]:
    fd = netns.open_fd(name)
    if fd is None:
        raise KernelError(f"there is no network namespace {name!r}")
    try:
        with Netlink(fd) as netlink:
            body = wire.IFINFO.pack(0, 0, 0, 0, 0)
            links = [decode.raw_link(m) for m in netlink.dump(wire.RTM_GETLINK, body)]
            names = {raw.index: raw.name for raw in links}
            for message in list(netlink.dump(wire.RTM_GETNEIGH, request)):
                entry = _entry(message, names)
                if entry:
                    yield entry
    finally:
        os.close(fd)


def _entry(body: memoryview, names: dict[int, str]) -> Learnt | None:
    family, index, state, _, _ = wire.NDMSG.unpack_from(body)
    a = wire.attrs(body, 12)
    if index not in names:
        return None
    mac = wire.as_mac(a[2]) if 2 in a and len(a[2]) == 6 else None
    address = decode.address_of(a[1]) if 1 in a else None
    if family == wire.AF_BRIDGE:
        permanent, static = state & decode.NUD_PERMANENT, state & encode.NUD_NOARP
        spelt = "PERMANENT" if permanent else "STATIC" if static else "LEARNT"
    else:
        spelt = STATES.get(state, hex(state))
    return Learnt(names[index], address, mac, spelt)


def way(name: str, to: Address) -> tuple[str, Address | None] | None:
    """By which device and gateway a packet would go (`ip route get`). None if there is no way."""
    fd = netns.open_fd(name)
    if fd is None:
        raise KernelError(f"there is no network namespace {name!r}")
    family = wire.AF_INET if to.version == 4 else wire.AF_INET6
    head = wire.RTMSG.pack(family, to.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    try:
        with Netlink(fd) as netlink:
            found = netlink.ask(wire.RTM_GETROUTE, head + wire.attr(1, to.packed))
            if found is None:
                return None
            a = wire.attrs(found, 12)
            links = [decode.raw_link(m) for m in netlink.dump(wire.RTM_GETLINK, wire.IFINFO.pack(0, 0, 0, 0, 0))]
            names = {raw.index: raw.name for raw in links}
            index = int.from_bytes(a[4], "little") if 4 in a else 0
            return names.get(index, str(index)), decode.address_of(a[5]) if 5 in a else None
    finally:
        os.close(fd)


def sysctl(name: str, setting: str) -> str | None:
    """A setting of a namespace by its path with slashes; None if there is none."""
    with netns.entered(name):
        try:
            return " ".join((_PROC_SYS / setting).read_text().split())
        except OSError:
            return None
