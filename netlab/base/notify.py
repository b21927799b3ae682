"""sd_notify(3) and sd_listen_fds(3): tell whoever started us that we are ready, and get the sockets that it has opened.
systemd understands both, and a lab's supervisor does."""

from __future__ import annotations

import contextlib
import os


def notify(state: str = "READY=1") -> bool:
    """Send `state` to $NOTIFY_SOCKET. False if nobody asked, or nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    import socket

    # a leading @ stands for the NUL of an abstract address
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send(state.encode())
        return True
    return False


def listening() -> list[int]:
    """The listening sockets that we were given, once: those that we start shall not believe that they are theirs."""
    meant, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    if meant != str(os.getpid()) or not count.isdecimal():
        return []
    found = list(range(3, 3 + int(count)))
    for fd in found:
        os.set_inheritable(fd, False)
    return found
