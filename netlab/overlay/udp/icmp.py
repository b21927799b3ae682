"""The ICMP errors that the path sends back into its own TUN (RFC 792, RFC 1122 section 3.2.2, RFC 1191)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from netlab.overlay.udp.packets import ICMP, IPV4, OFFSET, Buffer, Header, checksum, total

UNREACHABLE = 3
NET, TOO_BIG = 0, 4
#: ICMP messages that answer an error: nothing may answer them with one
_ERRORS = frozenset({3, 4, 5, 11, 12})

#: errors per second, as the kernel limits its own by default (net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst)
RATE, BURST = 1000.0, 50.0
_TTL = 64
_HEADER = struct.Struct(">BBHHH")


def error(data: Buffer, at: int, header: Header, *, code: int, source: int, mtu: int = 0) -> bytes | None:
    """The packet "destination unreachable" for the one at `at`, or None where none may be sent.

    None for fragments but the first, for what went to or came from more than one address, for ICMP errors, and with
    the code NET for all of ICMP, as flannel does. source: the address that it comes from; mtu: for the code TOO_BIG.
    It quotes the IPv4 header and 8 bytes, as flannel does.
    """
    size, length, fragment, _, protocol, _, src, dst = header
    if fragment & OFFSET or dst >= 0xE0000000 or src >= 0xE0000000 or src >> 24 in (0, 127):
        return None
    if protocol == ICMP and (code == NET or length == size or data[at + size] in _ERRORS):
        return None
    quoted = bytes(data[at : at + min(size + 8, length)])
    if code == TOO_BIG:
        mtu = min(mtu, 0xFFFF)
    check = checksum((UNREACHABLE << 8) + code + mtu + total(quoted))
    whole = 20 + _HEADER.size + len(quoted)
    outer = bytearray(IPV4.pack(0x45, 0xC0, whole, 0, 0, _TTL, ICMP, 0, source, src))  # TOS: internetwork control
    outer[10:12] = checksum(total(outer)).to_bytes(2, "big")
    return bytes(outer) + _HEADER.pack(UNREACHABLE, code, check, 0, mtu) + quoted


class RateLimit:
    """A bucket of BURST errors that fills at RATE per second. clock: seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens, self._then = BURST, clock()

    def take(self) -> bool:
        """Whether another error may be sent now."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._then) * RATE)
        self._then = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
