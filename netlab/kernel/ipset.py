"""ipsets of a namespace, over netlink by pyroute2's IPSet.

The socket is opened while the thread is in the namespace and stays of it; pyroute2's own `netns=` would start a process
for that. Entries are packed and unpacked here: pyroute2 takes 0.3 ms per `add`, and 0.1 ms per entry of a message of
many, so 5,000 would be seconds; the rest of each message is pyroute2's. Facts: linux/netfilter/ipset/ip_set.h,
ipset's lib/PROTOCOL, ipset(8), and its printing functions in lib/print.c.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pyroute2 import IPSet
from pyroute2.netlink import NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_IPSET, nfgen_msg
from pyroute2.netlink.nfnetlink.ipset import IPSET_CMD_ADD, IPSET_CMD_DEL, IPSET_CMD_LIST, ipset_msg

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns as namespaces
from netlab.model.diff import Create, Delete, Op
from netlab.model.sets import Ipset

#: bytes of entries in one message; an attribute's length has 16 bits
_BATCH_BYTES = 60_000
_NESTED, _NET_ORDER, _TYPE_MASK = 0x8000, 0x4000, 0x3FFF  # linux/netlink.h
_DATA = 7
_IP, _CIDR, _PORT, _TIMEOUT, _PROTO, _FLAGS, _IP2, _CIDR2 = 1, 3, 4, 6, 7, 8, 20, 21
_NOMATCH = 1 << 2

#: as ipset prints them (it asks /etc/protocols); others are numbers
PROTOCOLS = {
    "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "sctp": 132, "udplite": 136,
}  # fmt: skip
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
#: type and code as `type << 8 | code`, with the names that ipset prints (its lib/icmp.c and lib/icmpv6.c)
_ICMP = {
    "echo-reply": 0x0000, "network-unreachable": 0x0300, "host-unreachable": 0x0301, "protocol-unreachable": 0x0302,
    "port-unreachable": 0x0303, "fragmentation-needed": 0x0304, "source-route-failed": 0x0305,
    "network-unknown": 0x0306, "host-unknown": 0x0307, "network-prohibited": 0x0309, "host-prohibited": 0x030A,
    "TOS-network-unreachable": 0x030B, "TOS-host-unreachable": 0x030C, "communication-prohibited": 0x030D,
    "host-precedence-violation": 0x030E, "precedence-cutoff": 0x030F, "source-quench": 0x0400,
    "network-redirect": 0x0500, "host-redirect": 0x0501, "TOS-network-redirect": 0x0502, "TOS-host-redirect": 0x0503,
    "echo-request": 0x0800, "router-advertisement": 0x0900, "router-solicitation": 0x0A00,
    "ttl-zero-during-transit": 0x0B00, "ttl-zero-during-reassembly": 0x0B01, "ip-header-bad": 0x0C00,
    "required-option-missing": 0x0C01, "timestamp-request": 0x0D00, "timestamp-reply": 0x0E00,
    "address-mask-request": 0x1100, "address-mask-reply": 0x1200,
}  # fmt: skip
_ICMPV6 = {
    "no-route": 0x0100, "communication-prohibited": 0x0101, "address-unreachable": 0x0103, "port-unreachable": 0x0104,
    "packet-too-big": 0x0200, "ttl-zero-during-transit": 0x0300, "ttl-zero-during-reassembly": 0x0301,
    "bad-header": 0x0400, "unknown-header-type": 0x0401, "unknown-option": 0x0402, "echo-request": 0x8000,
    "echo-reply": 0x8100, "router-solicitation": 0x8500, "router-advertisement": 0x8600,
    "neighbour-solicitation": 0x8700, "neighbour-advertisement": 0x8800, "redirect": 0x8900,
}  # fmt: skip
_ICMP_NAMES = {1: {v: k for k, v in _ICMP.items()}, 58: {v: k for k, v in _ICMPV6.items()}}

_ERRORS = {
    4097: "not understood (an address of the other family?)", 4098: "no such set type here", 4099: "too many sets",
    4100: "the set is in use by a rule", 4101: "a set of that name exists", 4102: "the sets are of different types",
    4103: "the entry is not in the set", 4104: "bad prefix length", 4105: "bad netmask", 4106: "bad family",
    4107: "the set was made without timeout", 4108: "the set is referred to by another one", 4109: "bad IPv4 address",
    4110: "bad IPv6 address", 4352: "the set is full", 4353: "the set is full",
}  # fmt: skip


class _Message(nfgen_msg):  # type: ignore[misc]
    """ipset_msg, but for the list of entries, which is bytes here.

    Not derived from ipset_msg: pyroute2 compiles an attribute map once per class, and a subclass would find its
    parent's "compiled" mark and map.
    """

    cadt_data = ipset_msg.cadt_data
    nla_map = tuple(
        (name, {"IPSET_ATTR_ADT": "cdata", "IPSET_ATTR_DATA": "cadt_data"}.get(name, kind), *flags)
        for (name, kind), flags in (
            (row, (NLA_F_NESTED,) if row[0] == "IPSET_ATTR_ADT" else ()) for row in ipset_msg.nla_map
        )
    )


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        yield kind & _TYPE_MASK, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _address(text: str) -> bytes:
    version6 = ":" in text
    packed = socket.inet_pton(socket.AF_INET6 if version6 else socket.AF_INET, text)
    return _attribute((2 if version6 else 1) | _NET_ORDER, packed)


def encode_entry(set_type: str, entry: str) -> bytes:
    """An entry as `ipset save` prints it, as an IPSET_ATTR_DATA. ValueError if it is none of that set type.

    `timeout N` (seconds) and `nomatch` may follow it.
    """
    main, *options = entry.split()
    parts, kinds = main.split(","), set_type.partition(":")[2].split(",")
    if len(parts) != len(kinds):
        raise ValueError(f"{entry!r} is no entry of {set_type}")
    out = b""
    seen = 0
    for kind, part in zip(kinds, parts, strict=True):
        if kind in ("ip", "net"):
            seen += 1
            address, _, length = part.partition("/")
            try:
                out += _attribute((_IP if seen == 1 else _IP2) | _NESTED, _address(address))
            except OSError:
                raise ValueError(f"{entry!r}: {address!r} is not an address") from None
            if length:
                out += _attribute(_CIDR if seen == 1 else _CIDR2, bytes([int(length)]))
        elif kind == "port":
            protocol, port = _encode_port(part)
            out += _attribute(_PORT | _NET_ORDER, struct.pack(">H", port))
            if set_type != "bitmap:port":
                out += _attribute(_PROTO, bytes([protocol]))
        else:
            raise ValueError(f"netlab makes no entries of {set_type}")
    if "timeout" in options:
        out += _attribute(_TIMEOUT | _NET_ORDER, struct.pack(">I", int(options[options.index("timeout") + 1])))
    if "nomatch" in options:
        out += _attribute(_FLAGS | _NET_ORDER, struct.pack(">I", _NOMATCH))
    return _attribute(_DATA | _NESTED, out)


def _encode_port(text: str) -> tuple[int, int]:
    """(protocol, port) of `tcp:80`, `80`, `icmp:echo-request`, `icmp:8/0`, `50:0`."""
    name, colon, value = text.rpartition(":")
    protocol = {**PROTOCOLS, "icmpv6": 58}.get(name) or (int(name) if colon else 6)
    if protocol in _ICMP_NAMES:
        known = (_ICMP if protocol == 1 else _ICMPV6).get(value)
        if known is not None:
            return protocol, known
        kind, _, code = value.partition("/")
        return protocol, int(kind) << 8 | int(code or 0)
    return protocol, int(value)


def decode_entry(set_type: str, data: bytes) -> str:
    """The inverse: the payload of an IPSET_ATTR_DATA, without what counts down or up (timeout, counters)."""
    found = dict(_attributes(data))
    parts: list[str] = []
    seen = 0
    for kind in set_type.partition(":")[2].split(","):
        if kind in ("ip", "net"):
            seen += 1
            payload = found[_IP if seen == 1 else _IP2][4:]
            full = 8 * len(payload)
            length = found.get(_CIDR if seen == 1 else _CIDR2, bytes([full]))[0]
            address = socket.inet_ntop(socket.AF_INET if full == 32 else socket.AF_INET6, payload)
            parts.append(address if length == full else f"{address}/{length}")
        elif kind == "port":
            (port,) = struct.unpack(">H", found[_PORT])
            parts.append(str(port) if _PROTO not in found else _decode_port(found[_PROTO][0], port))
        else:
            parts.append("?")
    nomatch = _FLAGS in found and struct.unpack(">I", found[_FLAGS])[0] & _NOMATCH
    return ",".join(parts) + (" nomatch" if nomatch else "")


def _decode_port(protocol: int, port: int) -> str:
    name = _PROTOCOL_NAMES.get(protocol, str(protocol))
    if protocol in _ICMP_NAMES:
        return f"{name}:{_ICMP_NAMES[protocol].get(port, f'{port >> 8}/{port & 255}')}"
    return f"{name}:{port}"


@contextlib.contextmanager
def _opened(netns: str | int) -> Iterator[Any]:
    """A netlink socket of the namespace. MachineError if the kernel has no ipset."""
    try:
        with namespaces.entered(netns):
            sock = IPSet()
    except NetlinkError as e:
        raise MachineError(f"this kernel has no ipset: {os.strerror(e.code)}", hint="modprobe ip_set") from e
    try:
        sock.register_policy(IPSET_CMD_LIST | NFNL_SUBSYS_IPSET << 8, _Message)
        yield sock
    finally:
        sock.close()


def _error(doing: str, ipset: Ipset | str, e: NetlinkError) -> KernelError:
    name, because = (
        (ipset, "") if isinstance(ipset, str) else (ipset.name, f" (wanted by {ipset.why})" if ipset.why else "")
    )
    said = _ERRORS.get(e.code) or os.strerror(e.code)
    hint = "modprobe ip_set_hash_ip and the like" if e.code == 4098 else None
    return KernelError(f"cannot {doing} ipset {name}{because}: {said}", errno_=e.code, item=f"ipset {name}", hint=hint)


def read(netns: str | int) -> list[Ipset]:
    """All sets there with their entries, by name. Types that netlab does not know are read as far as they go."""
    headers: dict[str, dict[str, Any]] = {}
    entries: dict[str, list[str]] = {}
    with _opened(netns) as sock:
        # a big set comes in several messages, of which only the first has the header's data
        message = _Message()
        message["attrs"] = [["IPSET_ATTR_PROTOCOL", sock.asyncore._proto_version]]
        message["nfgen_family"] = socket.AF_INET
        for part in list(sock.nlm_request(message, IPSET_CMD_LIST | NFNL_SUBSYS_IPSET << 8)):
            name, set_type = part.get_attr("IPSET_ATTR_SETNAME"), part.get_attr("IPSET_ATTR_TYPENAME")
            data = part.get_attr("IPSET_ATTR_DATA")
            if set_type:
                headers[name] = {
                    "type": set_type,
                    "family": 6 if part.get_attr("IPSET_ATTR_FAMILY") == socket.AF_INET6 else 4,
                    **_header(data),
                }
            found = entries.setdefault(name, [])
            for kind, payload in _attributes(part.get_attr("IPSET_ATTR_ADT") or b""):
                if kind == _DATA:
                    found.append(decode_entry(headers[name]["type"], payload))
    return [Ipset(name=name, entries=tuple(entries[name]), **headers[name]) for name in sorted(headers)]


def _header(data: Any) -> dict[str, int]:
    wanted = {"maxelem": "MAXELEM", "hashsize": "HASHSIZE", "timeout": "TIMEOUT"}
    values = {field: data.get_attr(f"IPSET_ATTR_{name}") for field, name in wanted.items()} if data else {}
    return {field: value for field, value in values.items() if value is not None}


def create(netns: str | int, ipset: Ipset) -> None:
    """Make the set with its entries. KernelError if one of that name exists; one that cannot be filled is not left."""
    with _opened(netns) as sock:
        _create(sock, ipset)


def _create(sock: Any, ipset: Ipset) -> None:
    hashed = ipset.type.startswith("hash:")
    try:
        sock.create(
            ipset.name,
            stype=ipset.type,
            family=(socket.AF_INET if ipset.family == 4 else socket.AF_INET6) if hashed else socket.AF_UNSPEC,
            maxelem=ipset.maxelem if hashed else None,
            hashsize=ipset.hashsize if hashed else None,
            timeout=ipset.timeout,
            bitmap_ports_range=(0, 65535),
        )
    except NetlinkError as e:
        raise _error("make", ipset, e) from e
    try:
        _change(sock, IPSET_CMD_ADD, ipset, ipset.entries)
    except BaseException:
        sock.destroy(ipset.name)
        raise


def destroy(netns: str | int, name: str) -> bool:
    """Remove the set. False if there was none; KernelError if a rule uses it."""
    with _opened(netns) as sock:
        return _destroy(sock, name)


def _destroy(sock: Any, name: str) -> bool:
    try:
        sock.destroy(name)
    except NetlinkError as e:
        if e.code == errno.ENOENT:
            return False
        raise _error("remove", name, e) from e
    return True


def add(netns: str | int, ipset: Ipset, entries: Sequence[str]) -> None:
    """Add entries to the set, which exists; those that are in it already stay. KernelError names the refused one."""
    with _opened(netns) as sock:
        _change(sock, IPSET_CMD_ADD, ipset, entries)


def delete(netns: str | int, ipset: Ipset, entries: Sequence[str]) -> None:
    """Remove entries from the set; those that are not in it are passed over."""
    with _opened(netns) as sock:
        _change(sock, IPSET_CMD_DEL, ipset, entries)


def _change(sock: Any, command: int, ipset: Ipset, entries: Iterable[str]) -> None:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for entry in entries:
        try:
            data = encode_entry(ipset.type, entry)
        except (ValueError, IndexError, struct.error) as e:
            raise KernelError(f"{ipset}: {entry!r}: {e}", errno_=errno.EINVAL, item=str(ipset)) from e
        if size + len(data) > _BATCH_BYTES:
            _send(sock, command, ipset, batch)
            batch, size = [], 0
        batch.append((entry, data))
        size += len(data)
    if batch:
        _send(sock, command, ipset, batch)


def _send(sock: Any, command: int, ipset: Ipset, batch: list[tuple[str, bytes]]) -> None:
    """One message. Without NLM_F_EXCL the kernel passes over what is so already. If it refuses, find out what."""
    message = _Message()
    message["nfgen_family"] = socket.AF_INET
    message["attrs"] = [
        ["IPSET_ATTR_PROTOCOL", sock.asyncore._proto_version],
        ["IPSET_ATTR_SETNAME", ipset.name],
        ["IPSET_ATTR_LINENO", 0],
        ["IPSET_ATTR_ADT", b"".join(data for _, data in batch)],
    ]
    try:
        list(sock.nlm_request(message, command | NFNL_SUBSYS_IPSET << 8, NLM_F_REQUEST | NLM_F_ACK))
    except NetlinkError as e:
        if len(batch) == 1:
            raise _error(f"{'add' if command == IPSET_CMD_ADD else 'remove'} {batch[0][0]!r}: in", ipset, e) from e
        half = len(batch) // 2
        _send(sock, command, ipset, batch[:half])
        _send(sock, command, ipset, batch[half:])


def perform(netns: str | int, op: Op) -> None:
    """Create, change or delete a set.

    A set whose header changes is made anew under another name and swapped in, so that the rules that use it never see
    it missing or half full.
    """
    item = op.item
    assert isinstance(item, Ipset)
    with _opened(netns) as sock:
        if isinstance(op, Delete):
            _destroy(sock, item.name)
        elif isinstance(op, Create):
            _create(sock, item)
        else:
            assert isinstance(op.old, Ipset)
            if op.old.header == item.header:
                was, wanted = set(op.old.entries), set(item.entries)
                _change(sock, IPSET_CMD_DEL, item, sorted(was - wanted))
                _change(sock, IPSET_CMD_ADD, item, sorted(wanted - was))
            else:
                _swap_in(sock, item)


def _swap_in(sock: Any, item: Ipset) -> None:
    fresh = Ipset(name=f"{item.name[:26]}.new", type=item.type, family=item.family, maxelem=item.maxelem,
                  hashsize=item.hashsize, timeout=item.timeout, entries=item.entries, why=item.why)  # fmt: skip
    _destroy(sock, fresh.name)  # of an attempt that was cut short
    _create(sock, fresh)
    try:
        sock.swap(item.name, fresh.name)
    except NetlinkError as e:
        # another type or family cannot be swapped in; without rules that use it, it can be made anew
        _destroy(sock, fresh.name)
        if e.code != 4102:
            raise _error("swap", item, e) from e
        _destroy(sock, item.name)
        _create(sock, item)
    else:
        _destroy(sock, fresh.name)
