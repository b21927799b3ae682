"""Numbers of the protocol and their names (IANA's registry "Border Gateway Protocol (BGP) Parameters")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

PORT = 179
#: AS_TRANS: stands for a number of four octets where only two fit (RFC 6793 section 9)
AS_TRANS = 23456
HEADER_LENGTH, MESSAGE_MAX, EXTENDED_MAX = 19, 4096, 65535


class Kind(IntEnum):
    """Message types (RFC 4271 section 4.1, RFC 2918)."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class Code(IntEnum):
    """NOTIFICATION error codes (RFC 4271 section 4.5, RFC 7313 section 5)."""

    HEADER = 1
    OPEN = 2
    UPDATE = 3
    HOLD_TIMER = 4
    FSM = 5
    CEASE = 6
    ROUTE_REFRESH = 7


CODE_NAMES = {
    Code.HEADER: "message header error",
    Code.OPEN: "OPEN message error",
    Code.UPDATE: "UPDATE message error",
    Code.HOLD_TIMER: "hold timer expired",
    Code.FSM: "finite state machine error",
    Code.CEASE: "cease",
    Code.ROUTE_REFRESH: "ROUTE-REFRESH message error",
}

NOT_SYNCHRONIZED, BAD_LENGTH, BAD_TYPE = 1, 2, 3
BAD_VERSION, BAD_PEER_AS, BAD_ID, BAD_PARAMETER, BAD_HOLD_TIME, BAD_CAPABILITY = 1, 2, 3, 4, 6, 7
MALFORMED_LIST, UNKNOWN_WELL_KNOWN, MISSING_WELL_KNOWN, FLAGS_ERROR, LENGTH_ERROR = 1, 2, 3, 4, 5
BAD_ORIGIN, BAD_NEXT_HOP, OPTIONAL_ERROR, BAD_NETWORK, BAD_AS_PATH = 6, 8, 9, 10, 11
MAX_PREFIXES, SHUTDOWN, DECONFIGURED, RESET, REJECTED, CONFIG_CHANGE, COLLISION, RESOURCES = 1, 2, 3, 4, 5, 6, 7, 8

SUBCODE_NAMES: dict[tuple[int, int], str] = {
    (1, 1): "connection not synchronized", (1, 2): "bad message length", (1, 3): "bad message type",
    (2, 1): "unsupported version number", (2, 2): "bad peer AS", (2, 3): "bad BGP identifier",
    (2, 4): "unsupported optional parameter", (2, 6): "unacceptable hold time", (2, 7): "unsupported capability",
    (2, 11): "role mismatch",
    (3, 1): "malformed attribute list", (3, 2): "unrecognized well-known attribute",
    (3, 3): "missing well-known attribute", (3, 4): "attribute flags error", (3, 5): "attribute length error",
    (3, 6): "invalid ORIGIN attribute", (3, 8): "invalid NEXT_HOP attribute", (3, 9): "optional attribute error",
    (3, 10): "invalid network field", (3, 11): "malformed AS_PATH",
    (5, 1): "unexpected message in OpenSent", (5, 2): "unexpected message in OpenConfirm",
    (5, 3): "unexpected message in Established",
    (6, 1): "maximum number of prefixes reached", (6, 2): "administrative shutdown", (6, 3): "peer de-configured",
    (6, 4): "administrative reset", (6, 5): "connection rejected", (6, 6): "other configuration change",
    (6, 7): "connection collision resolution", (6, 8): "out of resources", (6, 9): "hard reset",
    (7, 1): "invalid message length",
}  # fmt: skip


def error_name(code: int, subcode: int) -> str:
    """`cease: administrative shutdown`; numbers where the registry has no name."""
    name = CODE_NAMES.get(code, f"error {code}")  # type: ignore[call-overload]
    detail = SUBCODE_NAMES.get((code, subcode), f"subcode {subcode}" if subcode else "")
    return f"{name}: {detail}" if detail else str(name)


class Attribute(IntEnum):
    """Path attribute type codes."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MED = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITIES = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    MP_REACH = 14
    MP_UNREACH = 15
    EXTENDED_COMMUNITIES = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    LARGE_COMMUNITIES = 32


#: attribute flags (RFC 4271 section 4.3)
OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED = 0x80, 0x40, 0x20, 0x10

ORIGINS = ("igp", "egp", "incomplete")
AS_SET, AS_SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4

#: RFC 1997, RFC 7999, RFC 8326
WELL_KNOWN_COMMUNITIES = {
    0xFFFF0000: "graceful-shutdown", 0xFFFF029A: "blackhole", 0xFFFFFF01: "no-export",
    0xFFFFFF02: "no-advertise", 0xFFFFFF03: "no-export-subconfed", 0xFFFFFF04: "no-peer",
}  # fmt: skip
NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED = 0xFFFFFF01, 0xFFFFFF02, 0xFFFFFF03


@dataclass(frozen=True, slots=True)
class Notification:
    """An error as told to or by the peer (RFC 4271 section 4.5): also the body of a NOTIFICATION message."""

    code: int
    subcode: int = 0
    data: bytes = b""

    @property
    def text(self) -> str:
        """The words of a shutdown or reset (RFC 9003), or nothing."""
        if self.code != Code.CEASE or self.subcode not in (SHUTDOWN, RESET) or not self.data:
            return ""
        return self.data[1 : 1 + self.data[0]].decode("utf-8", errors="replace")

    @classmethod
    def ceasing(cls, subcode: int, text: str = "") -> Notification:
        """A cease; with a text, cut at a character so that it fits in 255 octets."""
        raw = text.encode()[:255].decode(errors="ignore").encode()
        return cls(Code.CEASE, subcode, bytes((len(raw),)) + raw if raw else b"")

    def __str__(self) -> str:
        name = error_name(self.code, self.subcode)
        return f"{name} ({self.text})" if self.text else name


class ProtocolError(Exception):
    """What the peer sent cannot be: the session ends with this NOTIFICATION. The only exception of the codec."""

    def __init__(self, code: int, subcode: int, data: bytes = b"", *, why: str = "") -> None:
        self.notification = Notification(code, subcode, data)
        self.why = why
        super().__init__(f"{self.notification}{': ' + why if why else ''}")
