"""Generic netlink families of a namespace (IPVS, WireGuard), over a socket of ours; pyroute2 decodes the answers.

pyroute2's own socket starts an event loop and asks for all that a family is, which takes longer than to change a real
server. Facts: linux/genetlink.h.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from netlab.base.errors import KernelError, MachineError
from netlab.kernel.rtnl import wire
from netlab.kernel.rtnl.socket import Netlink

NETLINK_GENERIC = 16
#: the family of families: its number, the command that asks for one, its attributes
_CONTROL, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 0x10, 3, 1, 2
#: genlmsghdr: command, version
_HEADER = struct.Struct("=BBxx")


class Family:
    """An open socket that speaks one family, inside `opened`."""

    def __init__(self, sock: Netlink, number: int) -> None:
        self._sock, self._number = sock, number

    def dump(self, body: bytes, kind: type) -> list[Any]:
        """Ask for all, and return the answers, as pyroute2 decodes a message of that kind. OSError as the kernel says
        it."""
        answers = []
        for found in self._sock.dump(self._number, body, nothing=()):
            answer = kind(wire.message(self._number, 0, 0, bytes(found)))
            answer.decode()
            answers.append(answer)
        return answers

    def request(self, requests: Sequence[tuple[bytes, Collection[int]]], what: str) -> None:
        """Have things done, in order, each with the error numbers that mean that it is done already. KernelError that
        begins with `what` for any other."""
        for refused in self._sock.send([(self._number, 0, body) for body, _ in requests]):
            if refused.errno not in requests[refused.at][1]:
                said = f": {refused.said}" if refused.said else ""
                raise KernelError(f"{what}: {os.strerror(refused.errno)}{said}", errno_=refused.errno, item=what)


def header(command: int, version: int) -> bytes:
    """What a message of a family begins with, before its attributes."""
    return _HEADER.pack(command, version)


def encoded(message: Any) -> bytes:
    """A message of pyroute2's, without what netlink puts before it."""
    message.encode()
    return bytes(message.data[wire.NLMSG_HEADER.size :])


@contextlib.contextmanager
def opened(netns: str | int, family: str, *, module: str) -> Iterator[Family]:
    """A socket of the namespace that speaks the family. MachineError with `modprobe MODULE` if the kernel lacks it."""
    with Netlink(netns, NETLINK_GENERIC) as sock:
        answer = sock.ask(_CONTROL, header(_GETFAMILY, 1) + wire.text(_FAMILY_NAME, family))
        if answer is None:
            raise MachineError(
                f"this kernel has no {family}", hint=f"modprobe {module}, or run it in a VM whose kernel has it"
            )
        (number,) = struct.unpack("=H", wire.attrs(answer, _HEADER.size)[_FAMILY_ID])
        yield Family(sock, number)
