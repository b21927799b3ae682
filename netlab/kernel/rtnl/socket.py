"""A netlink socket that belongs to one namespace: send requests in batches, gather refusals, dump tables."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType

from netlab.kernel import netns
from netlab.kernel.rtnl import wire
from netlab.kernel.rtnl.encode import Request

SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11  # linux/netlink.h
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17  # linux/netfilter/nfnetlink.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
#: requests per sendmsg; each refused one puts up to 100 bytes into the receive buffer of 208 KiB
BATCH = 128
RECEIVE = 1 << 16


class Refused(Exception):
    """One request was refused: `at` is its position in what was sent, `said` the kernel's own explanation, if any."""

    def __init__(self, at: int, number: int, said: str) -> None:
        super().__init__(f"{os.strerror(number)}{': ' + said if said else ''}")
        self.at, self.errno, self.said = at, number, said


class Netlink:
    """NETLINK_ROUTE, or another protocol of netlink, in a namespace (a name, or an open descriptor).

    Use as a context manager, or close it.
    """

    def __init__(self, where: str | int, protocol: int = 0) -> None:
        with netns.entered(where):
            self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._sock.setsockopt(SOL_NETLINK, option, 1)
        self._seq = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def send(self, requests: Sequence[Request]) -> list[Refused]:
        """Send all, in order. The kernel goes on after a refusal; the refusals come back in order."""
        refused: list[Refused] = []
        for start in range(0, len(requests), BATCH):
            refused += self._batch(requests[start : start + BATCH], start)
        return refused

    def _batch(self, batch: Sequence[Request], start: int) -> list[Refused]:
        first = self._seq + 1
        self._seq += len(batch)
        last = len(batch) - 1
        # only the last is acknowledged: a refusal is answered whether asked for or not
        self._sock.send(
            b"".join(
                wire.message(kind, flags | (wire.NLM_F_ACK if i == last else 0), first + i, body)
                for i, (kind, flags, body) in enumerate(batch)
            )
        )
        refused = []
        done = False
        while not done:
            for kind, flags, seq, body in wire.messages(self._sock.recv(RECEIVE)):
                if kind != wire.NLMSG_ERROR or seq < first:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number:
                    refused.append(Refused(start + seq - first, number, _said(flags, body)))
                done = seq == self._seq
        return refused

    def transact(self, requests: Sequence[Request], *, subsystem: int) -> list[Refused]:
        """Send all as one batch of nfnetlink, which is done as a whole, or not at all: then the refusals, in order."""
        first = self._seq + 1
        self._seq += len(requests) + 2
        ends = struct.pack("!BBH", 0, 0, subsystem)
        last = len(requests) - 1
        data = b"".join(
            [
                wire.message(NFNL_MSG_BATCH_BEGIN, 0, first, ends),
                *(
                    wire.message(kind, flags | (wire.NLM_F_ACK if i == last else 0), first + 1 + i, body)
                    for i, (kind, flags, body) in enumerate(requests)
                ),
                wire.message(NFNL_MSG_BATCH_END, 0, self._seq, ends),
            ]
        )
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            self._sock.setsockopt(socket.SOL_SOCKET, option, max(1 << 20, 2 * len(data)))
        self._sock.send(data)
        refused: list[Refused] = []
        while True:
            for kind, flags, seq, body in wire.messages(self._sock.recv(RECEIVE)):
                if kind != wire.NLMSG_ERROR or seq < first:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number:
                    refused.append(Refused(max(0, seq - first - 1), number, _said(flags, body)))
                if seq in (first, first + 1 + last):  # refused before it was looked at, or at its end
                    return refused

    def netnsid(self, fd: int) -> int | None:
        """What this socket's namespace calls the one behind `fd` (a small number), None if it has no name for it."""
        self._seq += 1
        body = struct.pack("=Bxxx", 0) + wire.u32(3, fd)  # NETNSA_FD
        self._sock.send(wire.message(wire.RTM_GETNSID, 0, self._seq, body))
        while True:
            for kind, _, seq, content in wire.messages(self._sock.recv(RECEIVE)):
                if seq != self._seq:
                    continue
                found = wire.attrs(content, 4) if kind != wire.NLMSG_ERROR else {}
                number = struct.unpack("=i", found[1])[0] if 1 in found else -1  # NETNSA_NSID
                return None if number < 0 else int(number)

    def ask(self, kind: int, body: bytes) -> memoryview | None:
        """The body of the one message that answers a request. None if the kernel has none, with an error number."""
        self._seq += 1
        self._sock.send(wire.message(kind, 0, self._seq, body))
        while True:
            for answer, _, seq, content in wire.messages(self._sock.recv(RECEIVE)):
                if seq == self._seq:
                    return None if answer == wire.NLMSG_ERROR else content

    def dump(
        self, kind: int, body: bytes, *, nothing: Sequence[int] = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT)
    ) -> Iterator[memoryview]:
        """Bodies of all the messages that answer a dump request. OSError, but for the numbers in `nothing`: a family
        that the kernel lacks has none."""
        self._seq += 1
        seq = self._seq
        self._sock.send(wire.message(kind, wire.NLM_F_DUMP, seq, body))
        while True:
            for answer, _, number, content in wire.messages(self._sock.recv(RECEIVE)):
                if number != seq:
                    continue
                if answer == wire.NLMSG_DONE:
                    return
                if answer == wire.NLMSG_ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    if code in nothing:
                        return
                    raise OSError(code, os.strerror(code))
                yield content


def _said(flags: int, body: memoryview) -> str:
    """The text of an extended acknowledgement (NLMSGERR_ATTR_MSG), if the kernel gave one."""
    if not flags & 0x200:  # NLM_F_ACK_TLVS
        return ""
    found = wire.attrs(body, 20)
    return wire.as_text(found[1]) if 1 in found else ""
