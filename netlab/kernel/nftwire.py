"""nftables by netlink: changes of chains, rules and elements, without the nft tool.

The tool reads every chain and set of the kernel before it changes one, which takes a second with 10,000 Services. What
is understood here (the rules that a proxy writes, and elements of its maps) goes to the kernel as it is; `encoded`
says None of what is not, which is then the tool's. Rules are spelt byte for byte as the tool spells them, so that it
lists them as they were asked for.

Facts: linux/netfilter/nf_tables.h, and what `nft --debug=netlink` 1.0.6 shows.
"""

from __future__ import annotations

import itertools
import re
import secrets
import socket
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import NamedTuple

from netlab.kernel.conntrack import NETLINK_NETFILTER
from netlab.kernel.refusals import refusal
from netlab.kernel.rtnl.socket import Netlink
from netlab.kernel.rtnl.wire import NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE, attr, nested, text
from netlab.model.diff import Change, Create, Delete, Op
from netlab.model.nft import NftChain, NftElement, NftSet

SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_NEWCHAIN, _DELCHAIN, _NEWRULE, _DELRULE = 3, 5, 6, 8
_NEWSET, _DELSET, _NEWSETELEM, _DELSETELEM = 9, 11, 12, 14
#: NFT_JUMP, NFT_GOTO, NF_DROP, as a verdict's code
_CODES = {"jump": -3, "goto": -4, "drop": 0}
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
#: of a header: where an address is, and how long
_FIELDS = {("ip", "saddr"): (12, 4), ("ip", "daddr"): (16, 4), ("ip6", "saddr"): (8, 16), ("ip6", "daddr"): (24, 16)}
_AF = {"ip": 2, "ip6": 10, "inet": 1}
_NETWORK, _TRANSPORT = 1, 2
#: elements in one message: a list's length is told in 16 bits
_ELEMENTS_MAX = 100
#: the sets that a choice among endpoints makes for itself: anonymous, constant, a map; numbers in host order
_CHOICES = 0x1 | 0x2 | 0x8
_TYPE_INTEGER, _TYPE_VERDICT = 4, 0xFFFFFF00
#: of an address with a port, as nft numbers types that stand together
_TYPE_TARGET = {"ip": 7 << 6 | 13, "ip6": 8 << 6 | 13}
#: in the names of sets that no rule but one has, with a number of this process. `__map%d` would have the kernel find a
#: free number, for which it looks at the names of all sets there are: 10,000 Services took 109 s to load
_PROCESS = secrets.token_hex(4)
_numbers = itertools.count(1)
#: bytes of a batch: the kernel looks for such a number among all that has come in the batch so far
_BATCH = 1 << 18


class Message(NamedTuple):
    """One message of a batch, for an operation."""

    op: Op
    kind: int
    flags: int
    body: bytes


#: messages that only make sense together
Unit = list[Message]


class _Foreign(Exception):
    """Something that is not understood here."""


def encoded(op: Op) -> tuple[list[Unit], list[Unit], list[Unit], list[Unit]] | None:
    """What is made first, what is said then, what is emptied and what is removed at last; None if it is the tool's."""
    item = op.item
    try:
        if isinstance(item, NftChain) and not item.hook:
            return _chain(op, item)
        if isinstance(item, NftSet):
            return _set(op, item)
    except (_Foreign, ValueError):  # what is no address where one is looked for is something else
        pass
    return None


def _chain(op: Op, item: NftChain) -> tuple[list[Unit], list[Unit], list[Unit], list[Unit]]:
    head = struct.pack("!BBH", _AF[item.family], 0, 0) + text(1, item.table)
    here, of_rules = head + text(3, item.name), head + text(2, item.name)
    flush = Message(op, _DELRULE, 0, of_rules)
    if isinstance(op, Delete):
        return [], [], [[flush]], [[Message(op, _DELCHAIN, 0, here)]]
    made: list[Unit] = []
    said: Unit = []
    if isinstance(op, Change):
        if not isinstance(op.old, NftChain) or op.old.hook:
            raise _Foreign
        if op.old.rules != item.rules:
            said.append(flush)
    else:
        made.append([Message(op, _NEWCHAIN, NLM_F_CREATE, here)])
    if isinstance(op, Create) or said:
        for rule in item.rules:
            before, body = _rule(rule.text, head)
            said += [Message(op, kind, NLM_F_CREATE, sets) for kind, sets in before]
            said.append(Message(op, _NEWRULE, NLM_F_CREATE | NLM_F_APPEND, of_rules + body))
    return made, [said] if said else [], [], []


def _set(op: Op, item: NftSet) -> tuple[list[Unit], list[Unit], list[Unit], list[Unit]]:
    head = struct.pack("!BBH", _AF[item.family], 0, 0) + text(1, item.table)
    if isinstance(op, Delete):
        return [], [], [], [[Message(op, _DELSET, 0, head + text(2, item.name))]]
    if not isinstance(op, Change) or not isinstance(op.old, NftSet) or op.old.header != item.header:
        raise _Foreign
    if item.dynamic:
        return [], [], [], []
    before, after = set(op.old.elements), set(item.elements)
    going = [_element(item.type, e, whole=False) for e in op.old.elements if e not in after]
    coming = [_element(item.type, e) for e in item.elements if e not in before]
    name = head + text(2, item.name)
    units: list[Unit] = [[Message(op, _DELSETELEM, 0, name + part)] for part in _lists(going)]
    units += [[Message(op, _NEWSETELEM, NLM_F_CREATE, name + part)] for part in _lists(coming)]
    if going and len(units) > 1:
        units = [[message for unit in units for message in unit]]  # a key may go with one value and come with another
    return [], units, [], []


def _lists(elements: Sequence[bytes]) -> Iterator[bytes]:
    for at in range(0, len(elements), _ELEMENTS_MAX):
        yield _nested(3, *elements[at : at + _ELEMENTS_MAX])


# -- a batch


def send(netns: str | int, units: Iterable[Unit]) -> None:
    """Carry units out, in batches, each of them as a whole or not at all. KernelError names what was refused."""
    netlink = Netlink(netns, NETLINK_NETFILTER)
    try:
        for batch in _batches(units):
            requests = [(SUBSYSTEM | message.kind, message.flags, message.body) for message in batch]
            for refused in netlink.transact(requests, subsystem=SUBSYSTEM >> 8):
                raise refusal(batch[refused.at].op, refused.errno, refused.said) from refused
    finally:
        # closing waits until the kernel has freed what was replaced (nft_rcv_nl_event), longer than the change itself
        # took; what is asked for stands already, so nobody else has to
        threading.Thread(target=netlink.close, name="netlab-nft-close").start()


def _batches(units: Iterable[Unit]) -> Iterator[list[Message]]:
    batch: list[Message] = []
    size = 0
    for unit in units:
        length = sum(len(message.body) for message in unit)
        if batch and size + length > _BATCH:
            yield batch
            batch, size = [], 0
        batch += unit
        size += length
    if batch:
        yield batch


# -- values


def _nested(kind: int, *parts: bytes) -> bytes:
    return nested(NLA_F_NESTED | kind, *parts)


def _be32(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack("!i", value) if value < 0 else struct.pack("!I", value))


def _value(kind: int, data: bytes) -> bytes:
    return _nested(kind, attr(1, data))


@lru_cache(maxsize=1 << 12)
def _verdict(kind: int, said: str) -> bytes:
    """`goto CHAIN`, `jump CHAIN`, `drop` as a value."""
    word, _, chain = said.partition(" ")
    if word not in _CODES or bool(chain) != (word != "drop"):
        raise _Foreign
    return _nested(kind, _nested(2, _be32(1, _CODES[word]), *([text(2, chain)] if chain else [])))


def _packed(address: str) -> bytes:
    """An address as it is on the wire; ValueError if it is none. (ipaddress takes three times as long.)"""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except OSError as e:
        raise ValueError(str(e)) from e


def _element(types: str, element: NftElement, *, whole: bool = True) -> bytes:
    """An element; a key of several parts has each of them in whole words of 32 bits."""
    key = b""
    kinds, parts = types.split(" . "), element.key.split(" . ")
    if len(kinds) != len(parts):
        raise _Foreign
    for kind, part in zip(kinds, parts, strict=True):
        if kind in ("ipv4_addr", "ipv6_addr"):
            data = _packed(part)
        elif kind == "inet_proto" and part in _NUMBERS:
            data = bytes((_NUMBERS[part],))
        elif kind == "inet_service" and part.isdigit():
            data = int(part).to_bytes(2, "big")
        else:
            raise _Foreign
        key += data.ljust(-(-len(data) // 4) * 4, b"\0") if len(kinds) > 1 else data
    return _nested(1, _value(1, key), *([_verdict(2, element.value)] if element.value and whole else []))


# -- rules


def _expression(name: str, *attributes: bytes) -> bytes:
    return _nested(1, text(1, name), _nested(2, *attributes))


@lru_cache(maxsize=256)
def _load(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _be32(1, 1), _be32(2, base), _be32(3, offset), _be32(4, length))


@lru_cache(maxsize=64)
def _comparison(length: int, differs: bool) -> bytes:
    """A comparison up to its data, which come last."""
    whole = _expression("cmp", _be32(1, 1), _be32(2, int(differs)), _value(3, bytes(length)))
    return whole[: len(whole) - _padded(length)]


def _compare(data: bytes, *, differs: bool = False) -> bytes:
    length = len(data)
    return _comparison(length, differs) + data + bytes(_padded(length) - length)


def _padded(length: int) -> int:
    return (length + 3) & ~3


@lru_cache(maxsize=8)
def _protocol(name: str) -> bytes:
    return _expression("meta", _be32(2, 16), _be32(1, 1)) + _compare(bytes((_NUMBERS[name],)))


def _ends(said: str) -> bytes:
    return _expression("immediate", _be32(1, 0), _verdict(2, said))


@lru_cache(maxsize=8)
def _putting(register: int, length: int) -> bytes:
    whole = _expression("immediate", _be32(1, register), _value(2, bytes(length)))
    return whole[: len(whole) - _padded(length)]


def _put(register: int, data: bytes) -> bytes:
    return _putting(register, len(data)) + data + bytes(_padded(len(data)) - len(data))


@lru_cache(maxsize=2)
def _dnat(family: int) -> bytes:
    registers = [_be32(3, 1), _be32(4, 1), _be32(5, 2), _be32(6, 2)]
    return _expression("nat", _be32(1, 1), _be32(2, family), *registers, _be32(7, 3))


_ADDRESS = re.compile(r"(ip6?) ([sd]addr) (!= )?(@?)([^\s{]+) ")
_PORT = re.compile(r"(tcp|udp|sctp) dport (\d+) ")
_PROTOCOL = re.compile(r"meta l4proto (tcp|udp|sctp) ")
_LOCAL = re.compile(r"fib saddr type local ")
_DICE = re.compile(r"numgen random mod (\d+) 0 ")
_CHOICE = re.compile(r"numgen random mod (\d+) vmap \{ (.*) \}")
_UPDATE = re.compile(r"update @(\S+) \{ (ip6?) saddr \}")
_DNAT_CHOICE = re.compile(r"dnat (ip6?) to numgen random mod (\d+) map \{ (.*) \}")
_DNAT = re.compile(r"dnat to (\S+):(\d+)")
_COMMENT = re.compile(r' comment "([^"]*)"$')


def _rule(said: str, head: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """(messages that have to come before it, its attributes)."""
    comment = _COMMENT.search(said) if said.endswith('"') else None
    if comment:
        said = said[: comment.start()]
    before: list[tuple[int, bytes]] = []
    out: list[bytes] = []
    while True:
        if said[0] in "gj" and (said.startswith(("goto ", "jump "))):
            out.append(_ends(said))
            break
        if found := _ADDRESS.match(said):
            out.append(_address(*found.groups()))
        elif found := _PORT.match(said):
            out += [_protocol(found[1]), _load(_TRANSPORT, 2, 2), _compare(int(found[2]).to_bytes(2, "big"))]
        elif found := _PROTOCOL.match(said):
            out.append(_protocol(found[1]))
        elif found := _LOCAL.match(said):
            fib = _expression("fib", _be32(3, 1), _be32(2, 3), _be32(1, 1))  # of the source, its type
            out += [fib, _compare(struct.pack("=I", 2))]  # RTN_LOCAL
        elif found := _DICE.match(said):
            out += [_dice(int(found[1])), _compare(bytes(4))]
        elif found := _CHOICE.fullmatch(said):
            before, looked_up = _choices(found[2], head, register=0)
            out += [_dice(int(found[1])), looked_up]
            break
        elif found := _DNAT_CHOICE.fullmatch(said):
            before, looked_up = _choices(found[3], head, register=1, family=found[1])
            out += [_dice(int(found[2])), looked_up, _dnat_chosen(found[1])]
            break
        else:
            out.append(_last(said))
            break
        said = said[found.end() :]
    noted = attr(7, bytes((0, len(comment[1]) + 1)) + comment[1].encode() + b"\0") if comment else b""
    return before, _nested(4, *out) + noted


@lru_cache(maxsize=64)
def _dice(sides: int) -> bytes:
    return _expression("numgen", _be32(1, 1), _be32(2, sides), _be32(3, 1), _be32(4, 0))


def _address(family: str, field: str, differs: str | None, at: str, operand: str) -> bytes:
    offset, length = _FIELDS[family, field]
    if at:
        if differs:
            raise _Foreign
        return _load(_NETWORK, offset, length) + _expression("lookup", text(1, operand), _be32(2, 1))
    if "/" not in operand:
        packed = _packed(operand)
        if len(packed) != length:
            raise _Foreign
        return _load(_NETWORK, offset, length) + _compare(packed, differs=bool(differs))
    network = ip_network(operand)
    if (network.version == 6) != (family == "ip6") or not network.prefixlen:
        raise _Foreign
    packed = network.network_address.packed
    if network.prefixlen % 8 == 0:  # whole bytes: as many are loaded
        length = network.prefixlen // 8
        return _load(_NETWORK, offset, length) + _compare(packed[:length], differs=bool(differs))
    mask = _value(4, network.netmask.packed) + _value(5, bytes(length))
    masked = _expression("bitwise", _be32(1, 1), _be32(2, 1), _be32(3, length), _be32(6, 0), mask)
    return _load(_NETWORK, offset, length) + masked + _compare(packed, differs=bool(differs))


def _last(said: str) -> bytes:
    """The end of a rule: a verdict, a new destination, a client remembered."""
    if found := _DNAT.fullmatch(said):
        address = _packed(found[1].strip("[]"))
        return _put(1, address) + _put(2, int(found[2]).to_bytes(2, "big")) + _dnat(10 if len(address) == 16 else 2)
    if found := _UPDATE.fullmatch(said):
        offset, length = _FIELDS[found[2], "saddr"]
        update = _expression("dynset", _be32(4, 1), _be32(3, 1), text(1, found[1]))
        return _load(_NETWORK, offset, length) + update
    return _ends(said)


#: what nft notes of such a set, to list its keys in the right order of bytes: host's, and nothing of the values
_NOTED = struct.pack("=BBI", 0, 4, 1) + struct.pack("=BBI", 1, 4, 0)
#: and of a map to addresses: they are no ranges
_NOTED_TARGETS = _NOTED + struct.pack("=BBI", 6, 4, 0)


@lru_cache(maxsize=2)
def _dnat_chosen(family: str) -> bytes:
    """To the address and port that a look into a map has left in registers: an address of IPv6 fills the first."""
    number, port = (10, 2) if family == "ip6" else (2, 9)
    return _expression("nat", _be32(1, 1), _be32(2, number), _be32(3, 1), _be32(5, port))


def _target(said: str) -> bytes:
    """`10.0.0.1 . 80` as a value."""
    address, _, port = said.partition(" . ")
    return _value(2, _packed(address) + int(port).to_bytes(2, "big") + bytes(2))


def _choices(said: str, head: bytes, *, register: int, family: str = "") -> tuple[list[tuple[int, bytes]], bytes]:
    """`0 : goto a, 1 : goto b`: the set, its elements, and the look into it. family: of addresses, which then stand in
    place of verdicts."""
    elements = []
    for one in said.split(", "):
        key, _, chosen = one.partition(" : ")
        if not key.isdigit():
            raise _Foreign
        value = _target(chosen) if family else _verdict(2, chosen)
        elements.append(_nested(1, _value(1, int(key).to_bytes(4, sys.byteorder)), value))
    number = next(_numbers) & 0xFFFFFFFF
    name, ident = text(2, f"__map{number}{_PROCESS}"), _be32(10, number)
    kind, length = (_TYPE_TARGET[family], 20 if family == "ip6" else 8) if family else (_TYPE_VERDICT, 0)
    made = head + name + _be32(3, _CHOICES) + _be32(4, _TYPE_INTEGER) + _be32(5, 4) + _be32(6, kind)
    made += _be32(7, length) + ident + _nested(9, _be32(1, len(elements)))
    made += attr(13, _NOTED_TARGETS if family else _NOTED)
    # by its number alone: a name would be looked for among all sets
    listed = [(_NEWSETELEM, head + _be32(4, number) + part) for part in _lists(elements)]
    own = text(1, f"__map{number}{_PROCESS}")
    looked_up = _expression("lookup", _be32(2, 1), _be32(3, register), own, _be32(4, number))
    return [(_NEWSET, made), *listed], looked_up
