"""The official OpenAPI definitions, out of the package `kubernetes-validate`, and which definition a kind has.

Only the package's one file of definitions is read (14 ms); importing the package would bring a whole JSON Schema
validator with it, in whose place `netlab.api.shapes` does what Go's decoder does.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from netlab.api import MAJOR, MINOR, Json
from netlab.base.errors import MachineError

PREFIX = "#/$defs/"


@cache
def definitions() -> dict[str, Json]:
    """Every definition by its name (`io.k8s.api.core.v1.Pod`). MachineError if the package is missing."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise MachineError("the API's schemas are missing", hint="pip install kubernetes-validate")
    where = Path(next(iter(spec.submodule_search_locations)), "kubernetes-json-schema")
    path = where / f"v{MAJOR}.{MINOR}.0-local" / "_definitions.json"
    try:
        found: dict[str, Json] = orjson.loads(path.read_bytes())["$defs"]
    except OSError as e:
        raise MachineError(f"the API's schemas are missing: {e}", hint="pip install kubernetes-validate") from e
    return found


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    found = {}
    for name, schema in definitions().items():
        kinds = schema.get("x-kubernetes-group-version-kind", ())
        if len(kinds) == 1:  # DeleteOptions and the like belong to every group
            gvk = kinds[0]
            found[gvk["group"], gvk["version"], gvk["kind"]] = name
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1."
    found["", "v1", "Status"], found["", "v1", "DeleteOptions"] = meta + "Status", meta + "DeleteOptions"
    return found


def definition_name(group: str, version: str, kind: str) -> str | None:
    """The name of a kind's definition, None if this release has none."""
    return _by_kind().get((group, version, kind))


def reference(schema: Json) -> str | None:
    """The definition that a schema refers to, None if it refers to none."""
    ref: Any = schema.get("$ref")
    return ref[len(PREFIX) :] if isinstance(ref, str) else None


def type_of(schema: Json) -> str:
    """`object`, `array`, `string`, `integer`, `number`, `boolean`, or "" for anything."""
    kind = schema.get("type", "")
    if isinstance(kind, list):  # the package has made all that may be absent nullable
        kind = next((k for k in kind if k != "null"), "")
    return str(kind)
