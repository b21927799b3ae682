"""The node's WireGuard key pair, kept in a file that only root reads."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from netlab.base.errors import MachineError
from netlab.overlay.backends.wireguard import Keys


def kept(path: Path) -> Keys:
    """The pair in the file; made, if there is no file. MachineError if it cannot be read, written, or is none."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()).decode()
        _store(path, text)
    except OSError as e:
        raise MachineError(f"the WireGuard key {path} cannot be read: {e.strerror}") from e
    try:
        private = X25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except ValueError as e:
        raise MachineError(f"{path} holds no WireGuard key: {e}", hint=f"rm {path}, and a new one is made") from e
    return Keys(private=text, public=base64.b64encode(private.public_key().public_bytes_raw()).decode())


def _store(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode() + b"\n")
        finally:
            os.close(fd)
    except OSError as e:
        raise MachineError(f"the WireGuard key {path} cannot be written: {e.strerror}") from e
