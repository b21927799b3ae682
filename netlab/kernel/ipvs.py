"""IPVS services and destinations of a namespace, over generic netlink; pyroute2 decodes what the kernel says.

What is said to the kernel is packed here: pyroute2 takes 0.3 ms for a message, and 10,000 Services of ten endpoints are
110,000. Its IPVS class is not used: its `update` deletes, and it puts defaults into every request. Facts: ipvsadm(8),
linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

from pyroute2.netlink import genlmsg, nla
from pyroute2.netlink.generic.ipvs import (
    GENL_NAME,
    GENL_VERSION,
    IPVS_CMD_DEL_DEST,
    IPVS_CMD_DEL_SERVICE,
    IPVS_CMD_GET_DEST,
    IPVS_CMD_GET_SERVICE,
    IPVS_CMD_NEW_DEST,
    IPVS_CMD_NEW_SERVICE,
    IPVS_CMD_SET_DEST,
    IPVS_CMD_SET_SERVICE,
    ipvsmsg,
)

from netlab.base.addresses import Address
from netlab.kernel import generic
from netlab.kernel.rtnl import wire
from netlab.model.diff import Create, Delete, Op
from netlab.model.ipvs import IpvsDestination, IpvsService, edits

Protocol = Literal["tcp", "udp", "sctp"]
Method = Literal["masq", "tunnel", "route"]

_PROTOCOLS: dict[Protocol, int] = {"tcp": 6, "udp": 17, "sctp": 132}
#: IP_VS_CONN_F_*, the low three bits of the method (linux/ip_vs.h); 1, local, is how masq shows for an own address
_METHODS: dict[Method, int] = {"masq": 0, "tunnel": 2, "route": 3}
_METHOD_MASK = 7
#: IPVS_CMD_ATTR_*
_SERVICE, _DESTINATION = 1, 2
_PERSISTENT = 0x1  # IP_VS_SVC_F_PERSISTENT


class Message(genlmsg):  # type: ignore[misc]
    """pyroute2's ipvsmsg, with addresses as bytes.

    The kernel names a destination's address before its family, and in one dump may mix both, so that the family has to
    be looked up when all attributes are there.
    """

    nla_map = tuple((name, kind) for name, kind in ipvsmsg.nla_map)

    class service(nla):  # type: ignore[misc]
        nla_map = tuple((n, "cdata" if n == "IPVS_SVC_ATTR_ADDR" else k) for n, k in ipvsmsg.service.nla_map)
        flags, stats, stats64 = ipvsmsg.service.flags, ipvsmsg.service.stats, ipvsmsg.service.stats64

    class dest(nla):  # type: ignore[misc]
        nla_map = tuple((n, "cdata" if n == "IPVS_DEST_ATTR_ADDR" else k) for n, k in ipvsmsg.dest.nla_map)
        stats, stats64 = ipvsmsg.dest.stats, ipvsmsg.dest.stats64


def _packed(address: Address) -> bytes:
    """A union nf_inet_addr: 16 bytes, of which IPv4 takes the first four."""
    return address.packed.ljust(16, b"\0")


def _unpacked(data: bytes, family: int) -> Address:
    return IPv6Address(data[:16]) if family == socket.AF_INET6 else IPv4Address(data[:4])


def _family(address: Address) -> int:
    return int(socket.AF_INET6 if address.version == 6 else socket.AF_INET)


def _service(service: IpvsService, *, whole: bool) -> bytes:
    """IPVS_SVC_ATTR_*. whole: also what does not name the service."""
    found = [
        wire.u16(1, _family(service.address)),
        wire.u16(2, _PROTOCOLS[service.protocol]),
        wire.attr(3, _packed(service.address)),
        wire.attr(4, service.port.to_bytes(2, "big")),
    ]
    if whole:
        found += [
            wire.text(6, service.scheduler),
            wire.attr(7, struct.pack("=II", _PERSISTENT if service.persistence else 0, 0xFFFFFFFF)),
            wire.u32(8, service.persistence),
            # granularity of persistence: each client by itself. A be32 for IPv4, a prefix length as u32 for IPv6
            wire.u32(9, 0xFFFFFFFF if service.address.version == 4 else 128),
        ]
    return wire.nested(_SERVICE, *found)


def _destination(destination: IpvsDestination, *, whole: bool) -> bytes:
    """IPVS_DEST_ATTR_*. whole: also what does not name the destination."""
    found = [
        wire.attr(1, _packed(destination.address)),
        wire.attr(2, destination.port.to_bytes(2, "big")),
        wire.u16(11, _family(destination.address)),
    ]
    if whole:
        numbers = (_METHODS[destination.method], destination.weight, 0, 0)  # the last two: thresholds, for none
        found += [wire.u32(kind, number) for kind, number in enumerate(numbers, 3)]
    return wire.nested(_DESTINATION, *found)


def message(command: int, service: IpvsService | None = None, destination: IpvsDestination | None = None) -> bytes:
    """A request. A service is named when a destination is spoken of, and told as a whole otherwise."""
    found = generic.header(command, GENL_VERSION)
    if service is not None:
        found += _service(service, whole=command in (IPVS_CMD_NEW_SERVICE, IPVS_CMD_SET_SERVICE))
    if destination is not None:
        found += _destination(destination, whole=command != IPVS_CMD_DEL_DEST)
    return found


def decode_service(msg: Any) -> IpvsService | None:
    """A service without its destinations; None for one that is known by a firewall mark, which netlab does not make."""
    attrs = msg.get_attr("IPVS_CMD_ATTR_SERVICE")
    protocol = next((n for n, v in _PROTOCOLS.items() if v == attrs.get_attr("IPVS_SVC_ATTR_PROTOCOL")), None)
    if protocol is None or attrs.get_attr("IPVS_SVC_ATTR_FWMARK"):
        return None
    persistent = attrs.get_attr("IPVS_SVC_ATTR_FLAGS")["flags"] & _PERSISTENT
    return IpvsService(
        protocol=protocol,
        address=_unpacked(attrs.get_attr("IPVS_SVC_ATTR_ADDR"), attrs.get_attr("IPVS_SVC_ATTR_AF")),
        port=attrs.get_attr("IPVS_SVC_ATTR_PORT"),
        scheduler=attrs.get_attr("IPVS_SVC_ATTR_SCHED_NAME"),
        persistence=attrs.get_attr("IPVS_SVC_ATTR_TIMEOUT") if persistent else 0,
    )


def decode_destination(msg: Any, family: int) -> IpvsDestination:
    """A destination. family: the service's, for kernels before 3.18, which do not tell the destination's."""
    attrs = msg.get_attr("IPVS_CMD_ATTR_DEST")
    number = attrs.get_attr("IPVS_DEST_ATTR_FWD_METHOD") & _METHOD_MASK
    return IpvsDestination(
        address=_unpacked(
            attrs.get_attr("IPVS_DEST_ATTR_ADDR"), attrs.get_attr("IPVS_DEST_ATTR_ADDR_FAMILY") or family
        ),
        port=attrs.get_attr("IPVS_DEST_ATTR_PORT"),
        weight=attrs.get_attr("IPVS_DEST_ATTR_WEIGHT"),
        method=next((name for name, value in _METHODS.items() if value == number), "masq"),
    )


def _opened(netns: str | int) -> Any:
    return generic.opened(netns, GENL_NAME, module="ip_vs")


def read(netns: str | int) -> list[IpvsService]:
    """All services there with their destinations, in order. MachineError if the kernel has no IPVS."""
    found: list[IpvsService] = []
    with _opened(netns) as family:
        services = [decode_service(answer) for answer in family.dump(message(IPVS_CMD_GET_SERVICE), Message)]
        for service in services:
            if service is not None:
                answers = family.dump(message(IPVS_CMD_GET_DEST, service), Message)
                destinations = tuple(decode_destination(answer, _family(service.address)) for answer in answers)
                found.append(replace(service, destinations=destinations))
    return sorted(found, key=lambda service: service.key)


def busy(netns: str | int) -> list[IpvsService]:
    """All services there, each with those destinations alone that have connections. MachineError as `read`."""
    found: list[IpvsService] = []
    with _opened(netns) as family:
        services = [decode_service(answer) for answer in family.dump(message(IPVS_CMD_GET_SERVICE), Message)]
        for service in filter(None, services):
            answers = family.dump(message(IPVS_CMD_GET_DEST, service), Message)
            connected = [answer for answer in answers if _connections(answer)]
            destinations = tuple(decode_destination(answer, _family(service.address)) for answer in connected)
            found.append(replace(service, destinations=destinations))
    return found


def _connections(msg: Any) -> int:
    attrs = msg.get_attr("IPVS_CMD_ATTR_DEST")
    return int(attrs.get_attr("IPVS_DEST_ATTR_ACTIVE_CONNS") or 0) + int(
        attrs.get_attr("IPVS_DEST_ATTR_INACT_CONNS") or 0
    )


def requests(op: Op) -> list[tuple[bytes, tuple[int, ...]]]:
    """An operation as requests, each with the error numbers that mean that it is done already. Pure."""
    item = op.item
    assert isinstance(item, IpvsService)
    if isinstance(op, Delete):
        return [(message(IPVS_CMD_DEL_SERVICE, item), (errno.ESRCH, errno.ENOENT))]
    if isinstance(op, Create):
        fresh = [(message(IPVS_CMD_NEW_DEST, item, d), ()) for d in item.destinations]
        return [(message(IPVS_CMD_NEW_SERVICE, item), ()), *fresh]
    assert isinstance(op.old, IpvsService)
    out: list[tuple[bytes, tuple[int, ...]]] = []
    if (op.old.scheduler, op.old.persistence) != (item.scheduler, item.persistence):
        out.append((message(IPVS_CMD_SET_SERVICE, item), ()))
    for verb, destination in edits(op.old, item):
        out.append((message(_VERBS[verb], item, destination), (errno.ENOENT,) if verb == "delete" else ()))
    return out


_VERBS = {"add": IPVS_CMD_NEW_DEST, "edit": IPVS_CMD_SET_DEST, "delete": IPVS_CMD_DEL_DEST}


def perform(netns: str | int, ops: Iterable[Op]) -> Iterator[Op]:
    """Create, change or delete services, by one socket; yields each operation when it is done.

    A change touches only destinations that differ, so connections live on.
    """
    with _opened(netns) as family:
        for op in ops:
            why = f" (wanted by {op.item.why})" if op.item.why else ""
            family.request(requests(op), f"cannot {type(op).__name__.lower()} {op.item}{why}")
            yield op
