"""Paths in messages."""

from __future__ import annotations

from pathlib import Path


def shown(path: Path) -> str:
    """A path as a person would type it: relative to here if that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
