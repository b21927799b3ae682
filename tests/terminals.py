"""A command at a terminal of its own, as a person sits at one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

from patience import patience


class Terminal:
    """said: what is not looked at yet; whole: all of it. Use as a context manager."""

    def __init__(
        self, argv: list[str | Path], environment: dict[str, str], *, rows: int, columns: int, cwd: Path | None = None
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(rows, columns)
        self._process = subprocess.Popen(
            argv, env={**environment, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True, cwd=cwd, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        self.said = self.whole = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, pattern: bytes) -> bytes:
        """Wait until it has been said."""
        deadline = time.monotonic() + patience(60)
        while (found := re.search(pattern, self.said)) is None:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._ours], [], [], left)[0], self.said
            try:
                self._read()
            except OSError:  # nobody has it open any more
                assert re.search(pattern, self.said), self.said
        self.said = self.said[found.end() :]
        return found[0]

    def wait(self) -> int:
        """Read what is still said; the exit status."""
        with contextlib.suppress(OSError):
            while select.select([self._ours], [], [], patience(60))[0] and self._read():
                pass
        return self._process.wait(patience(60))

    def _read(self) -> bytes:
        more = os.read(self._ours, 65536)
        self.said, self.whole = self.said + more, self.whole + more
        return more
