"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386)."""

from __future__ import annotations

import copy
from typing import Any

#: operations in one JSON patch, as the original allows
OPERATIONS_MAX = 10_000


class PatchError(ValueError):
    """The patch is no patch: 400."""


class PatchConflict(ValueError):
    """The patch does not fit the object (a failed test, a missing path): 422."""


def merge(target: Any, patch: Any) -> Any:
    """JSON Merge Patch: null removes, objects merge, everything else replaces. Neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


def _pointer(path: Any) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise PatchError(f"invalid JSON pointer {path!r}")
    return [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]


def _index(text: str, length: int, path: str) -> int:
    if not text.isascii() or not text.isdigit() or (len(text) > 1 and text[0] == "0"):
        raise PatchConflict(f"invalid array index {text!r} in {path!r}")
    found = int(text)
    if found > length:
        raise PatchConflict(f"the index of {path!r} is beyond the array")
    return found


def _get(doc: Any, steps: list[str], path: str) -> Any:
    for step in steps:
        match doc:
            case dict() if step in doc:
                doc = doc[step]
            case list():
                at = _index(step, len(doc) - 1, path)
                doc = doc[at]
            case _:
                raise PatchConflict(f"doc is missing path: {path!r}: missing value")
    return doc


def _equal(a: Any, b: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _add(doc: Any, path: str, value: Any) -> Any:
    steps = _pointer(path)
    if not steps:
        return value
    parent = _get(doc, steps[:-1], path)
    match parent:
        case dict():
            parent[steps[-1]] = value
        case list():
            at = len(parent) if steps[-1] == "-" else _index(steps[-1], len(parent), path)
            parent.insert(at, value)
        case _:
            raise PatchConflict(f"add operation does not apply: doc is missing path: {path!r}: missing value")
    return doc


def _remove(doc: Any, path: str) -> Any:
    steps = _pointer(path)
    if not steps:
        raise PatchConflict("remove operation does not apply: the whole document")
    parent = _get(doc, steps[:-1], path)
    match parent:
        case dict() if steps[-1] in parent:
            return parent.pop(steps[-1])
        case list() if parent:
            return parent.pop(_index(steps[-1], len(parent) - 1, path))
        case _:
            raise PatchConflict(f"remove operation does not apply: doc is missing path: {path!r}: missing value")


def json_patch(doc: Any, operations: Any) -> Any:
    """The document after the operations. The document given is not changed. PatchError, PatchConflict."""
    if not isinstance(operations, list):
        raise PatchError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > OPERATIONS_MAX:
        raise PatchError(f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}")
    doc = copy.deepcopy(doc)
    for op in operations:
        if not isinstance(op, dict):
            raise PatchError("an operation of a JSON patch is an object")
        path = op.get("path")
        steps = _pointer(path)
        text = str(path)
        match op.get("op"):
            case "test":
                if not _equal(_get(doc, steps, text), op.get("value")):
                    raise PatchConflict(f"testing value {text} failed: test failed")
            case "add":
                doc = _add(doc, text, copy.deepcopy(op.get("value")))
            case "remove":
                _remove(doc, text)
            case "replace":
                _get(doc, steps, text)
                if steps:
                    parent = _get(doc, steps[:-1], text)
                    key: Any = int(steps[-1]) if isinstance(parent, list) else steps[-1]
                    parent[key] = copy.deepcopy(op.get("value"))
                else:
                    doc = copy.deepcopy(op.get("value"))
            case "move":
                source = str(op.get("from"))
                if _pointer(text)[: len(_pointer(source))] == _pointer(source) and text != source:
                    raise PatchConflict("a value cannot be moved into itself")
                doc = _add(doc, text, _remove(doc, source))
            case "copy":
                doc = _add(doc, text, copy.deepcopy(_get(doc, _pointer(op.get("from")), text)))
            case other:
                raise PatchError(f"Unexpected kind: {other}")
    return doc
