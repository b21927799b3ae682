"""Which clients are installed here."""

from __future__ import annotations

import shutil
from pathlib import Path


def kubectls() -> list[Path]:
    """Every kubectl: the one on the PATH, and those of other versions beside it (`kubectl.1.30`)."""
    first = shutil.which("kubectl")
    if first is None:
        return []
    others = Path(first).resolve().parent.glob("kubectl.1.*")
    return [Path(first), *sorted(others)]
