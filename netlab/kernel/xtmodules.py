"""Matches and targets of iptables, spelt as x_tables keeps them: a head with name, revision and size, and what follows.

`NotUnderstoodError` says that one is iptables-restore's. Facts: linux/netfilter/x*.h, and what iptables 1.8.9 makes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

#: xt_entry_match and xt_entry_target: size, name, revision
MODULE = struct.Struct("=H29sB")
VERDICT = struct.Struct("=i")
#: a verdict is -1 less than the hook's answer; RETURN is one of its own (XT_RETURN)
VERDICTS = {"DROP": -1, "ACCEPT": -2, "RETURN": -5}
_STATES = {"INVALID": 1, "ESTABLISHED": 2, "RELATED": 4, "NEW": 8, "SNAT": 64, "DNAT": 128, "UNTRACKED": 256}


class NotUnderstoodError(Exception):
    """A rule that is the tool's, or a table."""


def packed_name(text: str, most: int) -> bytes:
    """A name as the kernel keeps it, of `most` bytes at most and without the zero at its end. NotUnderstoodError."""
    try:
        raw = text.encode()
    except UnicodeEncodeError as e:
        raise NotUnderstoodError(repr(text)) from e
    if len(raw) > most or b"\0" in raw:
        raise NotUnderstoodError(text)
    return raw


def decimal(text: str) -> int:
    """A port. NotUnderstoodError."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 0xFFFF:
        raise NotUnderstoodError(text)
    return int(text)


def number_of(names: dict[str, int], text: str) -> int:
    """What the name stands for. NotUnderstoodError for any other."""
    number = names.get(text)
    if number is None:
        raise NotUnderstoodError(text)
    return number


def device(name: str) -> tuple[bytes, bytes]:
    """A device's name and the mask of it, 16 bytes each; `eth+` is any that begins so. NotUnderstoodError."""
    raw = packed_name(name, 15)
    compared = 0 if not raw else len(raw) - 1 if raw.endswith(b"+") else len(raw) + 1
    return raw.ljust(16, b"\0"), (b"\xff" * compared).ljust(16, b"\0")


def module(name: str, revision: int, data: bytes) -> bytes:
    """A match or a target: its head, and data up to a multiple of eight bytes."""
    room = -len(data) % 8
    return MODULE.pack(MODULE.size + len(data) + room, name.encode(), revision) + data + bytes(room)


def standard(verdict: int) -> bytes:
    """The target of a verdict: below 0 one of VERDICTS, else the byte of the table at which it goes on."""
    return module("", 0, VERDICT.pack(verdict))


#: a verdict that is left open
JUMP = standard(0)
DNAT_TO = " -j DNAT --to-destination "
#: bytes of it, and before its first address
DNAT_SIZE, DNAT_FIRST = 80, 36
DNAT = MODULE.pack(DNAT_SIZE, b"DNAT", 2)
COMMENT_SIZE = 32 + 256
_COMMENT = MODULE.pack(COMMENT_SIZE, b"comment", 0)
NOTED = "-m comment --comment "
QUOTED = NOTED + '"'
#: bytes of a jump from its verdict on
OPEN = 8


def commented(text: str) -> bytes:
    """A comment, given without quotes. NotUnderstoodError for one that has to be escaped."""
    raw = packed_name(text, 255)
    if b"\\" in raw:
        raise NotUnderstoodError(text)
    return _COMMENT + raw.ljust(256, b"\0")


def _word(_family: int, options: str) -> bytes:
    """A comment without quotes."""
    option, _, text = options.partition(" ")
    if option != "--comment" or not text or set(text) & set(" '\\"):
        raise NotUnderstoodError(options)
    return commented(text)


def _ports(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    return decimal(first), decimal(last if colon else first)


def next_option(words: Iterator[str], options: str) -> tuple[bool, str]:
    """Whether the next is negated, and its name; `` at the end."""
    word = next(words, "")
    negated = word == "!"
    word = next(words, "") if negated else word
    if negated and not word:
        raise NotUnderstoodError(options)
    return negated, word


def _port_match(name: str, source: int, dest: int) -> Callable[[int, str], bytes]:
    def made(_family: int, options: str) -> bytes:
        sport, dport, inverted = (0, 0xFFFF), (0, 0xFFFF), 0
        words = iter(options.split())
        while (found := next_option(words, options))[1]:
            negated, option = found
            if option == "--sport":
                sport, inverted = _ports(next(words, "")), inverted | negated * source
            elif option == "--dport":
                dport, inverted = _ports(next(words, "")), inverted | negated * dest
            else:
                raise NotUnderstoodError(options)
        more = (0, 0, 0, inverted) if name == "tcp" else (inverted, 0, 0, 0)
        return module(name, 0, struct.pack("=4H4B", *sport, *dport, *more))

    return made


def _sctp(_family: int, options: str) -> bytes:
    option, _, text = options.partition(" ")
    if option not in ("", "--dport"):
        raise NotUnderstoodError(options)
    # no chunks are asked for: chunkmap and match type, four flags that mean nothing, their number; XT_SCTP_DEST_PORTS
    asked = bytes(256 + 4) + b"\xff\0\0" * 4 + bytes(4) + struct.pack("=II", 2 if option else 0, 0)
    return module("sctp", 0, struct.pack("=4H", *(_ports(text) if option else (0, 0)), 0, 0) + asked)


def _statistic(_family: int, options: str) -> bytes:
    found = re.fullmatch(r"--mode random --probability ([01]\.[0-9]+)", options)
    if not found or float(found[1]) > 1:
        raise NotUnderstoodError(options)
    share = round(float(found[1]) * (1 << 31))
    # the tool works out the counter of `nth` here, too, from the same bytes
    return module("statistic", 0, struct.pack("=HHIII8x", 0, 0, share, 0, share))


def _mark(_family: int, options: str) -> bytes:
    found = re.fullmatch(r"(! )?--mark 0x([0-9a-f]{1,8})(?:/0x([0-9a-f]{1,8}))?", options)
    if not found:
        raise NotUnderstoodError(options)
    mask = int(found[3], 16) if found[3] else 0xFFFFFFFF
    return module("mark", 1, struct.pack("=IIB3x", int(found[2], 16), mask, bool(found[1])))


def _conntrack(_family: int, options: str) -> bytes:
    found = re.fullmatch(r"(! )?--ctstate ([A-Z,]+)", options)
    if not found:
        raise NotUnderstoodError(options)
    states = 0
    for name in found[2].split(","):
        states |= number_of(_STATES, name)
    # what is asked for (XT_CONNTRACK_STATE), what of it is negated, the states; before them addresses and ports
    return module("conntrack", 3, bytes(146) + struct.pack("=HHH16x", 1, bool(found[1]), states))


def _addrtype(_family: int, options: str) -> bytes:
    kinds, flags = {"--src-type": 0, "--dst-type": 0}, 0
    words = iter(options.split())
    while (found := next_option(words, options))[1]:
        negated, option = found
        if option not in kinds or next(words, "") != "LOCAL":
            raise NotUnderstoodError(options)
        kinds[option] = 1 << 2  # RTN_LOCAL
        flags |= negated * (1 if option == "--src-type" else 2)
    return module("addrtype", 1, struct.pack("=HHI", *kinds.values(), flags))


def _recent(family: int, options: str) -> bytes:
    mask = "255.255.255.255" if family == 4 else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    found = re.fullmatch(
        rf"(?:(--set)|--rcheck --seconds ([0-9]{{1,9}}) --reap) --name (\S{{1,199}}) --mask {mask} --rsource", options
    )
    if not found or set(found[3]) & set("\"'\\"):
        raise NotUnderstoodError(options)
    check = 0x02 if found[1] else 0x01 | 0x20
    whole = (b"\xff" * (4 if family == 4 else 16)).ljust(16, b"\0")
    head = struct.pack("=IIBB200sBx", int(found[2] or 0), 0, check, 0, packed_name(found[3], 199), 0)
    return module("recent", 1, head + whole)


MATCHES: dict[str, Callable[[int, str], bytes]] = {
    "tcp": _port_match("tcp", 1, 2), "udp": _port_match("udp", 1, 2), "sctp": _sctp, "statistic": _statistic,
    "mark": _mark, "comment": _word, "conntrack": _conntrack, "addrtype": _addrtype, "recent": _recent,
}  # fmt: skip
