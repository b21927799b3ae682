"""stub"""

from __future__ import annotations

from pathlib import Path

from netlab.lab import schema
from netlab.lab.resolving.desk import Desk


def calico(desk: Desk, spec: schema.Calico, folder: Path) -> None: ...
