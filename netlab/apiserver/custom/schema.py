"""Structural schemas: prune what they do not name, fill in defaults, say what is wrong.

Messages are those of kube-openapi's validator, causes those of apiextensions-apiserver (pkg/apiserver/validation).
"""

from __future__ import annotations

import copy
import re
from functools import cache, lru_cache
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, invalid, not_supported, required, too_many, type_invalid
from netlab.api.shapes import DecodeError, Path_, Shape, decode, dotted, shape_of, shape_of_kind

_META = ("apiVersion", "kind", "metadata")
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
#: characters of a regular expression that is tried at all
PATTERN_MAX = 4096


def prune(value: Any, schema: Json, unknown: list[str], path: Path_ = (), *, root: bool = False) -> Any:
    """The value without fields that the schema does not name; their paths go to `unknown`. DecodeError for a metadata
    in it that is none."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        keep = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
        out = {}
        for name, inner in value.items():
            known = properties.get(name)
            if embedded and name in _META:
                out[name] = inner if name != "metadata" or root else object_meta(inner, unknown, (path, name))
            elif isinstance(known, dict):
                out[name] = prune(inner, known, unknown, (path, name))
            elif isinstance(extra, dict):
                out[name] = prune(inner, extra, unknown, (path, name))
            elif extra is True or keep:
                out[name] = inner
            else:
                unknown.append(dotted((path, name)))
        return out
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            return [prune(v, items, unknown, (path, i)) for i, v in enumerate(value)]
    return value


def object_meta(value: Any, unknown: list[str], path: Path_) -> Any:
    """The metadata of an object decoded; the paths of fields that it does not have go to `unknown`. DecodeError."""
    if not isinstance(value, dict):
        where = dotted(path)
        raise DecodeError(f"json: cannot unmarshal string into Go struct field .{where} of type v1.ObjectMeta")
    wrong: list[str] = []
    out: Json = decode(value, _meta_shape(), wrong)
    unknown += [f"{dotted(path)}.{u}" for u in wrong]
    if out.get("creationTimestamp") is None:
        out.pop("creationTimestamp", None)
    return out


@cache
def _meta_shape() -> Shape:
    shape_of_kind("", "v1", "ConfigMap")  # settles what shape_of begins
    return shape_of(OBJECT_META)


def default(value: Any, schema: Json) -> None:
    """Fill in the defaults of absent fields, and of nulls that may not be null. Changes the value."""
    if isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            if not isinstance(inner, dict):
                continue
            if "default" in inner and (name not in value or (value[name] is None and not inner.get("nullable"))):
                value[name] = copy.deepcopy(inner["default"])
            if name in value:
                default(value[name], inner)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            known = schema.get("properties") or {}
            for name, inner in value.items():
                if name not in known:
                    default(inner, extra)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for inner in value:
            default(inner, schema["items"])


def has_defaults(schema: Any) -> bool:
    """Whether reading has to fill in anything."""
    if isinstance(schema, dict):
        return "default" in schema or any(has_defaults(v) for v in schema.values())
    return isinstance(schema, list) and any(has_defaults(v) for v in schema)


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


@lru_cache(1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if len(text) <= PATTERN_MAX else None
    except re.error:
        return None


def validate(value: Any, schema: Json, path: str, *, root: bool = False) -> list[FieldError]:
    """What is wrong with a value. path: `spec.replicas`, "" for the whole object."""
    if value is None and schema.get("nullable"):
        return []
    wanted, given = schema.get("type"), _type(value)
    field = path or "<nil>"
    if schema.get("x-kubernetes-int-or-string"):
        if given not in ("integer", "string"):
            return [type_invalid(field, given, f'{path} in body must be of type integer,string: "{given}"')]
    elif wanted and given != wanted and not (wanted == "number" and given == "integer"):
        return [type_invalid(field, given, f'{path} in body must be of type {wanted}: "{given}"')]
    found: list[FieldError] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(not_supported(field, value, [str(e) for e in schema["enum"]]))
    match value:
        case bool():
            pass
        case str():
            found += _string(value, schema, path)
        case int() | float():
            found += _number(value, schema, path)
        case list():
            found += _list(value, schema, path)
        case dict():
            found += _object(value, schema, path, root=root)
        case _:
            pass
    return found + _combined(value, schema, path)


def _string(value: str, schema: Json, path: str) -> list[FieldError]:
    found = []
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None and len(value) > most:
        found.append(FieldError("FieldValueTooLong", path, f"may not be more than {most} bytes"))
    if least is not None and len(value) < least:
        found.append(invalid(path, value, f"{path} in body should be at least {least} chars long"))
    text = schema.get("pattern")
    if text:
        pattern = _pattern(text)
        if pattern is not None and not pattern.search(value):
            found.append(invalid(path, value, f"{path} in body should match '{text}'"))
    form = schema.get("format")
    if form and not _formed(value, form):
        found.append(invalid(path, value, f"{path} in body must be of type {form}: {value!r}".replace("'", '"')))
    return found


def _formed(value: str, form: str) -> bool:
    import ipaddress

    from netlab.api.times import TimeError, parse

    try:
        match form:
            case "date-time":
                parse(value)
            case "ipv4":
                ipaddress.IPv4Address(value)
            case "ipv6":
                ipaddress.IPv6Address(value)
            case "cidr":
                ipaddress.ip_network(value, strict=False)
            case "date":
                parse(f"{value}T00:00:00Z")
            case "byte":
                import base64

                base64.b64decode(value, validate=True)
            case _:
                pass
    except (ValueError, TimeError):
        return False
    return True


def _number(value: float, schema: Json, path: str) -> list[FieldError]:
    found = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        strict = schema.get("exclusiveMinimum")
        if value < low or (strict and value == low):
            word = "greater than" if strict else "greater than or equal to"
            found.append(invalid(path, value, f"{path} in body should be {word} {low:g}"))
    if high is not None:
        strict = schema.get("exclusiveMaximum")
        if value > high or (strict and value == high):
            word = "less than" if strict else "less than or equal to"
            found.append(invalid(path, value, f"{path} in body should be {word} {high:g}"))
    factor = schema.get("multipleOf")
    if factor and value % factor:
        found.append(invalid(path, value, f"{path} in body should be a multiple of {factor:g}"))
    return found


def _list(value: list[Any], schema: Json, path: str) -> list[FieldError]:
    found = []
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        found.append(too_many(path, len(value), most))
    if least is not None and len(value) < least:
        found.append(invalid(path, len(value), f"{path} in body should have at least {least} items"))
    kind = schema.get("x-kubernetes-list-type")
    if kind in ("set", "map"):
        keys = schema.get("x-kubernetes-list-map-keys") or ()
        seen: list[Any] = []
        for i, element in enumerate(value):
            key = element
            if kind == "map":
                key = {k: element.get(k) for k in keys} if isinstance(element, dict) else None
            if key is not None and key in seen:
                found.append(FieldError("FieldValueDuplicate", f"{path}[{i}]", "", key))
            seen.append(key)
    items = schema.get("items")
    if isinstance(items, dict):
        for i, element in enumerate(value):
            found += validate(element, items, f"{path}[{i}]")
    return found


def _object(value: Json, schema: Json, path: str, *, root: bool) -> list[FieldError]:
    found: list[FieldError] = []
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    missing = [n for n in schema.get("required") or () if n not in value]
    found += [required(f"{path}.{n}" if path else n) for n in missing]
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        found.append(too_many(path, len(value), most))
    if least is not None and len(value) < least:
        found.append(invalid(path, len(value), f"{path} in body should have at least {least} properties"))
    for name, inner in value.items():
        known = properties.get(name)
        if root and name in _META and name != "metadata":
            continue
        if isinstance(known, dict):
            if not (root and name == "metadata"):
                found += validate(inner, known, f"{path}.{name}" if path else name)
        elif isinstance(extra, dict):
            found += validate(inner, extra, f"{path}.{name}" if path else name)
    return found


def _combined(value: Any, schema: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for inner in schema.get("allOf") or ():
        found += validate(value, inner, path)
    some = schema.get("anyOf")
    if some and not schema.get("x-kubernetes-int-or-string") and all(validate(value, s, path) for s in some):
        found.append(invalid(path, "", f'"{path}" must validate at least one schema (anyOf)'))
    one = schema.get("oneOf")
    if one:
        fitting = sum(not validate(value, s, path) for s in one)
        if fitting != 1:
            text = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
            found.append(invalid(path, "", f'"{path}" must validate one and only one schema (oneOf). {text}'))
    never = schema.get("not")
    if never and not validate(value, never, path):
        found.append(invalid(path, "", f'"{path}" must not validate the schema (not)'))
    return found
