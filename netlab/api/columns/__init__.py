"""Columns of Tables: which a kind has, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netlab.api import Json
from netlab.api.columns.ages import age

Cells = Callable[[Json, float], list[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    """definitions: TableColumnDefinition dicts; cells: an object's row at a time (seconds since 1970)."""

    definitions: tuple[Json, ...]
    cells: Cells

    def conditions(self, obj: Json) -> list[Json]:
        """TableRow conditions: of pods that are done."""
        if obj.get("kind") == "Pod" and (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            phase = obj["status"]["phase"]
            reason = "Succeeded" if phase == "Succeeded" else "Failed"
            text = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
            return [{"type": "Completed", "status": "True", "reason": reason, "message": text}]
        return []


def definition(text: str) -> Json:
    """`Name`, `Age`, `IP*` (wide), `Ready:integer` as a TableColumnDefinition."""
    wide = text.endswith("*")
    name, _, kind = text.rstrip("*").partition(":")
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind or "string", "format": form, "description": "", "priority": 1 if wide else 0}


def _plain(obj: Json, _now: float) -> list[Any]:
    meta = obj["metadata"]
    return [meta["name"], meta.get("creationTimestamp") or "<unknown>"]


DEFAULT = Columns((definition("Name"), definition("Created At:date")), _plain)


def columns_of(group: str, kind: str) -> Columns:
    """The columns of a built-in kind."""
    from netlab.api.columns.table import TABLE

    return TABLE.get((group, kind), DEFAULT)


__all__ = ["DEFAULT", "Columns", "age", "columns_of", "definition"]
