"""Bodies in protobuf: decoded by the table of data/messages.tsv into the JSON that the same client would have sent.

A body is four magic bytes and a runtime.Unknown, which holds apiVersion, kind and the message. Clients write every
field that is no pointer, empty or not: empty values of such fields are left out here, as JSON's `omitempty` would.
Source: apimachinery pkg/runtime/serializer/protobuf, the generated.proto files of k8s.io/api.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson

from netlab.api import Json
from netlab.api.shapes import Wire, messages

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
#: messages in one another: no message of the API nests so far
DEPTH_MAX = 100

_GROUPS = {
    "": "core", "authentication.k8s.io": "authentication", "authorization.k8s.io": "authorization",
    "rbac.authorization.k8s.io": "rbac", "storage.k8s.io": "storage", "networking.k8s.io": "networking",
    "certificates.k8s.io": "certificates", "coordination.k8s.io": "coordination", "discovery.k8s.io": "discovery",
    "events.k8s.io": "events", "scheduling.k8s.io": "scheduling", "node.k8s.io": "node",
    "admissionregistration.k8s.io": "admissionregistration", "flowcontrol.apiserver.k8s.io": "flowcontrol",
}  # fmt: skip


class ProtobufError(ValueError):
    """The body is no message of the API, or one that is not known here."""


def message_name(api_version: str, kind: str) -> str:
    """The table's name for a kind: `core.v1.Pod`."""
    group, _, version = api_version.rpartition("/")
    if kind in ("DeleteOptions", "Status"):
        return f"meta.v1.{kind}"
    if group == "policy" and version == "v1beta1":
        version = "v1"
    return f"{_GROUPS.get(group, group)}.{version}.{kind}"


def decode(body: bytes) -> Json:
    """The object in a body. ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version = kind = ""
    raw = b""
    try:
        for number, value in _fields(body[len(MAGIC) :]):
            if number == 1:
                for inner, text in _fields(value):
                    if inner == 1:
                        api_version = text.decode()
                    elif inner == 2:
                        kind = text.decode()
            elif number == 2:
                raw = value
        name = message_name(api_version, kind)
        if name not in messages():
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
        found: Json = _message(raw, name, 0)
    except (ValueError, IndexError, struct.error, AttributeError, OverflowError) as e:
        if isinstance(e, ProtobufError):
            raise
        raise ProtobufError(f"the protobuf message cannot be read: {e}") from e
    return {"apiVersion": api_version, "kind": kind, **found}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise ProtobufError("a number has more than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > end:
                raise ProtobufError("unexpected EOF")
            yield number, data[at : at + length]
            at += length
        elif wire == 1:
            yield number, struct.unpack_from("<d", data, at)[0]
            at += 8
        elif wire == 5:
            yield number, struct.unpack_from("<f", data, at)[0]
            at += 4
        else:
            raise ProtobufError(f"illegal wire type {wire}")


@cache
def _numbers(message: str) -> dict[int, Wire]:
    return {w.number: w for w in messages()[message]}


def _list_only(message: str) -> bool:
    """ExtraValue: a message that stands for a list. (Others have one field `items` and are objects in JSON.)"""
    return message.endswith(".ExtraValue")


def _message(data: bytes, name: str, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ProtobufError("messages are nested too deeply")
    if _list_only(name):
        return [_value(v, _numbers(name)[1], depth) for _, v in _fields(data)]
    out: Json = {}
    known = _numbers(name)
    for number, value in _fields(data):
        wire = known.get(number)
        if wire is None:
            continue
        if "I" in wire.flags:
            out.update(_message(value, wire.type, depth + 1))
        elif "M" in wire.flags:
            key, inner = "", None
            for part, got in _fields(value):
                if part == 1:
                    key = got.decode()
                else:
                    inner = _value(got, wire, depth)
            out.setdefault(wire.name, {})[key] = inner if inner is not None else _empty(wire)
        elif "R" in wire.flags:
            out.setdefault(wire.name, []).append(_value(value, wire, depth))
        else:
            got = _value(value, wire, depth)
            if got is None or (not got and "P" not in wire.flags):
                continue
            out[wire.name] = got
    return out


def _empty(wire: Wire) -> Any:
    scalar = {"string": "", "bytes": "", "bool": False, "int32": 0, "int64": 0, "meta.v1.Time": None}
    return scalar.get(wire.type, {})


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _value(value: Any, wire: Wire, depth: int) -> Any:
    match wire.type:
        case "string":
            return value.decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "bool":
            return bool(value)
        case "int32" | "int64":
            return _signed(value)
        case "double" | "float":
            return value
        case "meta.v1.Time" | "meta.v1.MicroTime":
            return _time(value, micro=wire.type == "meta.v1.MicroTime")
        case "api.resource.Quantity":
            return next((v.decode() for n, v in _fields(value) if n == 1), "0") or "0"
        case "util.intstr.IntOrString":
            parts = dict(_fields(value))
            return parts.get(3, b"").decode() if parts.get(1, 0) == 1 else _signed(parts.get(2, 0))
        case "runtime.RawExtension" | "meta.v1.FieldsV1":
            raw = next((v for n, v in _fields(value) if n == 1), b"")
            return orjson.loads(raw) if raw else None
        case name if name in messages():
            return _message(value, name, depth + 1)
        case name:
            raise ProtobufError(f"the message {name} is not known here")


def _time(value: bytes, *, micro: bool) -> str | None:
    parts = dict(_fields(value))
    if not parts.get(1) and not parts.get(2):
        return None
    when = datetime.fromtimestamp(_signed(parts.get(1, 0)), UTC).replace(microsecond=parts.get(2, 0) // 1000)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
