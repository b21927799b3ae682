"""Validation of structural schemas: a type everywhere, nothing that a reader could not follow.

Source: apiextensions-apiserver pkg/apiserver/schema/{structural,validation}.go and pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, not_supported, required
from netlab.api.validation import crd_rules

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_GO_TYPES = {
    str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array", type(None): "null",
}  # fmt: skip
_LISTS = ("atomic", "map", "set")
_MAPS = ("atomic", "granular")
#: what only the structure may say, not a part of allOf, anyOf, oneOf or not
_STRUCTURE = ("type", "default", "nullable", "additionalProperties", "title", "description")


def whole(schema: Json, at: str) -> list[FieldError]:
    """The schema of a version."""
    found: list[FieldError] = []
    kind = schema.get("type")
    if not kind:
        found.append(required(f"{at}.type", "must not be empty at the root"))
    elif kind != "object":
        found.append(invalid(f"{at}.type", kind, "must be object at the root"))
    if schema.get("nullable"):
        found.append(forbidden(f"{at}.nullable", "nullable cannot be true at the root"))
    metadata = (schema.get("properties") or {}).get("metadata")
    if isinstance(metadata, dict):
        at_meta = f"{at}.properties[metadata]"
        if metadata.get("type") not in (None, "object"):
            found.append(invalid(f"{at_meta}.type", metadata["type"], "must be object"))
        if (metadata.get("properties") or {}).keys() - {"name", "generateName"}:
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            found.append(forbidden(at_meta, detail))
    return found + level(schema, at, root=True)


def level(schema: Json, at: str, *, root: bool = False, correlated: bool = True) -> list[FieldError]:
    """One level of a schema and all below it. correlated: it is known what a value there was before a change."""
    kind = schema.get("type")
    open_ = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    found: list[FieldError] = []
    if not kind and not open_ and not root:
        found.append(required(f"{at}.type", "must not be empty for specified object fields"))
    elif kind and kind not in _TYPES:
        found.append(not_supported(f"{at}.type", kind, list(_TYPES)))
    if "$ref" in schema:
        found.append(forbidden(f"{at}.$ref", "$ref is not supported"))
    if schema.get("uniqueItems"):
        found.append(forbidden(f"{at}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity "
                               "becomes quadratic"))  # fmt: skip
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        found.append(invalid(f"{at}.type", kind or "", "must be object if x-kubernetes-embedded-resource is true"))
    if schema.get("properties") and isinstance(schema.get("additionalProperties"), dict):
        detail = "additionalProperties and properties are mutual exclusive"
        found.append(forbidden(f"{at}.additionalProperties", detail))
    found += _lists(schema, at) + _parts(schema, at) + _default(schema, at)
    found += crd_rules.problems(schema, at, correlated=correlated)
    for name, inner in (schema.get("properties") or {}).items():
        if isinstance(inner, dict) and not (root and name == "metadata"):
            found += level(inner, f"{at}.properties[{name}]", correlated=correlated)
    items = schema.get("items")
    keyed = correlated and schema.get("x-kubernetes-list-type") == "map"
    if isinstance(items, dict):
        found += level(items, f"{at}.items", correlated=keyed)
    elif kind == "array":
        found.append(required(f"{at}.items", "must be specified"))
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        granular = correlated and schema.get("x-kubernetes-map-type") != "atomic"
        found += level(extra, f"{at}.additionalProperties", correlated=granular)
    return found


def _lists(schema: Json, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    if kind is not None:
        if schema.get("type") != "array":
            found.append(invalid(f"{at}.type", schema.get("type", ""), "must be array if x-kubernetes-list-type is "
                                 "specified"))  # fmt: skip
        if kind not in _LISTS:
            found.append(not_supported(f"{at}.x-kubernetes-list-type", kind, list(_LISTS)))
    if keys and kind != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        found.append(invalid(f"{at}.x-kubernetes-list-type", kind or "", detail))
    if kind == "map":
        found += _keys(schema, keys, at)
    form = schema.get("x-kubernetes-map-type")
    if form is not None:
        if schema.get("type") != "object":
            found.append(invalid(f"{at}.type", schema.get("type", ""), "must be object if x-kubernetes-map-type is "
                                 "specified"))  # fmt: skip
        if form not in _MAPS:
            found.append(not_supported(f"{at}.x-kubernetes-map-type", form, list(_MAPS)))
    return found


def _keys(schema: Json, keys: list[str], at: str) -> list[FieldError]:
    field = f"{at}.x-kubernetes-list-map-keys"
    if not keys:
        return [required(field, "must not be empty if x-kubernetes-list-type is map")]
    found: list[FieldError] = []
    items: Any = schema.get("items")
    items = items if isinstance(items, dict) else {}
    properties, needed = items.get("properties") or {}, items.get("required") or ()
    for i, key in enumerate(keys):
        if key not in properties:
            found.append(invalid(f"{field}[{i}]", key, "entries must all be names of item properties"))
        elif key not in needed and "default" not in properties[key]:
            where = f"{at}.items.properties[{key}].default"
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            found.append(required(where, detail))
    return found


def _parts(schema: Json, at: str) -> list[FieldError]:
    """allOf, anyOf, oneOf and not say what values are good; what fields there are the structure alone says."""
    found: list[FieldError] = []
    if schema.get("x-kubernetes-int-or-string"):
        return found
    for name in ("allOf", "anyOf", "oneOf"):
        for i, part in enumerate(schema.get(name) or ()):
            found += _part(part, f"{at}.{name}[{i}]")
    if isinstance(schema.get("not"), dict):
        found += _part(schema["not"], f"{at}.not")
    return found


def _part(part: Json, at: str) -> list[FieldError]:
    found = [forbidden(f"{at}.{n}", "must be empty to be structural" if n != "additionalProperties" else
                       "must be undefined to be structural") for n in _STRUCTURE if part.get(n)]  # fmt: skip
    for name, inner in (part.get("properties") or {}).items():
        if isinstance(inner, dict):
            found += _part(inner, f"{at}.properties[{name}]")
    items = part.get("items")
    return found + (_part(items, f"{at}.items") if isinstance(items, dict) else [])


def _default(schema: Json, at: str) -> list[FieldError]:
    """A default is of the type that its field has."""
    if "default" not in schema:
        return []
    value, kind = schema["default"], schema.get("type")
    if value is None and schema.get("nullable"):
        return []
    fits = {
        "array": isinstance(value, list), "boolean": isinstance(value, bool), "object": isinstance(value, dict),
        "string": isinstance(value, str), "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
    }  # fmt: skip
    if kind in fits and not fits[kind]:
        given = _GO_TYPES[type(value)]
        return [invalid(f"{at}.default", given, f'default in body must be of type {kind}: "{given}"')]
    return []
