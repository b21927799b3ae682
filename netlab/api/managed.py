"""managedFields: who owns which field, and server-side apply.

A set of fields is a frozenset of paths; a path is a tuple of FieldsV1 keys (`f:spec`, `k:{"name":"x"}`, `v:"x"`). The
rules are those of structured-merge-diff: a write owns what it changed or added, an apply owns what it says; atomic
values are owned whole. Which lists are maps or sets is in the schema (x-kubernetes-list-type, -list-map-keys).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import orjson

from netlab.api import Json
from netlab.api.schemas import definition_name, definitions, reference, type_of

FieldPath = tuple[str, ...]
Fields = frozenset[FieldPath]

#: managers of updates in one object; the oldest beyond become ANCIENT
UPDATE_MANAGERS_MAX = 10
ANCIENT = "ancient-changes"
BEFORE_FIRST = "before-first-apply"

_STRIPPED = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
            "resourceVersion",
        )
    ]
)  # fmt: skip


@dataclass(slots=True)
class Type:
    """How a value merges. kind: map, list, leaf; atomic: as a whole; keys: of a list that is a map; is_set."""

    kind: str = "leaf"
    atomic: bool = False
    keys: tuple[str, ...] = ()
    is_set: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Type] = field(default_factory=dict)
    item: Type | None = None
    ref: str | None = None
    schema: Json | None = None

    def child(self, name: str) -> Type:
        """The type of a field, or of a map's value."""
        found = self.fields.get(name)
        if found is None:
            return self.item if self.item is not None else DEDUCED
        if found.ref is not None:
            found = self.fields[name] = found.resolved()  # from now on without asking
        return found

    def resolved(self) -> Type:
        """The type itself, where this only refers to it (schemas are recursive)."""
        if self.ref is None:
            return self
        target = _definition(self.ref)
        return Type("map", True, fields=target.fields) if self.atomic and not target.atomic else target


#: where there is no schema: objects merge, lists are atomic
DEDUCED = Type("deduced")
_LEAF = Type()
_ATOMIC_MAP = Type("map", atomic=True)

_SCALARS = ("io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString")


@cache
def _definition(name: str) -> Type:
    schema = definitions().get(name)
    if schema is None or name in _SCALARS:
        return _LEAF
    return of_schema(schema)


def of_schema(schema: Json) -> Type:
    """The type of a schema, whether of a built-in kind or of a custom resource."""
    ref = reference(schema)
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    if ref is not None:
        return Type(ref=ref, atomic=atomic)
    if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" not in schema and "items" not in schema:
        return DEDUCED
    match type_of(schema):
        case "object":
            if "properties" in schema:
                fields = {k: of_schema(v) for k, v in schema["properties"].items()}
                extra = DEDUCED if schema.get("x-kubernetes-preserve-unknown-fields") else None
                return Type("map", atomic, fields=fields, item=extra)
            inner = schema.get("additionalProperties")
            item = of_schema(inner) if isinstance(inner, dict) else DEDUCED
            return Type("map", atomic, item=item)
        case "array":
            kind = schema.get("x-kubernetes-list-type", "")
            strategy = schema.get("x-kubernetes-patch-strategy", "")
            item = of_schema(schema.get("items") or {})
            if kind == "map":
                keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
                return Type("list", keys=keys, item=item, defaults=_key_defaults(keys))
            if kind == "set" or (not kind and "merge" in strategy and "x-kubernetes-patch-merge-key" not in schema):
                return Type("list", is_set=True, item=item)
            if not kind and "merge" in strategy:
                return Type("list", keys=(str(schema["x-kubernetes-patch-merge-key"]),), item=item)
            return Type("list", atomic=True, item=item)
        case "":
            return DEDUCED if not schema or "properties" not in schema else _ATOMIC_MAP
        case _:
            return _LEAF


def _key_defaults(keys: tuple[str, ...]) -> dict[str, Any]:
    """Keys that may be left out, because they have a default."""
    return {"protocol": "TCP"} if "protocol" in keys else {}


@cache
def type_of_kind(group: str, version: str, kind: str) -> Type:
    """The type of a built-in kind."""
    name = definition_name(group, version, kind)
    return _definition(name) if name is not None else DEDUCED


def _kind_of(type_: Type, value: Any) -> str:
    kind = type_.kind
    if kind == "leaf" or type_.atomic:
        return "leaf"
    if kind == "list":
        return "list" if isinstance(value, list) else "leaf"
    return "map" if isinstance(value, dict) else "leaf"


@lru_cache(8192)
def _dump_key(items: tuple[tuple[str, Any], ...]) -> str:
    return "k:" + orjson.dumps(dict(items), option=orjson.OPT_SORT_KEYS).decode()


def element_key(type_: Type, element: Any) -> str | None:
    """The FieldsV1 key of a list's element; None if it has no key."""
    if type_.is_set:
        return "v:" + orjson.dumps(element).decode()
    if not isinstance(element, dict):
        return None
    items = []
    for key in type_.keys:
        value = element.get(key, type_.defaults.get(key))
        if value is not None:
            items.append((key, value))
    return _dump_key(tuple(items)) if items else None


def _item(type_: Type) -> Type:
    return type_.item.resolved() if type_.item is not None else DEDUCED


def added(new: Any, type_: Type, path: FieldPath, out: set[FieldPath]) -> None:
    """All of a value that was not there."""
    out.add(path)
    match _kind_of(type_, new):
        case "map":
            for name, value in new.items():
                if isinstance(value, dict | list):
                    added(value, type_.child(name), (*path, f"f:{name}"), out)
                else:
                    out.add((*path, f"f:{name}"))
        case "list":
            item = _item(type_)
            for element in new:
                key = element_key(type_, element)
                if key is not None:
                    added(element, item, (*path, key), out)


def _says(value: Any) -> bool:
    """Whether it is more than an empty list, map or text in the place of nothing."""
    return bool(value) or isinstance(value, int)


def compare(old: Any, new: Any, type_: Type, path: FieldPath, changed: set[FieldPath], gone: set[FieldPath]) -> None:
    """Paths that are other in `new` (changed or added), and those that are no more."""
    if old is new or old == new:
        return
    kind = _kind_of(type_, new)
    if kind == "leaf" or not (old or new):
        if old is not None or _says(new):
            changed.add(path)
        return
    if kind == "map":
        before = old if isinstance(old, dict) else {}
        for name, value in new.items():
            if name in before:
                if before[name] is not value and before[name] != value:  # most are as they were
                    compare(before[name], value, type_.child(name), (*path, f"f:{name}"), changed, gone)
            elif value is not None:
                added(value, type_.child(name), (*path, f"f:{name}"), changed)
        for name, value in before.items():
            if name not in new:
                added(value, type_.child(name), (*path, f"f:{name}"), gone)
        return
    item = _item(type_)
    was = {element_key(type_, e): e for e in (old if isinstance(old, list) else ())}
    now = {element_key(type_, e): e for e in new}
    for key, element in now.items():
        if key is None:
            continue
        if key in was:
            compare(was[key], element, item, (*path, key), changed, gone)
        else:
            added(element, item, (*path, key), changed)
    for key, element in was.items():
        if key is not None and key not in now:
            added(element, item, (*path, key), gone)


def said(value: Any, type_: Type, path: FieldPath, out: set[FieldPath]) -> None:
    """What an applied configuration says: its leaves, its list elements, its map entries."""
    match _kind_of(type_, value):
        case "map":
            for name, inner in value.items():
                here = (*path, f"f:{name}")
                said(inner, type_.child(name), here, out)
                if inner is None or inner == {} or (name not in type_.fields):
                    out.add(here)
        case "list":
            item = _item(type_)
            for element in value:
                key = element_key(type_, element)
                if key is not None:
                    out.add((*path, key))
                    said(element, item, (*path, key), out)
            if not value:
                out.add(path)
        case _:
            out.add(path)


def merged(live: Any, config: Any, type_: Type) -> Any:
    """The live value with the configuration's said over it."""
    kind = _kind_of(type_, config)
    if kind == "map" and isinstance(live, dict):
        out = dict(live)
        for name, value in config.items():
            out[name] = merged(live[name], value, type_.child(name)) if name in live else value
        return out
    if kind == "list" and isinstance(live, list):
        item = _item(type_)
        wanted = {element_key(type_, e): e for e in config}
        result, done = [], set()
        for element in live:
            key = element_key(type_, element)
            if key in wanted and key not in done:
                done.add(key)
                result.append(wanted[key] if type_.is_set else merged(element, wanted[key], item))
            else:
                result.append(element)
        return result + [e for k, e in wanted.items() if k not in done]
    return config


def without(value: Any, type_: Type, gone: Fields, path: FieldPath = ()) -> Any:
    """The value without the paths in `gone`."""
    heads = {p[len(path)] for p in gone if len(p) > len(path) and p[: len(path)] == path}
    if not heads:
        return value
    match _kind_of(type_, value):
        case "map":
            out = {}
            for name, inner in value.items():
                key = f"f:{name}"
                if key not in heads:
                    out[name] = inner
                elif (*path, key) not in gone:
                    out[name] = without(inner, type_.child(name), gone, (*path, key))
                else:
                    rest = without(inner, type_.child(name), gone, (*path, key))
                    if isinstance(rest, dict | list) and rest and _kind_of(type_.child(name), rest) != "leaf":
                        out[name] = rest  # others own something below
            return out
        case "list":
            item, kept = _item(type_), []
            for element in value:
                key_ = element_key(type_, element)
                if key_ not in heads or key_ is None:
                    kept.append(element)
                elif (*path, key_) not in gone:
                    kept.append(without(element, item, gone, (*path, key_)))
            return kept
        case _:
            return value


#: trees and sets that are remembered: what a controller writes has the same fields every time
REMEMBERED = 256


def fields_of(tree: Json) -> Fields:
    """The paths of a FieldsV1 tree."""
    return _fields_of(orjson.dumps(tree))


@lru_cache(REMEMBERED)
def _fields_of(tree: bytes) -> Fields:
    return frozenset(to_fields(orjson.loads(tree)))


def to_fields(tree: Json, path: FieldPath = ()) -> Iterable[FieldPath]:
    """The paths of a FieldsV1 tree."""
    for key, inner in tree.items():
        if key == ".":
            yield path
        elif not inner:
            yield (*path, key)
        else:
            yield from to_fields(inner, (*path, key))


@lru_cache(REMEMBERED)
def to_tree(fields: Fields) -> Json:
    """The FieldsV1 tree of paths. It must not be changed."""
    root: Json = {}
    for path in sorted(fields):
        node = root
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _trimmed(root)


def _trimmed(node: Json) -> Json:
    """A lone `.` is written as an empty object."""
    for key, inner in node.items():
        if key != ".":
            node[key] = {} if inner.keys() == {"."} else _trimmed(inner)
    return node


def stripped(fields: set[FieldPath] | Fields, ignored: tuple[str, ...] = ()) -> Fields:
    """Without what is never owned, and without what is below the top-level fields `ignored` (status or spec)."""
    heads = {f"f:{name}" for name in ignored}
    return frozenset(p for p in fields if p and p not in _STRIPPED and p[0] not in heads)
