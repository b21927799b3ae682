"""Tables and PartialObjectMetadata: the forms in which clients ask for objects when they do not want the whole."""

from __future__ import annotations

from typing import Any

from netlab.api import Json, columns, status
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import Form

OFFERS = ("Table", "PartialObjectMetadata")
LIST_OFFERS = ("Table", "PartialObjectMetadataList")


def partial(obj: Json, version: str = "v1") -> Json:
    """An object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj.get("metadata") or {},
    }  # fmt: skip


def table(
    kind: Kind, objs: list[Json], metadata: Json, form: Form, include: str, now: float, *, head: bool = True
) -> Json:
    """Objects (as stored) as a Table. include: None, Metadata or Object; head: with column definitions."""
    made = kind.table() if hasattr(kind, "table") else columns.columns_of(kind.resource.storage[0], kind.resource.kind)
    rows = []
    for obj in objs:
        row: Json = {"cells": made.cells(obj, now)}
        conditions = made.conditions(obj)
        if conditions:
            row["conditions"] = conditions
        if include == "Object":
            row["object"] = kind.show(obj)
        elif include != "None":
            row["object"] = partial(obj, form.version)
        rows.append(row)
    definitions: list[Any] = list(made.definitions) if head else []
    return {
        "kind": "Table", "apiVersion": f"meta.k8s.io/{form.version}", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    }  # fmt: skip


def include_of(query: Any) -> str:
    """The query parameter includeObject. ApiError 400."""
    value = str(query.get("includeObject", "Metadata") or "Metadata")
    if value not in ("None", "Metadata", "Object"):
        raise status.bad_request(f"unrecognized includeObject value: {value!r}")
    return value
