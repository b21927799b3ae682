"""That something in a namespace's network has changed: devices, addresses, routes (rtnetlink multicast, rtnetlink(7)).

What has changed is not told: whoever wants to know looks, and makes it as it should be.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from types import TracebackType

from netlab.kernel import netns

#: linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400


class Changes:
    """A descriptor that is readable after a change. Use as a context manager, or close it."""

    def __init__(self, where: str = netns.HERE) -> None:
        with netns.entered(where):
            self._sock = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
            )
        self._sock.bind((0, GROUPS))

    def fileno(self) -> int:
        return self._sock.fileno()

    def drain(self) -> bool:
        """Forget what has been told until now. Whether there was anything."""
        any_ = False
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    self._sock.recv(1 << 16)
                except OSError as e:
                    if e.errno != errno.ENOBUFS:  # more than the buffer holds: that much has changed
                        raise
                any_ = True
        return any_

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
