"""Messages (RFC 4271 section 4) from and to bytes. Bytes that cannot be raise ProtocolError, and nothing else.

What RFC 7606 lets a session survive is no exception: an `Update` carries its faults, and has already become what they
make of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from netlab.bgp import attribute_codec, capabilities, nlri
from netlab.bgp.attribute_codec import WITHDRAW, Fault, Reader
from netlab.bgp.attributes import Attrs
from netlab.bgp.capabilities import Capabilities
from netlab.bgp.codes import (
    AS_TRANS,
    BAD_HOLD_TIME,
    BAD_ID,
    BAD_LENGTH,
    BAD_NETWORK,
    BAD_TYPE,
    BAD_VERSION,
    EXTENDED_MAX,
    HEADER_LENGTH,
    MALFORMED_LIST,
    MESSAGE_MAX,
    NOT_SYNCHRONIZED,
    Code,
    Kind,
    Notification,
    ProtocolError,
)
from netlab.bgp.nlri import FAMILIES, Family, Nlri

MARKER = b"\xff" * 16
#: the least length of each kind, header included (RFC 4271 section 6.1)
LENGTH_MIN = {Kind.OPEN: 29, Kind.UPDATE: 23, Kind.NOTIFICATION: 21, Kind.KEEPALIVE: 19, Kind.ROUTE_REFRESH: 23}
_REFRESH_NAMES = {0: "request", 1: "begin", 2: "end"}


@dataclass(frozen=True, slots=True)
class Open:
    """asn: as in the fixed part, AS_TRANS for one of four octets; hold_time: seconds, 0 or at least 3."""

    asn: int
    hold_time: int
    router_id: IPv4Address
    capabilities: Capabilities = field(default_factory=Capabilities)

    @property
    def real_asn(self) -> int:
        """The sender's AS, four octets if it can."""
        return self.asn if self.capabilities.as4 is None else self.capabilities.as4


@dataclass(frozen=True, slots=True)
class Update:
    """Routes that are no more, and routes that are, by family. faults: what RFC 7606 has mended.

    end_of_rib: the family whose initial routes are complete (RFC 4724 section 2).
    """

    withdrawn: tuple[tuple[Family, list[Nlri]], ...] = ()
    announced: tuple[tuple[Family, Attrs, list[Nlri]], ...] = ()
    faults: tuple[Fault, ...] = ()
    end_of_rib: Family | None = None


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Nothing but a header."""


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """subtype: 0 a request (RFC 2918), 1 and 2 the begin and end of an answer (RFC 7313)."""

    family: Family
    subtype: int = 0


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is well formed and means nothing to us: a refresh of a family that we do not speak."""

    kind: int
    why: str = field(default="", compare=False)


Message = Open | Update | Notification | Keepalive | RouteRefresh | Ignored


class Framer:
    """Cuts a stream into messages. extended: lengths beyond 4096 are allowed (RFC 8654), once both sides said so."""

    def __init__(self) -> None:
        self.extended = False
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        self._data += data

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(type, body) of each whole message. ProtocolError for an impossible header; the stream is of no use then."""
        data, at = self._data, 0
        try:
            while len(data) - at >= HEADER_LENGTH:
                if not data.startswith(MARKER, at):
                    raise ProtocolError(Code.HEADER, NOT_SYNCHRONIZED)
                length, kind = data[at + 16] << 8 | data[at + 17], data[at + 18]
                if kind not in LENGTH_MIN:
                    raise ProtocolError(Code.HEADER, BAD_TYPE, bytes((kind,)), why=f"type {kind}")
                most = EXTENDED_MAX if self.extended and kind not in (Kind.OPEN, Kind.KEEPALIVE) else MESSAGE_MAX
                least = LENGTH_MIN[Kind(kind)]
                if not least <= length <= most or (kind == Kind.KEEPALIVE and length != least):
                    # RFC 7313 section 5 has its own code for a refresh, the rest is RFC 4271 section 6.1
                    raise ProtocolError(Code.HEADER, BAD_LENGTH, bytes(data[at + 16 : at + 18]), why=f"{length} octets")
                if len(data) - at < length:
                    return
                body = bytes(data[at + HEADER_LENGTH : at + length])
                at += length
                yield kind, body
        finally:
            del data[:at]


class Codec:
    """Reads and writes the messages of one session, whose OPENs decide the details.

    ebgp: the peer is external; as4, extended, families: what both sides can.
    """

    def __init__(
        self,
        *,
        ebgp: bool = True,
        as4: bool = True,
        extended: bool = False,
        families: Iterable[Family] = (Family.IPV4,),
    ) -> None:
        self.ebgp, self.as4, self.extended, self.families = ebgp, as4, extended, tuple(families)
        self._reader = Reader(as4=as4, ebgp=ebgp)

    def decode(self, kind: int, body: bytes) -> Message:
        """A frame's meaning. ProtocolError with the NOTIFICATION that it deserves."""
        if kind == Kind.UPDATE:
            return self._update(body)
        if kind == Kind.KEEPALIVE:
            return Keepalive()
        if kind == Kind.OPEN:
            return decode_open(body)
        if kind == Kind.NOTIFICATION:
            return Notification(body[0], body[1], body[2:])
        return _refresh(body)

    def _update(self, body: bytes) -> Update:
        cut = body[0] << 8 | body[1]
        if 2 + cut + 2 > len(body):
            raise ProtocolError(Code.UPDATE, MALFORMED_LIST, why="withdrawn routes longer than the message")
        at = 2 + cut
        length = body[at] << 8 | body[at + 1]
        if at + 2 + length > len(body):
            raise ProtocolError(Code.UPDATE, MALFORMED_LIST, why="attributes longer than the message")
        try:
            old = nlri.parse(body[2:at], 32)
            new = nlri.parse(body[at + 2 + length :], 32)
        except ValueError as e:
            raise ProtocolError(Code.UPDATE, BAD_NETWORK, why=str(e)) from None
        if not length:
            if not new:
                # nothing at all is the end of the initial routes
                return Update(((Family.IPV4, old),)) if old else Update(end_of_rib=Family.IPV4)
            fault = attribute_codec.missing(frozenset(), next_hop=True, ebgp=self.ebgp)
            assert fault is not None
            return Update(((Family.IPV4, [*old, *new]),), (), (fault,))
        return self._with_attributes(old, new, body[at + 2 : at + 2 + length])

    def _with_attributes(self, old: list[Nlri], new: list[Nlri], data: bytes) -> Update:
        raw = attribute_codec.split(data)
        gone = attribute_codec.parse_unreach(raw.unreach) if raw.unreach is not None else None
        reach = attribute_codec.parse_reach(raw.reach) if raw.reach is not None else None
        if gone and not gone[1] and not raw.rest and raw.reach is None and not (old or new or raw.fault):
            return Update(end_of_rib=gone[0])
        withdrawn = [(Family.IPV4, old)] if old else []
        if gone and gone[1]:
            withdrawn.append(gone)
        if not new and (reach is None or not reach.prefixes) and raw.fault is None:
            return Update(tuple(withdrawn))  # attributes without routes say nothing
        attrs, faults, present = self._reader.read(raw.rest)
        lacking = attribute_codec.missing(present, next_hop=bool(new), ebgp=self.ebgp)
        more = [fault for fault in (raw.fault, lacking) if fault]
        if more:
            faults = (*faults, *more)
        announced: list[tuple[Family, Attrs, list[Nlri]]] = []
        if reach and reach.prefixes:
            announced.append(
                (reach.family, attrs.with_(next_hop=reach.next_hop, link_local=reach.link_local), reach.prefixes)
            )
        if new:
            announced.append((Family.IPV4, attrs, new))
        if any(fault.action == WITHDRAW for fault in faults):
            if not announced and not withdrawn and raw.fault:
                # the list is broken before anything that names a route: nobody knows what was meant
                raise ProtocolError(Code.UPDATE, MALFORMED_LIST, why=raw.fault.why)
            withdrawn += [(family, prefixes) for family, _, prefixes in announced]
            announced = []
        return Update(tuple(withdrawn), tuple(announced), faults)

    # -- writing

    @property
    def message_max(self) -> int:
        """Octets that a message may have."""
        return EXTENDED_MAX if self.extended else MESSAGE_MAX

    def announcements(self, family: Family, attrs: Attrs, prefixes: Iterable[Nlri]) -> Iterator[bytes]:
        """UPDATE messages, as few as can be; none at all if the attributes are too long for any message."""
        plain = family is Family.IPV4
        head = attribute_codec.encode(attrs, as4=self.as4, next_hop=plain)
        # beside the attributes: header, two lengths; MP_REACH_NLRI at its largest has 4 + 5 + 32 octets of its own
        room = self.message_max - HEADER_LENGTH - 4 - len(head) - (0 if plain else 41)
        for chunk in _chunks(prefixes, room):
            if plain:
                body = b"\0\0" + len(head).to_bytes(2, "big") + head + chunk
            else:
                whole = attribute_codec.encode_reach(family, attrs, chunk) + head
                body = b"\0\0" + len(whole).to_bytes(2, "big") + whole
            yield frame(Kind.UPDATE, body)

    def withdrawals(self, family: Family, prefixes: Iterable[Nlri]) -> Iterator[bytes]:
        """UPDATE messages that take routes back."""
        plain = family is Family.IPV4
        for chunk in _chunks(prefixes, self.message_max - HEADER_LENGTH - 4 - (0 if plain else 7)):
            if plain:
                body = len(chunk).to_bytes(2, "big") + chunk + b"\0\0"
            else:
                attribute = attribute_codec.encode_unreach(family, chunk)
                body = b"\0\0" + len(attribute).to_bytes(2, "big") + attribute
            yield frame(Kind.UPDATE, body)


def _chunks(prefixes: Iterable[Nlri], room: int) -> Iterator[bytes]:
    """The prefixes in a row, in pieces of at most `room` octets; none where a single one may not fit."""
    if room < 17:
        return
    part: list[Nlri] = []
    size = 0
    for prefix in prefixes:
        if size + len(prefix) > room:
            yield b"".join(part)
            part, size = [], 0
        part.append(prefix)
        size += len(prefix)
    if part:
        yield b"".join(part)


def end_of_rib(family: Family) -> bytes:
    """The marker that a family's initial routes are complete."""
    if family is Family.IPV4:
        return frame(Kind.UPDATE, bytes(4))
    attribute = attribute_codec.encode_unreach(family, b"")
    return frame(Kind.UPDATE, b"\0\0" + len(attribute).to_bytes(2, "big") + attribute)


def frame(kind: int, body: bytes = b"") -> bytes:
    """A whole message."""
    return MARKER + struct.pack("!HB", HEADER_LENGTH + len(body), kind) + body


def encode(message: Open | Notification | Keepalive | RouteRefresh) -> bytes:
    """A message that is the same in every session; updates: see `Codec`."""
    if isinstance(message, Keepalive):
        return frame(Kind.KEEPALIVE)
    if isinstance(message, Notification):
        return frame(Kind.NOTIFICATION, bytes((message.code, message.subcode)) + message.data)
    if isinstance(message, RouteRefresh):
        return frame(Kind.ROUTE_REFRESH, struct.pack("!HBB", message.family.afi, message.subtype, message.family.safi))
    caps = message.capabilities.encode()
    asn = message.asn if message.asn < 1 << 16 else AS_TRANS
    body = struct.pack("!BHH4s", 4, asn, message.hold_time, message.router_id.packed)
    if not caps:
        return frame(Kind.OPEN, body + b"\0")
    if len(caps) <= 253:
        return frame(Kind.OPEN, body + bytes((len(caps) + 2, capabilities.PARAMETER, len(caps))) + caps)
    parameter = bytes((capabilities.PARAMETER,)) + len(caps).to_bytes(2, "big") + caps
    return frame(Kind.OPEN, body + b"\xff\xff" + len(parameter).to_bytes(2, "big") + parameter)


def decode_open(body: bytes) -> Open:
    """ProtocolError with what RFC 4271 section 6.2 wants told. Whether the AS is the right one, the session knows."""
    version, asn, hold_time, router_id = struct.unpack_from("!BHH4s", body)
    if version != 4:
        raise ProtocolError(Code.OPEN, BAD_VERSION, b"\0\4", why=f"version {version}")
    caps = capabilities.parse(capabilities.parse_parameters(body[9:]))
    if hold_time in (1, 2):
        raise ProtocolError(Code.OPEN, BAD_HOLD_TIME, why=f"{hold_time} s")
    if router_id == bytes(4):
        raise ProtocolError(Code.OPEN, BAD_ID, why="0.0.0.0")
    return Open(asn, hold_time, IPv4Address(router_id), caps)


def _refresh(body: bytes) -> RouteRefresh | Ignored:
    if len(body) != 4:
        # longer ones carry outbound route filters (RFC 5291), which we have not offered
        raise ProtocolError(Code.ROUTE_REFRESH, 1, frame(Kind.ROUTE_REFRESH, body), why=f"{len(body)} octets")
    afi, subtype, safi = struct.unpack("!HBB", body)
    family = FAMILIES.get((afi, safi))
    if family is None or subtype > 2:
        return Ignored(Kind.ROUTE_REFRESH, f"AFI {afi}, SAFI {safi}, subtype {subtype}")
    return RouteRefresh(family, subtype)


def as_json(message: Message) -> dict[str, Any]:
    """A message for people and the event log."""
    if isinstance(message, Open):
        return {
            "message": "OPEN", "as": message.real_asn, "hold_time": message.hold_time,
            "router_id": str(message.router_id), "capabilities": message.capabilities.as_json(),
        }  # fmt: skip
    if isinstance(message, Notification):
        data = {"data": message.data.hex()} if message.data and not message.text else {}
        return {
            "message": "NOTIFICATION", "code": message.code, "subcode": message.subcode, "meaning": str(message), **data
        }  # fmt: skip
    if isinstance(message, RouteRefresh):
        subtype = _REFRESH_NAMES[message.subtype]
        return {"message": "ROUTE-REFRESH", "family": message.family.label, "subtype": subtype}
    if isinstance(message, Keepalive):
        return {"message": "KEEPALIVE"}
    if isinstance(message, Ignored):
        return {"message": Kind(message.kind).name, "ignored": message.why}
    out: dict[str, Any] = {"message": "UPDATE"}
    if message.end_of_rib:
        out["end_of_rib"] = message.end_of_rib.label
    if message.withdrawn:
        out["withdrawn"] = [nlri.text(p, family) for family, prefixes in message.withdrawn for p in prefixes]
    if message.announced:
        out["announced"] = [
            {"attributes": attrs.as_json(), "prefixes": [nlri.text(p, family) for p in prefixes]}
            for family, attrs, prefixes in message.announced
        ]
    if message.faults:
        out["faults"] = [str(fault) for fault in message.faults]
    return out
