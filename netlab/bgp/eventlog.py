"""Everything that peers say to each other, as JSON lines: what exercises look at, and what a person greps.

    {"time": "2026-01-31T12:00:00.123456+00:00", "peer": "tor1", "direction": "in", "message": "KEEPALIVE"}

direction: in, out, or none for what happens here (up, down, a state, a refused connection).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from netlab.base.errors import MachineError


class EventLog:
    """Appends to a file, or does nothing without one. now: the time of day."""

    def __init__(self, path: Path | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file: BinaryIO | None = None
        self._now = now
        if path is not None:
            try:
                self._file = path.open("ab", buffering=0)
            except OSError as e:
                raise MachineError(f"{path} cannot be written: {e.strerror}") from e

    @property
    def on(self) -> bool:
        """Whether anybody reads it: describing a message costs more than handling it."""
        return self._file is not None

    def write(self, peer: str, what: dict[str, Any], direction: str | None = None) -> None:
        """One line. A full disk ends the log, not the speaker."""
        if self._file is None:
            return
        line = {"time": self._now().isoformat(), "peer": peer, "direction": direction, **what}
        try:
            self._file.write(orjson.dumps(line) + b"\n")
        except OSError:
            self.close()

    def close(self) -> None:
        """End it."""
        if self._file is not None:
            self._file.close()
            self._file = None
