"""Packet sockets: taps on devices of many namespaces, read by one thread.

A packet socket belongs to the namespace in which it was born, so the thread enters, opens and leaves, and reads all
of them from home. A tap changes nothing: no promiscuous mode (virtual devices show every frame anyhow), no address.
Facts: packet(7), socket(7), linux/if_packet.h, libpcap's pcap-linux.c.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import re
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netlab.base.errors import InputError, KernelError, MachineError, NetlabError
from netlab.kernel import netns

LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101  # tcpdump.org/linktypes.html
ARPHRD_ETHER, ARPHRD_LOOPBACK, ARPHRD_NONE = 1, 772, 65534  # linux/if_arp.h
_TCPDUMP_NAMES = {LINKTYPE_ETHERNET: "EN10MB", LINKTYPE_RAW: "RAW"}

#: bytes kept of a packet, tcpdump's default: more than any GSO packet of a virtual device
SNAPLEN = 262_144
#: bytes of one tap's socket buffer: a second of some 10,000 packets while the reader is busy elsewhere
RECEIVE_BUFFER = 16 * 1024 * 1024
#: frames read of one tap before the next has its turn
BATCH = 64
#: seconds for tcpdump to compile a filter; host names in it may have to be resolved
COMPILE_TIMEOUT = 10.0
#: seconds for the kernel to begin with time stamps: some 10 milliseconds at most, as it is
STAMPS_TIMEOUT = 2.0

_ETH_P_ALL = 0x0003
_SIOCGIFHWADDR, _SIOCSIFFLAGS, _IFF_UP = 0x8927, 0x8914, 1
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 6, 8, 23
_TP_STATUS_VLAN_VALID, _TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
_ETH_P_8021Q = 0x8100
_TIMESPEC = struct.Struct("@ll")
_AUXDATA = struct.Struct("@IIIHHHH")  # tp_status, tp_len, tp_snaplen, tp_mac, tp_net, tp_vlan_tci, tp_vlan_tpid
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_AUXDATA.size)

#: classic BPF: (code, jump if true, jump if false, k) each, as linux/filter.h has them
Program = tuple[tuple[int, int, int, int], ...]
_RETURN = 0x06  # BPF_RET | BPF_K: keep k bytes of the packet
ACCEPT_ALL: Program = ((_RETURN, 0, 0, SNAPLEN),)
ACCEPT_NONE: Program = ((_RETURN, 0, 0, 0),)


class Frame(NamedTuple):
    """One packet of one tap. tap: the tap's number; time_ns: since 1970; data: as the link type has it."""

    tap: int
    time_ns: int
    outgoing: bool
    data: bytes
    wire_length: int


def linktype_of(arphrd: int) -> int:
    """The pcap link type for a device type of linux/if_arp.h: Ethernet (and loopback), or bare IP for the others."""
    return LINKTYPE_ETHERNET if arphrd in (ARPHRD_ETHER, ARPHRD_LOOPBACK) else LINKTYPE_RAW


def devices(where: str | int) -> list[tuple[str, int, int]]:
    """(name, interface index, ARPHRD type) of every device in the namespace, by index. KernelError if there is none."""
    found: list[tuple[str, int, int]] = []
    with netns.entered(where), socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for index, name in sorted(socket.if_nameindex()):
            arphrd = _hardware_type(sock, name)
            if arphrd is not None:  # None: gone since it was listed
                found.append((name, index, arphrd))
    return found


def _hardware_type(sock: socket.socket, device: str) -> int | None:
    """The device's ARPHRD type in the namespace of `sock`, None if there is no such device."""
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("16s24x", device.encode()))
    except OSError as e:
        if e.errno != errno.ENODEV:
            raise
        return None
    return int.from_bytes(answer[16:18], sys.byteorder)


@functools.lru_cache(maxsize=16)
def compile_filter(expression: str, linktype: int) -> Program:
    """A filter in libpcap's language (pcap-filter(7)) to classic BPF, by tcpdump; the empty one accepts everything.

    A filter that can never match on the link type (`arp` on bare IP) accepts nothing. InputError with libpcap's words
    if the expression is wrong, MachineError without tcpdump. No device is needed, but for `vlan` where the tag
    is in the packet's metadata, not in its bytes: libpcap writes code for both only if it sees Linux, so lo is shown.
    """
    if not expression.strip():
        return ACCEPT_ALL
    shown = ["-y", _TCPDUMP_NAMES[linktype]]
    if linktype == LINKTYPE_ETHERNET and re.search(r"\bvlan\b", expression):
        shown = ["-p", "-i", "lo"]
    # "--": an expression that starts with a dash is an expression, not an option
    command = ["tcpdump", "-ddd", "-s", str(SNAPLEN), *shown, "--", expression]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT, check=False, env=environment
        )
    except FileNotFoundError:
        raise MachineError(
            "capture filters are compiled by tcpdump, which is not installed", hint="apt-get install tcpdump"
        ) from None
    except subprocess.TimeoutExpired:
        message = f"filter {expression!r}: not compiled in {COMPILE_TIMEOUT:g} s (a name that does not resolve?)"
        raise InputError(message) from None
    except ValueError as e:  # an embedded NUL
        raise InputError(f"filter {expression!r}: {e}") from e
    if done.returncode != 0:
        said = done.stderr.strip().removeprefix("tcpdump: ")
        if said.endswith("expression rejects all packets"):
            return ACCEPT_NONE
        raise InputError(f"filter {expression!r}: {said}", hint="the language is described in pcap-filter(7)")
    rows = [[int(word) for word in line.split()] for line in done.stdout.splitlines()[1:]]
    return tuple((code, if_true, if_false, k) for code, if_true, if_false, k in rows)


def await_time_stamps() -> None:
    """Return when the kernel stamps every packet at its arrival, at the latest after STAMPS_TIMEOUT.

    It begins with that a while after the first socket asked for it (net_enable_timestamp() leaves it to a work queue),
    and a packet of the time between is stamped when it is read: too late, and after those that came later. So the
    first socket sends itself packets, in a namespace of its own, until one waits with a stamp from before it was read.
    """

    def watch() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            sock.bind(("127.0.0.1", 0))
            until = time.monotonic() + STAMPS_TIMEOUT
            while time.monotonic() < until:
                sock.sendto(b"", sock.getsockname())
                before = time.time_ns()
                ((_, _, stamp),) = sock.recvmsg(0, _ANCILLARY)[1]
                seconds, nanoseconds = _TIMESPEC.unpack(stamp)
                if seconds * 1_000_000_000 + nanoseconds <= before:
                    return
                time.sleep(0.0005)  # the work queue may want this processor

    netns.aside(watch)


class Tap:
    """A packet socket on one device of one namespace, with a filter in libpcap's language.

    namespace: its name, or an open descriptor; number: what its frames carry as `tap`. InputError for a bad filter,
    KernelError if the namespace or the device does not exist, MachineError without root.
    """

    def __init__(self, namespace: str | int, device: str, expression: str = "", *, number: int = 0) -> None:
        netns.require_root()
        self.namespace, self.device, self.number = namespace, device, number
        self._received = self._dropped = 0
        with netns.entered(namespace):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
                arphrd = _hardware_type(asking, device)
            if arphrd is None:
                raise KernelError(f"namespace {namespace!r} has no device {device!r}", errno_=errno.ENODEV)
            self.linktype = linktype_of(arphrd)
            # cooked (SOCK_DGRAM) cuts whatever header a tunnel has in front of its IP packet
            kind = socket.SOCK_RAW if self.linktype == LINKTYPE_ETHERNET else socket.SOCK_DGRAM
            # protocol 0 receives nothing: the filter is in place before the first packet
            self._socket = socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            self._prepare(compile_filter(expression, self.linktype), loopback=arphrd == ARPHRD_LOOPBACK)
            self._socket.bind((device, _ETH_P_ALL))
        except OSError as e:
            self._socket.close()
            item = f"tap on {device!r} in {namespace!r}"
            raise KernelError(f"{item}: {e.strerror}", errno_=e.errno or 0, item=item) from e
        except NetlabError:
            self._socket.close()
            raise

    def _prepare(self, program: Program, *, loopback: bool) -> None:
        sock = self._socket
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        if loopback:  # every packet passes lo out and in; as libpcap does, show it once
            sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def read(self, buffer: bytearray, limit: int = BATCH) -> Iterator[Frame]:
        """At most `limit` frames that are waiting; never blocks. A device that goes down or away just falls silent."""
        for _ in range(limit):
            try:
                size, ancillary, _, address = self._socket.recvmsg_into([buffer], _ANCILLARY)
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno != errno.ENETDOWN:
                    raise
                continue
            data = bytes(memoryview(buffer)[:size])
            time_ns, wire_length = 0, size
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(value)
                    time_ns = seconds * 1_000_000_000 + nanoseconds
                elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                    status, wire_length, _, _, _, tci, tpid = _AUXDATA.unpack(value)
                    if status & _TP_STATUS_VLAN_VALID and self.linktype == LINKTYPE_ETHERNET:
                        tpid = tpid if status & _TP_STATUS_VLAN_TPID_VALID else _ETH_P_8021Q
                        data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
                        wire_length += 4
            yield Frame(self.number, time_ns, address[2] == socket.PACKET_OUTGOING, data, wire_length)

    def statistics(self) -> tuple[int, int]:
        """(received, dropped) since the tap was opened: what the filter let pass, and what a full buffer lost."""
        received, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._received += received  # the kernel starts again at 0 when it was asked
        self._dropped += dropped
        return self._received, self._dropped

    def close(self) -> None:
        """Stop listening. May be called twice."""
        self._socket.close()


class Taps:
    """Many taps, one selector, one thread. Frames carry the tap's position in `taps`."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self.taps = tuple(taps)
        self._buffer = bytearray(SNAPLEN)
        self._selector = selectors.DefaultSelector()
        for number, tap in enumerate(self.taps):
            tap.number = number
            self._selector.register(tap, selectors.EVENT_READ, tap)

    @classmethod
    def open(cls, wanted: Sequence[tuple[str | int, str]], expression: str = "") -> Taps:
        """Tap (namespace, device) pairs, all with one filter expression; all are opened, or none. Errors: as Tap."""
        opened: list[Tap] = []
        try:
            for where, device in wanted:
                opened.append(Tap(where, device, expression))
            if opened:
                await_time_stamps()
            return cls(opened)
        except BaseException:
            for tap in opened:
                tap.close()
            raise

    def poll(self, timeout: float) -> Iterator[Frame]:
        """Wait at most `timeout` seconds for a packet, then yield at most BATCH frames of each tap that has some."""
        for key, _ in self._selector.select(timeout):
            tap: Tap = key.data
            yield from tap.read(self._buffer)

    def statistics(self) -> list[tuple[int, int]]:
        """(received, dropped) of each tap."""
        return [tap.statistics() for tap in self.taps]

    def close(self) -> None:
        """Close all of them."""
        self._selector.close()
        for tap in self.taps:
            tap.close()

    def __enter__(self) -> Taps:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
