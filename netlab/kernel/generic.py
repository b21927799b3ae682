"""Generic netlink families of a namespace (IPVS, WireGuard) by pyroute2: sockets closed, errors ours."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns as namespaces


class Family:
    """An open socket that speaks one family, inside `opened`."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def dump(self, message: Any) -> list[Any]:
        """Ask for all, and return the answers. NetlinkError as the kernel says it."""
        return list(self._sock.nlm_request(message, self._sock.prid, NLM_F_REQUEST | NLM_F_DUMP))

    def request(self, message: Any, what: str, *, ignore: tuple[int, ...] = ()) -> None:
        """Have something done. KernelError that begins with `what`, but for the error numbers in `ignore`."""
        try:
            list(self._sock.nlm_request(message, self._sock.prid, NLM_F_REQUEST | NLM_F_ACK))
        except NetlinkError as e:
            if e.code not in ignore:
                raise KernelError(f"{what}: {os.strerror(e.code)}", errno_=e.code, item=what) from e


@contextlib.contextmanager
def opened(netns: str | int, family: str, message_class: type, *, module: str) -> Iterator[Family]:
    """A socket of the namespace, bound to the family. MachineError with `modprobe MODULE` if the kernel lacks it.

    The socket of a namespace is one that was opened in it; pyroute2's own `netns=` would start a process.
    """
    with namespaces.entered(netns):
        sock = GenericNetlinkSocket()
    try:
        sock.asyncore.module_err_level = "debug"  # what is missing is said by the error, not by a log line
        try:
            sock.bind(family, message_class)
        except NetlinkError as e:
            if e.code != errno.ENOENT:
                raise
            raise MachineError(
                f"this kernel has no {family}", hint=f"modprobe {module}, or run it in a VM whose kernel has it"
            ) from e
        yield Family(sock)
    finally:
        sock.close()
