"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

Directives: `$patch` (replace, delete, merge), `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`,
`$retainKeys`. The keys are those of the schema (x-kubernetes-patch-strategy, -merge-key). Source: apimachinery
pkg/util/strategicpatch and the API conventions' page on strategic merge.
"""

from __future__ import annotations

import copy
from typing import Any

from netlab.api import Json
from netlab.api.patches import PatchError
from netlab.api.schemas import definitions, reference

_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def apply(obj: Json, patch: Json, definition: str) -> Json:
    """The object, changed, or another made of its parts; `definition` names its schema. The patch stays as it is.
    PatchError."""
    return _merge_map(obj, patch, definitions().get(definition, {}))


def _resolve(schema: Json) -> Json:
    ref = reference(schema)
    return definitions().get(ref, {}) if ref is not None else schema


def _child(schema: Json, name: str) -> Json:
    """The schema of a field, with the strategy that stands beside a reference."""
    found: Json | None = schema.get("properties", {}).get(name)
    if found is None:
        extra = schema.get("additionalProperties")
        return extra if isinstance(extra, dict) else {}
    return found


def _strategies(schema: Json) -> str:
    return str(schema.get("x-kubernetes-patch-strategy", ""))


def _merge_map(target: Json, patch: Json, schema: Json) -> Json:
    if any(name.startswith("$") for name in patch):
        return _directed(target, dict(patch), schema)
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = _merge_value(target.get(name), value, _child(schema, name), None)
    return target


def _directed(target: Json, patch: Json, schema: Json) -> Json:
    """As `_merge_map`, of a patch with directives."""
    directive = patch.pop("$patch", None)
    if directive == "replace":
        return {k: copy.deepcopy(v) for k, v in patch.items() if not k.startswith("$")}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"Unrecognized value {directive!r} for $patch directive")
    retain = patch.pop("$retainKeys", None)
    if retain is not None:
        if not isinstance(retain, list) or any(k not in retain for k in patch if not k.startswith("$")):
            raise PatchError("the list of $retainKeys does not have all keys of the patch")
        for key in [k for k in target if k not in retain]:
            del target[key]
    orders = {k[len(_ORDER) :]: patch.pop(k) for k in list(patch) if k.startswith(_ORDER)}
    deletions = {k[len(_DELETE) :]: patch.pop(k) for k in list(patch) if k.startswith(_DELETE)}
    for name, gone in deletions.items():
        if isinstance(target.get(name), list) and isinstance(gone, list):
            target[name] = [v for v in target[name] if v not in gone]
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            target.pop(name, None)
            continue
        target[name] = _merge_value(target.get(name), value, _child(schema, name), orders.get(name))
    for name, order in orders.items():
        if name not in patch and isinstance(target.get(name), list):
            target[name] = _ordered(target[name], [], order, _child(schema, name).get("x-kubernetes-patch-merge-key"))
    return target


def _merge_value(old: Any, new: Any, schema: Json, order: Any) -> Any:
    if isinstance(new, dict):
        inner = _resolve(schema)
        if "replace" in _strategies(schema) and "$patch" not in new:
            return _clean(new)
        base = old if isinstance(old, dict) else {}
        return _merge_map(base, new, inner)
    if isinstance(new, list):
        if "merge" not in _strategies(schema):
            return _clean(new)
        key = schema.get("x-kubernetes-patch-merge-key")
        base_list = old if isinstance(old, list) else []
        if key is None or (new and not isinstance(new[0], dict)):
            merged = base_list + [v for v in new if v not in base_list]
            return _ordered(merged, new, order, None)
        return _merge_list(base_list, new, str(key), _resolve(schema.get("items", {})), order)
    return new


def _clean(value: Any) -> Any:
    """A value that replaces: without directives and nulls."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return value


def _merge_list(old: list[Any], new: list[Any], key: str, schema: Json, order: Any) -> list[Any]:
    replace = any(isinstance(e, dict) and e.get("$patch") == "replace" for e in new)
    if replace:
        return [_clean(e) for e in new if not (isinstance(e, dict) and e.get("$patch") == "replace")]
    result = list(old)
    for element in new:
        if not isinstance(element, dict) or (key not in element and "$patch" not in element):
            raise PatchError(f"map: {element} does not contain declared merge key: {key}")
        at = [i for i, e in enumerate(result) if isinstance(e, dict) and e.get(key) == element.get(key)]
        if element.get("$patch") == "delete":
            result = [e for i, e in enumerate(result) if i not in at]
        elif at:
            result[at[0]] = _merge_map(result[at[0]], element, schema)
        else:
            result.append(_merge_map({}, element, schema))
    return _ordered(result, new, order, key)


def _ordered(merged: list[Any], patched: list[Any], order: Any, key: str | None) -> list[Any]:
    """Elements that the patch orders stand in its order; those that only the server knows stay behind their
    neighbours."""
    if not isinstance(order, list):
        return merged

    def name(element: Any) -> Any:
        return element.get(key) if key is not None and isinstance(element, dict) else element

    rank: dict[Any, int] = {}
    for i, element in enumerate(order):
        rank.setdefault(_hashable(name(element)), i)
    listed = sorted((e for e in merged if _hashable(name(e)) in rank), key=lambda e: rank[_hashable(name(e))])
    result, queue = [], list(listed)
    for element in merged:
        if _hashable(name(element)) in rank:
            result.append(queue.pop(0))
        else:
            result.append(element)
    return result


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else repr(value)
