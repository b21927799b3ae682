"""The shape of an API object: what Go's typed decoding does to a JSON body, and what its encoding makes of it.

A body is decoded against the schema: unknown fields are left out and reported, null means absent, a value of another
type is an error in encoding/json's words. What is written again is what Go writes: empty values of fields with
`omitempty` are gone, structs that are no pointers are there even if empty (`resources: {}`, `status: {}`), and so is a
null time in a nested metadata. Which field is a pointer is known from data/messages.tsv; a message that is not in it
is taken to have only pointers, so that nothing is lost.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from netlab.api import Json
from netlab.api.quantity import QuantityError, canonical
from netlab.api.schemas import definition_name, definitions, reference, type_of
from netlab.api.times import TimeError, micro_time, time

OBJECT, MAP, LIST, STRING, INTEGER, NUMBER, BOOLEAN, QUANTITY, INT_OR_STRING, TIME, MICRO_TIME, BYTES, RAW = range(13)

#: fields that Go writes even if they are empty, although the schema does not require them
_WRITTEN = {("apps.v1.StatefulSetStatus", "availableReplicas")}

#: deeper bodies are refused: no schema of the API nests so far, and recursion has an end
DEPTH_MAX = 200

_LEAVES = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": INT_OR_STRING,
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": TIME,
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": MICRO_TIME,
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": RAW,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": RAW,
}
#: JSON schemas in CustomResourceDefinitions: these stand for any JSON
_ANYTHING = ("JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray")


class DecodeError(ValueError):
    """The body does not fit the kind; the text is Go's."""


class Wire(NamedTuple):
    """A field of a message on the wire. flags: R repeated, M map, I inlined into its parent, P a pointer in Go."""

    number: int
    name: str
    type: str
    flags: str


@cache
def messages() -> dict[str, list[Wire]]:
    """data/messages.tsv: every message that a client may send in protobuf, with its fields."""
    found: dict[str, list[Wire]] = {}
    with (Path(__file__).parent / "data" / "messages.tsv").open(encoding="ascii", newline="") as file:
        rows = csv.reader(file, delimiter="\t")
        next(rows)
        for message, number, name, kind, flags in rows:
            found.setdefault(message, []).append(Wire(int(number), name, kind, flags))
    return found


@dataclass(slots=True)
class Shape:
    """kind: one of the constants above; go: the name of Go's type; fields: of an OBJECT; item: of a LIST or MAP."""

    kind: int
    go: str
    struct: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    always: tuple[tuple[str, Field], ...] = ()
    item: Shape | None = None


@dataclass(slots=True)
class Field:
    """omit: an empty value is left out; always: it is written even if it is absent."""

    shape: Shape
    omit: bool = False
    always: bool = False
    required: bool = False


def _zero(shape: Shape) -> Any:
    """What Go writes for an absent field that it always writes."""
    match shape.kind:
        case 0:
            return {name: _zero(f.shape) for name, f in shape.always}
        case 3:
            return ""
        case 4 | 5:
            return 0
        case 6:
            return False
        case 7:
            return "0"
        case _:
            return None


def _flattened(message: str) -> dict[str, Wire] | None:
    known = messages().get(message)
    if known is None:
        return None
    flat: dict[str, Wire] = {}
    for wire in known:
        if "I" in wire.flags:
            flat.update(_flattened(wire.type) or {})
        else:
            flat[wire.name] = wire
    return flat


@cache
def shape_of(name: str) -> Shape:
    """The shape of a definition by its name."""
    if name in _LEAVES:
        kind = _LEAVES[name]
        return Shape(kind, {QUANTITY: "resource.Quantity", INT_OR_STRING: "intstr.IntOrString"}.get(kind, "v1.Time"))
    parts = name.split(".")
    if parts[-1] in _ANYTHING or name not in definitions():
        return Shape(RAW, "")
    schema = definitions()[name]
    if type_of(schema) != "object" and "properties" not in schema:
        return _inline(schema)
    shape = Shape(OBJECT, f"{parts[-2]}.{parts[-1]}", parts[-1])
    if "properties" not in schema:
        return Shape(RAW, "")  # a struct without fields: that it is there is all it says
    _pending.append((shape, schema, ".".join(parts[-3:])))
    return shape


_pending: list[tuple[Shape, Json, str]] = []


def _inline(schema: Json) -> Shape:
    ref = reference(schema)
    if ref is not None:
        return shape_of(ref)
    match type_of(schema):
        case "array":
            item = _inline(schema["items"])
            return Shape(LIST, "[]" + item.go, item=item)
        case "object":
            inner = schema.get("additionalProperties")
            item = _inline(inner) if isinstance(inner, dict) else Shape(RAW, "interface {}")
            return Shape(MAP, "map[string]" + item.go, item=item)
        case "string":
            return Shape(BYTES, "[]uint8") if schema.get("format") == "byte" else Shape(STRING, "string")
        case "integer":
            return Shape(INTEGER, str(schema.get("format", "int64")))
        case "number":
            return Shape(NUMBER, "float64")
        case "boolean":
            return Shape(BOOLEAN, "bool")
        case _:
            return Shape(RAW, "")


def _fill(shape: Shape, schema: Json, message: str) -> None:
    wires = _flattened(message)
    required = schema.get("required") or ()
    for name, inner in schema["properties"].items():
        child = _inline(inner)
        wire = wires.get(name) if wires is not None else None
        needed = name in required or (message, name) in _WRITTEN
        plain = wire is not None and "P" not in wire.flags
        struct = plain and child.kind in (OBJECT, TIME, MICRO_TIME)
        shape.fields[name] = Field(
            child, omit=not needed and (plain or child.kind in (LIST, MAP)), required=needed,
            always=struct or (needed and plain and child.kind not in (INT_OR_STRING, RAW, BYTES)),
        )  # fmt: skip


def _settle() -> None:
    filled = []
    while _pending:
        shape, schema, message = _pending.pop()
        _fill(shape, schema, message)
        filled.append(shape)
    for shape in filled:
        shape.always = tuple((n, f) for n, f in shape.fields.items() if f.always)


@cache
def shape_of_kind(group: str, version: str, kind: str) -> Shape | None:
    """The shape of a kind, None if there is no schema for it. apiVersion and kind are no fields of it."""
    name = definition_name(group, version, kind)
    if name is None:
        return None
    shape = shape_of(name)
    _settle()
    return shape


Path_ = tuple[Any, ...]  # ((((), "spec"), "containers"), 0): the way to a value, innermost last


def dotted(path: Path_) -> str:
    """`spec.containers[0].name`."""
    steps: list[str | int] = []
    while path:
        path, step = path
        steps.append(step)
    text = ""
    for step in reversed(steps):
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _go_value(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "number"
        case float():
            return f"number {value:g}"
        case list():
            return "array"
        case _:
            return "object"


def _mismatch(value: Any, go: str, path: Path_, struct: str) -> DecodeError:
    names = []
    while path:
        path, step = path
        if isinstance(step, str):
            names.append(step)
    where = ".".join(reversed(names))
    owner = f"Go struct field {struct}.{where}" if struct else "Go value"
    of = f" of type {go}"
    return DecodeError(f"json: cannot unmarshal {_go_value(value)} into {owner}{of}")


_INT_RANGES = {"int32": 1 << 31, "int64": 1 << 63}


def decode(value: Any, shape: Shape, unknown: list[str], path: Path_ = (), struct: str = "") -> Any:
    """`value` as Go would write it after having read it. unknown: gets the paths of fields that the schema lacks.

    DecodeError, in Go's words, for a value of another type.
    """
    kind = shape.kind
    if kind == OBJECT:
        if type(value) is not dict:
            raise _mismatch(value, shape.go, path, struct)
        out: Json = {}
        fields = shape.fields
        own = shape.struct
        for name, inner in value.items():
            known = fields.get(name)
            if known is None:
                unknown.append(dotted((path, name)))
                continue
            if inner is None:
                continue
            child = known.shape
            if child.kind == STRING:  # the commonest leaf, without a call
                if type(inner) is not str:
                    raise _mismatch(inner, "string", (path, name), own)
                got: Any = inner
            else:
                got = decode(inner, child, unknown, (path, name), own)
            if known.omit and not got and got is not None and not (child.kind == OBJECT and known.always):
                continue
            out[name] = got
        for name, known in shape.always:
            if name not in out:
                out[name] = _zero(known.shape)
        return out
    if kind == STRING:
        if type(value) is not str:
            raise _mismatch(value, "string", path, struct)
        return value
    if kind == LIST:
        if type(value) is not list:
            raise _mismatch(value, shape.go, path, struct)
        item = shape.item
        assert item is not None
        if item.kind == STRING and all(type(v) is str for v in value):
            return value
        return [decode(_null(v, item), item, unknown, (path, i), struct) for i, v in enumerate(value)]
    if kind == MAP:
        if type(value) is not dict:
            raise _mismatch(value, shape.go, path, struct)
        item = shape.item
        assert item is not None
        return {k: decode(_null(v, item), item, unknown, (path, k), struct) for k, v in value.items()}
    return _leaf(value, shape, path, struct)


def _null(value: Any, item: Shape) -> Any:
    """A null element is the zero value of its type."""
    return value if value is not None else {} if item.kind == OBJECT else _zero(item)


def _leaf(value: Any, shape: Shape, path: Path_, struct: str) -> Any:
    match shape.kind:
        case 4:  # INTEGER
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) is not int:
                raise _mismatch(value, shape.go, path, struct)
            bound = _INT_RANGES.get(shape.go, 1 << 63)
            if not -bound <= value < bound:
                raise _mismatch(value, shape.go, path, struct)
            return value
        case 6:  # BOOLEAN
            if type(value) is not bool:
                raise _mismatch(value, "bool", path, struct)
            return value
        case 5:  # NUMBER
            if type(value) not in (int, float):
                raise _mismatch(value, "float64", path, struct)
            return value
        case 7:  # QUANTITY
            if value is None:
                return "0"
            if type(value) not in (int, float, str):
                raise DecodeError("json: unsupported quantity")
            try:
                return canonical(str(value))
            except QuantityError as e:
                raise DecodeError(str(e)) from e
        case 8:  # INT_OR_STRING
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) not in (int, str):
                raise _mismatch(value, "int32", path, struct)
            return value
        case 9 | 10:
            if value is None or value == "":  # as metav1.Time: an empty string is no time
                return None
            if type(value) is not str:
                raise _mismatch(value, "string", path, struct)
            try:
                return time(value) if shape.kind == TIME else micro_time(value)
            except TimeError as e:
                raise DecodeError(str(e)) from e
        case 11:  # BYTES
            if value is None:
                return ""
            if type(value) is not str:
                raise _mismatch(value, "[]uint8", path, struct)
            _check_base64(value)
            return value
        case _:
            return value


def _check_base64(text: str) -> None:
    import base64
    import binascii

    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
        at = next((i for i, c in enumerate(text) if c not in alphabet), len(text))
        raise DecodeError(f"illegal base64 data at input byte {at}") from e
