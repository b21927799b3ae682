"""Capabilities of an OPEN (RFC 5492): what both sides announce is what a session may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from netlab.bgp.codes import BAD_PARAMETER, Code, ProtocolError
from netlab.bgp.nlri import FAMILIES, Family

MULTIPROTOCOL, ROUTE_REFRESH, EXTENDED_MESSAGE, GRACEFUL_RESTART, AS4, ENHANCED_REFRESH = 1, 2, 6, 64, 65, 70
_NAMES = {
    1: "multiprotocol", 2: "route-refresh", 5: "extended-next-hop", 6: "extended-message", 9: "role",
    64: "graceful-restart", 65: "four-byte-as", 69: "add-path", 70: "enhanced-route-refresh",
    71: "long-lived-graceful-restart", 73: "fqdn", 128: "route-refresh-cisco",
}  # fmt: skip
#: the optional parameter that holds capabilities, and the one that says that lengths have two octets (RFC 9072)
PARAMETER, EXTENDED_PARAMETERS = 2, 255
RESTART_TIME_MAX = 4095


@dataclass(frozen=True, slots=True)
class Restart:
    """Graceful restart (RFC 4724). time: seconds until the sender will be back; families: True if it kept forwarding.

    restarting: the sender has just restarted (the R bit); notification: it also applies after a NOTIFICATION (the N
    bit, RFC 8538), which we neither do nor announce.
    """

    time: int
    families: tuple[tuple[Family, bool], ...] = ()
    restarting: bool = False
    notification: bool = False

    def covers(self, family: Family) -> bool:
        """Whether the sender can restart gracefully for the family."""
        return any(f is family for f, _ in self.families)

    def forwarding(self, family: Family) -> bool:
        """Whether the sender says that it kept on forwarding while it restarted."""
        return any(f is family and kept for f, kept in self.families)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """families: None without any multiprotocol capability, which means IPv4; others: unknown ones as (code, value)."""

    families: tuple[Family, ...] | None = None
    as4: int | None = None
    route_refresh: bool = False
    enhanced_refresh: bool = False
    extended_message: bool = False
    restart: Restart | None = None
    others: tuple[tuple[int, bytes], ...] = field(default=())

    def encode(self) -> bytes:
        """As one optional parameter each would be wasteful: all capabilities in a row, as values of one parameter."""
        parts = [
            _tlv(MULTIPROTOCOL, family.afi.to_bytes(2, "big") + bytes((0, family.safi)))
            for family in self.families or ()
        ]
        if self.route_refresh:
            parts.append(_tlv(ROUTE_REFRESH, b""))
        if self.extended_message:
            parts.append(_tlv(EXTENDED_MESSAGE, b""))
        if self.restart:
            parts.append(_tlv(GRACEFUL_RESTART, _encode_restart(self.restart)))
        if self.as4 is not None:
            parts.append(_tlv(AS4, self.as4.to_bytes(4, "big")))
        if self.enhanced_refresh:
            parts.append(_tlv(ENHANCED_REFRESH, b""))
        parts += [_tlv(code, value) for code, value in self.others]
        return b"".join(parts)

    def as_json(self) -> dict[str, Any]:
        """For people and the event log."""
        out: dict[str, Any] = {"families": [f.label for f in self.families or (Family.IPV4,)]}
        out["four_byte_as"] = self.as4
        out |= {"route_refresh": self.route_refresh, "enhanced_route_refresh": self.enhanced_refresh}
        out["extended_message"] = self.extended_message
        r = self.restart
        if r:
            out["graceful_restart"] = {
                "time": r.time,
                "restarting": r.restarting,
                "families": {f.label: {"forwarding": kept} for f, kept in r.families},
            }
        if self.others:
            out["others"] = [{"code": c, "name": _NAMES.get(c, "unknown"), "value": v.hex()} for c, v in self.others]
        return out


def _tlv(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def _encode_restart(r: Restart) -> bytes:
    flags = (0x8 if r.restarting else 0) | (0x4 if r.notification else 0)
    head = (flags << 12 | min(r.time, RESTART_TIME_MAX)).to_bytes(2, "big")
    return head + b"".join(
        f.afi.to_bytes(2, "big") + bytes((f.safi, 0x80 if forwarding else 0)) for f, forwarding in r.families
    )


def parse(value: bytes) -> Capabilities:
    """The values of all capability parameters, in a row. ProtocolError if they are cut short.

    A capability whose value has an impossible length is left out: the peer has not announced it in any way that we
    could use (RFC 5492 section 5 leaves it to us).
    """
    families: list[Family] = []
    any_family = False
    found: dict[str, Any] = {}
    others: list[tuple[int, bytes]] = []
    at = 0
    while at < len(value):
        if at + 2 > len(value) or at + 2 + value[at + 1] > len(value):
            raise ProtocolError(Code.OPEN, 0, why="a capability is cut short")
        code, content = value[at], value[at + 2 : at + 2 + value[at + 1]]
        at += 2 + value[at + 1]
        if code == MULTIPROTOCOL and len(content) == 4:
            any_family = True
            family = FAMILIES.get((int.from_bytes(content[:2], "big"), content[3]))
            if family and family not in families:
                families.append(family)
        elif code == ROUTE_REFRESH and not content:
            found["route_refresh"] = True
        elif code == EXTENDED_MESSAGE and not content:
            found["extended_message"] = True
        elif code == ENHANCED_REFRESH and not content:
            found["enhanced_refresh"] = True
        elif code == AS4 and len(content) == 4:
            found["as4"] = int.from_bytes(content, "big")
        elif code == GRACEFUL_RESTART and len(content) >= 2 and len(content) % 4 == 2:
            found["restart"] = _parse_restart(content)
        elif (code, content) not in others:
            others.append((code, content))
    return Capabilities(families=tuple(families) if any_family else None, others=tuple(others), **found)


def _parse_restart(content: bytes) -> Restart:
    head = int.from_bytes(content[:2], "big")
    families: dict[Family, bool] = {}
    for at in range(2, len(content), 4):
        family = FAMILIES.get((int.from_bytes(content[at : at + 2], "big"), content[at + 2]))
        if family:
            families[family] = bool(content[at + 3] & 0x80)
    return Restart(head & 0xFFF, tuple(families.items()), bool(head & 0x8000), bool(head & 0x4000))


def parse_parameters(data: bytes) -> bytes:
    """The optional parameters of an OPEN to the values of its capabilities. ProtocolError for any other parameter."""
    wide = 2 if len(data) >= 4 and data[0] == EXTENDED_PARAMETERS and data[1] == EXTENDED_PARAMETERS else 1
    values = []
    at = 4 if wide == 2 else 2
    if wide == 2:
        if int.from_bytes(data[2:4], "big") != len(data) - 4:
            raise ProtocolError(Code.OPEN, 0, why="optional parameters do not fill their length")
    elif not data or data[0] != len(data) - 1:
        raise ProtocolError(Code.OPEN, 0, why="optional parameters do not fill their length")
    else:
        at = 1
    while at < len(data):
        start = at + 1 + wide
        length = int.from_bytes(data[at + 1 : start], "big")
        if start > len(data) or start + length > len(data):
            raise ProtocolError(Code.OPEN, 0, why="an optional parameter is cut short")
        if data[at] != PARAMETER:
            raise ProtocolError(Code.OPEN, BAD_PARAMETER, why=f"optional parameter {data[at]}")
        values.append(data[start : start + length])
        at = start + length
    return b"".join(values)
