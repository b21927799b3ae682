"""Validation of ConfigMaps and Secrets."""

from __future__ import annotations

import base64

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, required, too_long
from netlab.api.names import config_key_problems
from netlab.api.validation.common import IMMUTABLE

#: bytes of all values
SIZE_MAX = 1024 * 1024

_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _frozen(obj: Json, old: Json | None, *names: str) -> list[FieldError]:
    if old is None or not old.get("immutable"):
        return []
    found = []
    if not obj.get("immutable"):
        found.append(forbidden("immutable", "field is immutable when `immutable` is set"))
    return found + [
        forbidden(n, "field is immutable when `immutable` is set")
        for n in names
        if (obj.get(n) or {}) != (old.get(n) or {})
    ]


def config_map(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    size = 0
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    for key, value in data.items():
        found += [invalid(f"data[{key}]", key, p) for p in config_key_problems(key)]
        if key in binary:
            found.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value.encode())
    for key, value in binary.items():
        found += [invalid(f"binaryData[{key}]", key, p) for p in config_key_problems(key)]
        size += len(value) * 3 // 4
    if size > SIZE_MAX:
        found.append(too_long("", SIZE_MAX))
    return found + _frozen(obj, old, "data", "binaryData")


def secret(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    data, kind = obj.get("data") or {}, obj.get("type", "")
    size = 0
    for key, value in data.items():
        found += [invalid(f"data[{key}]", key, p) for p in config_key_problems(key)]
        size += len(value) * 3 // 4
    if size > SIZE_MAX:
        found.append(too_long("data", SIZE_MAX))
    found += [required(f"data[{key}]") for key in _NEEDED.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/service-account-token":
        name = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name")
        if not name:
            found.append(required("metadata.annotations[kubernetes.io/service-account.name]"))
    if kind == "kubernetes.io/basic-auth" and not ("username" in data or "password" in data):
        found += [required("data[username]"), required("data[password]")]
    for key in _NEEDED.get(kind, ()):
        if key.startswith(".docker") and key in data:
            found += _json(data[key], key)
    if old is not None and old.get("type") != kind:
        found.append(invalid("type", kind, IMMUTABLE))
    return found + _frozen(obj, old, "data")


def _json(value: str, key: str) -> list[FieldError]:
    import orjson

    try:
        orjson.loads(base64.b64decode(value))
    except ValueError:
        return [
            invalid(f"data[{key}]", "<secret contents redacted>", "invalid character looking for beginning of value")
        ]
    return []
