"""Files that several processes share: put in place whole, read under a lock. What a crash leaves is never half."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
from collections.abc import Iterator
from pathlib import Path


def put(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """The file as a whole: who reads it sees the old one or the new one. mode: of who may, as it is made. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if mode is not None:
            new.touch(mode=mode)
        new.write_bytes(content)
        new.replace(path)
    except OSError as e:
        if e.filename is None:  # a disk that is full does not say of what
            e.filename = str(path)
        raise
    finally:
        new.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """The file, and what one that was killed while it wrote it has left; there may be neither. Nobody writes it now."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else has the lock while the body runs; it goes with the process, however that ends (flock(2)).

    path: a file, made if there is none, or a directory, which leaves no file behind.
    """
    if path.is_dir():
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
