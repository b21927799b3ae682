"""How this host gets to an address, and when that may have changed: what a routing daemon tracks next hops with.

The answer is the kernel's own look-up (rtnetlink(7), RTM_GETROUTE with RTM_F_FIB_MATCH), except that routes of one
protocol, the caller's own, do not count: a next hop that only they lead to is not reached.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from ipaddress import IPv4Interface, IPv6Interface
from typing import NamedTuple

from netlab.base.addresses import Address, Interface
from netlab.base.errors import KernelError
from netlab.kernel import netns
from netlab.kernel.events import GROUPS
from netlab.kernel.rtnl import decode, wire
from netlab.kernel.rtnl.socket import Netlink
from netlab.model.l3 import PROTOCOL_NAMES, PROTOCOLS

#: linux/rtnetlink.h: the matching entry of the table rather than a cached way
RTM_F_FIB_MATCH = 0x2000
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16
RTN_UNICAST = 1
#: RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
ROUTES = 0x40 | 0x400


class Way(NamedTuple):
    """dev, via: where packets go next (via None: the address is on the link); metric and protocol of the route."""

    dev: str
    via: Address | None
    metric: int
    protocol: str


class Reach:
    """Look-ups in one namespace. own: the protocol (a name or a number as text) whose routes do not count."""

    def __init__(self, own: str, where: str = netns.HERE) -> None:
        self._own = PROTOCOLS[own] if own in PROTOCOLS else int(own)
        fd = netns.open_fd(where)
        if fd is None:
            raise KernelError(f"there is no network namespace {where!r}", errno_=errno.ENOENT)
        try:
            self._netlink = Netlink(fd)
            with netns.entered(fd):
                kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                self._events = socket.socket(socket.AF_NETLINK, kind, 0)
                self._hints = socket.socket(socket.AF_NETLINK, kind, 0)
        finally:
            os.close(fd)
        # Routes are told apart from devices: our own come in floods that overflow any buffer, and then nothing is lost
        # but the knowledge that some route has changed. A device that goes must not be lost among them.
        self._events.bind((0, GROUPS & ~ROUTES))
        self._hints.bind((0, ROUTES))
        self._both = select.epoll()
        for sock in (self._events, self._hints):
            self._both.register(sock, select.EPOLLIN)
        self._names: dict[int, str] | None = None
        self._seen: dict[int, str] = {}  # every device that ever was: one that is gone is told of by its number
        self._addresses: list[tuple[str, Interface]] | None = None

    def close(self) -> None:
        """Give the sockets back."""
        self._both.close()
        for sock in (self._netlink, self._events, self._hints):
            sock.close()

    def names(self) -> dict[int, str]:
        """Devices by index."""
        if self._names is None:
            head = wire.IFINFO.pack(0, 0, 0, 0, 0)
            raws = (decode.raw_link(m) for m in self._netlink.dump(wire.RTM_GETLINK, head))
            self._names = {raw.index: raw.name for raw in raws}
            self._seen |= self._names
        return self._names

    def addresses(self) -> list[tuple[str, Interface]]:
        """Addresses with their devices."""
        if self._addresses is None:
            found: list[tuple[str, Interface]] = []
            names = self.names()
            for family in (wire.AF_INET, wire.AF_INET6):
                for body in self._netlink.dump(wire.RTM_GETADDR, wire.IFADDR.pack(family, 0, 0, 0, 0)):
                    _, length, _, _, index = wire.IFADDR.unpack_from(body)
                    a = wire.attrs(body, wire.IFADDR.size)
                    raw = a.get(2, a.get(1))  # IFA_LOCAL, IFA_ADDRESS
                    if raw is None or index not in names:
                        continue
                    packed = bytes(raw)
                    cls = IPv4Interface if family == wire.AF_INET else IPv6Interface
                    found.append((names[index], cls((packed, length))))
            self._addresses = found
        return self._addresses

    def lookup(self, address: Address, dev: str = "") -> Way | None:
        """How packets get there, by `dev` if it is given; None if they do not. Our own addresses count as nowhere."""
        index = 0
        if dev:
            index = next((i for i, name in self.names().items() if name == dev), 0)
            if not index:
                return None
        family = wire.AF_INET if address.version == 4 else wire.AF_INET6
        head = wire.RTMSG.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
        body = head + wire.attr(1, address.packed) + (wire.u32(4, index) if index else b"")
        answer = self._netlink.ask(wire.RTM_GETROUTE, body)
        if answer is None:
            return None  # ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL: whatever the reason, packets do not get there
        _, _, _, _, _, protocol, _, kind, flags = wire.RTMSG.unpack_from(answer)
        if kind != RTN_UNICAST or flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN):
            return None
        if protocol == self._own:
            return self._on_link(address)
        a = wire.attrs(answer, wire.RTMSG.size)
        metric = wire.as_int(a[6]) if 6 in a else 0
        name = PROTOCOL_NAMES.get(protocol, str(protocol))
        oif, gateway = self._first(a)
        if oif not in self.names():
            self._names = None  # a device that is new since
        found = self.names().get(oif)
        return Way(found, gateway, metric, name) if found else None

    def _first(self, a: dict[int, memoryview]) -> tuple[int, Address | None]:
        """(device index, gateway) of a route; of several ways the first that is alive."""
        if 9 not in a:
            return wire.as_int(a[4]) if 4 in a else 0, decode.address_of(a[5]) if 5 in a else None
        view, at = a[9], 0
        while at + wire.RTNEXTHOP.size <= len(view):
            length, flags, _, index = wire.RTNEXTHOP.unpack_from(view, at)
            if length < wire.RTNEXTHOP.size:
                break
            if not flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN):
                inner = wire.attrs(view[at : at + length], wire.RTNEXTHOP.size)
                return int(index), decode.address_of(inner[5]) if 5 in inner else None
            at += (length + 3) & ~3
        return 0, None

    def _on_link(self, address: Address) -> Way | None:
        """A route of the caller's hides the link's own, perhaps: an address of ours in the same subnet tells."""
        for dev, interface in self.addresses():
            if interface.version == address.version and address in interface.network and address != interface.ip:
                return Way(dev, None, 0, "kernel")
        return None

    def fileno(self) -> int:
        """Readable after devices, addresses or routes have changed, also by ourselves."""
        return self._both.fileno()

    def drain(self) -> frozenset[str]:
        """Forget the changes until now; the devices whose routes the kernel may have dropped meanwhile.

        If more has changed than the buffer holds, those are all of them.
        """
        _emptied(self._hints)
        suspects: set[str] = set()
        known = self._seen
        stale = False
        while True:
            try:
                data = self._events.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise
                stale = True
                suspects.update(known.values())
                continue
            for kind, _, _, body in wire.messages(data):
                if kind in (wire.RTM_NEWLINK, wire.RTM_DELLINK):
                    stale = True
                    _, _, index, flags, _ = wire.IFINFO.unpack_from(body)
                    name = wire.attrs(body, wire.IFINFO.size).get(3)  # IFLA_IFNAME
                    if name is not None:
                        known[index] = wire.as_text(name)
                    if kind == wire.RTM_DELLINK or not flags & wire.IFF_UP:
                        suspects.add(known.get(index, ""))
                elif kind in (wire.RTM_NEWADDR, wire.RTM_DELADDR):
                    stale = True
                    index = struct.unpack_from("=i", body, 4)[0]
                    if kind == wire.RTM_DELADDR:
                        suspects.add(known.get(index, ""))
        if stale:
            self._names = self._addresses = None
        return frozenset(suspects - {""})


def _emptied(sock: socket.socket) -> None:
    """Read and forget all that waits."""
    while True:
        try:
            sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno != errno.ENOBUFS:
                raise
