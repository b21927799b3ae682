"""sd_notify(3): tell whoever started us that we are ready. systemd understands it, and a lab's supervisor does."""

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
