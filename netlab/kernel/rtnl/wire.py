"""Bytes of netlink: headers, attributes, and the numbers of linux/{netlink,rtnetlink,if_link,neighbour}.h."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

AF_UNSPEC, AF_INET, AF_BRIDGE, AF_INET6 = 0, 2, 7, 10

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSG_HEADER = struct.Struct("=IHHII")

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38

RTM_GETNSID = 90

IFF_UP = 0x1
NLA_F_NESTED = 0x8000

IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDR = struct.Struct("=BBBBi")  # family, prefixlen, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
NDMSG = struct.Struct("=BxxxiHBB")  # family, ifindex, state, flags, type
FIBRULE = struct.Struct("=BBBBBxxBI")  # family, dst_len, src_len, tos, table, action, flags
TCMSG = struct.Struct("=BxxxiIII")  # family, ifindex, handle, parent, info
RTNEXTHOP = struct.Struct("=HBBi")  # len, flags, hops, ifindex

_ATTR = struct.Struct("=HH")
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTR.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attr(kind, b"".join(parts))


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attr(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    """An attribute of 16 bits in host order."""
    return attr(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in host order."""
    return attr(kind, _U32.pack(value))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string."""
    return attr(kind, value.encode() + b"\0")


def mac(value: str) -> bytes:
    """`02:42:ac:11:00:02` as six octets."""
    return bytes.fromhex(value.replace(":", ""))


def message(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    """A whole message. `body` is padded already, as every part of it is."""
    return NLMSG_HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST, seq, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    """(type, flags, seq, body) of each message in a datagram."""
    view = memoryview(data)
    at = 0
    while at + 16 <= len(view):
        length, kind, flags, seq, _ = NLMSG_HEADER.unpack_from(view, at)
        if length < 16:
            return
        yield kind, flags, seq, view[at + 16 : at + length]
        at += (length + 3) & ~3


def attrs(view: memoryview, offset: int = 0) -> dict[int, memoryview]:
    """Attributes by number; of a repeated one the last."""
    found: dict[int, memoryview] = {}
    end = len(view)
    while offset + 4 <= end:
        length, kind = _ATTR.unpack_from(view, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = view[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def repeated(view: memoryview, kind: int) -> Iterator[memoryview]:
    """All attributes of one number, in order."""
    offset, end = 0, len(view)
    while offset + 4 <= end:
        length, found = _ATTR.unpack_from(view, offset)
        if length < 4:
            break
        if found & 0x3FFF == kind:
            yield view[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def as_int(view: memoryview) -> int:
    """An unsigned number in host order (netlab runs on little-endian and big-endian alike)."""
    return int.from_bytes(view, _ORDER)


def as_text(view: memoryview) -> str:
    """A string up to its NUL."""
    return bytes(view).split(b"\0", 1)[0].decode(errors="replace")


def as_mac(view: memoryview) -> str:
    """Octets as `02:42:ac:11:00:02`."""
    return bytes(view).hex(":")


_ORDER = sys.byteorder
