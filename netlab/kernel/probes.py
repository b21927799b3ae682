"""Test packets from inside a namespace: sockets are born there, so no process has to run there.

Every probe is a coroutine; a lab's checks send all of theirs at once. Answers are plain tuples in the words of
`netlab.lab.machine.Answer`: (outcome, detail, seconds, body, headers).
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import struct
import time
from typing import NamedTuple

from netlab.base.addresses import Address
from netlab.kernel import netns

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_NO_HOST = os.strerror(errno.EHOSTUNREACH)
_HTTP_MAX = 1 << 20
_sequence = itertools.count(1)


class Answer(NamedTuple):
    """See `netlab.lab.machine.Answer`."""

    outcome: str
    detail: str = ""
    seconds: float = 0.0
    body: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to


def _socket(where: str, version: int, kind: int, protocol: int = 0) -> socket.socket:
    """A non-blocking socket that belongs to the namespace."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(where):
        return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)


def _failure(e: OSError, started: float) -> Answer:
    seconds = time.monotonic() - started
    if isinstance(e, ConnectionRefusedError):
        return Answer("refused", "connection refused", seconds)
    if e.errno in _UNREACHABLE:
        return Answer("unreachable", os.strerror(e.errno or 0), seconds)
    return Answer("failed", e.strerror or str(e), seconds)


class NamespaceProbes:
    """Probes of this machine's namespaces. Needs root."""

    async def icmp(
        self, netns: str, to: Address, *, timeout: float, size: int = 56, whole: bool = False
    ) -> Answer:  # fmt: skip
        """One echo request of `size` octets; the kernel's own errors (unreachable) are told apart from silence.

        whole: it is not to be cut anywhere; one that is longer than the way there takes fails.
        """
        answer = await self._echo(netns, to, timeout, size, whole)
        if answer.detail == _NO_HOST and answer.seconds < timeout:
            # somebody else may have begun to look for the neighbour, in vain, before a cable was mended: who asks in
            # that moment is told that there is none. Asked anew, the kernel looks anew
            answer = await self._echo(netns, to, timeout, size, whole)
        return answer

    async def _echo(self, netns: str, to: Address, timeout: float, size: int, whole: bool) -> Answer:
        started = time.monotonic()
        v4 = to.version == 4
        protocol = socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6
        try:
            sock = _socket(netns, to.version, socket.SOCK_RAW, protocol)
        except OSError as e:
            return _failure(e, started)
        with sock:
            number = next(_sequence)
            # an id of its own: connection tracking takes two requests of one id for one flow, with one verdict
            ident, seq = (os.getpid() * 61 + number) & 0xFFFF, 1
            if v4:
                # errors (destination unreachable) are queued and raised by the next call
                sock.setsockopt(socket.SOL_IP, 11, 1)  # IP_RECVERR
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR
            if whole:
                # IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: IP_PMTUDISC_DO
                sock.setsockopt(*((socket.SOL_IP, 10, 2) if v4 else (socket.IPPROTO_IPV6, 23, 2)))
            payload = bytes(i & 0xFF for i in range(size))
            packet = struct.pack(">BBHHH", 8 if v4 else 128, 0, 0, ident, seq) + payload
            if v4:
                packet = packet[:2] + struct.pack(">H", _checksum(packet)) + packet[4:]
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(timeout):
                    sock.connect((str(to), 0))  # a raw socket connects at once; asyncio would look its port 0 up
                    await loop.sock_sendall(sock, packet)
                    while True:
                        data = await loop.sock_recv(sock, 65535)
                        ttl = data[8] if v4 else 0
                        answer = data[(data[0] & 15) * 4 :] if v4 else data
                        if answer[0] == (0 if v4 else 129) and struct.unpack_from(">HH", answer, 4) == (ident, seq):
                            return Answer("answered", f"ttl {ttl}" if v4 else "", time.monotonic() - started)
            except TimeoutError:
                return Answer("silent", f"no answer within {timeout:g} s", timeout)
            except OSError as e:
                return _failure(e, started)

    async def tcp(self, netns: str, to: Address, port: int, *, timeout: float) -> Answer:
        """One connection, opened and closed."""
        started = time.monotonic()
        try:
            with _socket(netns, to.version, socket.SOCK_STREAM) as sock:
                async with asyncio.timeout(timeout):
                    await asyncio.get_running_loop().sock_connect(sock, (str(to), port))
                return Answer("answered", "connected", time.monotonic() - started)
        except TimeoutError:
            return Answer("silent", f"no answer within {timeout:g} s", timeout)
        except OSError as e:
            return _failure(e, started)

    async def udp(self, netns: str, to: Address, port: int, *, timeout: float) -> Answer:
        """One datagram; only an answer counts as one, as silence is what a dropped packet sounds like."""
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            with _socket(netns, to.version, socket.SOCK_DGRAM) as sock:
                async with asyncio.timeout(timeout):
                    await loop.sock_connect(sock, (str(to), port))
                    await loop.sock_sendall(sock, b"netlab probe")
                    data = await loop.sock_recv(sock, 65535)
                return Answer("answered", "answered", time.monotonic() - started, data.decode(errors="replace"))
        except TimeoutError:
            return Answer("silent", f"no answer within {timeout:g} s", timeout)
        except OSError as e:
            return _failure(e, started)

    async def exchange(self, netns: str, to: Address, port: int, data: bytes, *, timeout: float) -> bytes | None:
        """One datagram, and what came back; None if nothing did."""
        loop = asyncio.get_running_loop()
        try:
            with _socket(netns, to.version, socket.SOCK_DGRAM) as sock:
                async with asyncio.timeout(timeout):
                    await loop.sock_connect(sock, (str(to), port))
                    await loop.sock_sendall(sock, data)
                    return await loop.sock_recv(sock, 65535)
        except OSError:  # a TimeoutError is one
            return None

    async def http(self, netns: str, to: Address, port: int, *, path: str, timeout: float) -> Answer:
        """One GET; detail is the status, body at most 1 MiB of what came back."""
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        host = f"[{to}]" if to.version == 6 else str(to)
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
        data, missing = bytearray(), "connection"
        try:
            with _socket(netns, to.version, socket.SOCK_STREAM) as sock:
                async with asyncio.timeout(timeout):
                    await loop.sock_connect(sock, (str(to), port))
                    missing = "answer"
                    await loop.sock_sendall(sock, request)
                    while len(data) < _HTTP_MAX:
                        part = await loop.sock_recv(sock, 65536)
                        if not part:
                            break
                        data += part
        except TimeoutError:
            return Answer("silent", f"no {missing} within {timeout:g} s", timeout)
        except OSError as e:
            return _failure(e, started)
        return _parsed(bytes(data), time.monotonic() - started)


def _parsed(data: bytes, seconds: float) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return Answer("failed", f"not an HTTP answer: {lines[0][:80]!r}", seconds)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer("answered", words[1], seconds, body.decode(errors="replace"), headers)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data of even or odd length."""
    padded: bytes = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
