"""Bodies: read with a limit, taken apart by their Content-Type, with duplicate keys found.

Nothing that a client sends makes more work than its size: nesting is limited, YAML aliases are counted where they
multiply, and compressed bodies are not accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import yaml
from aiohttp import web

from netlab.api import Json, protobuf, status
from netlab.api.shapes import dotted
from netlab.store.protocol import MAX_VALUE

#: bytes of a body, as the original's, and of an object, as every store takes it
BODY_MAX, OBJECT_MAX = 3 * 1024 * 1024, MAX_VALUE
#: objects and arrays in one another; Go's limit is 10,000, no kind of the API nests a hundred
DEPTH_MAX = 200

JSON_TYPE, YAML_TYPE = "application/json", "application/yaml"
BODY_TYPES = (JSON_TYPE, YAML_TYPE, protobuf.MEDIA_TYPE)


async def read(request: web.BaseRequest) -> bytes:
    """The body. ApiError 413 if it is too large, 415 if it is compressed."""
    too_large = status.too_large(f"limit is {BODY_MAX}")
    if (request.content_length or 0) > BODY_MAX:
        raise too_large
    if not request.can_read_body:
        return b""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise status.unsupported_media_type(BODY_TYPES)
    parts: list[bytes] = []
    size = 0
    while True:
        part = await request.content.readany()
        if not part:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        size += len(part)
        if size > BODY_MAX:
            raise too_large
        parts.append(part)


def media_type(headers: Mapping[str, str]) -> str:
    """The Content-Type without its parameters; JSON if there is none."""
    return headers.get("Content-Type", JSON_TYPE).partition(";")[0].strip().lower() or JSON_TYPE


def parse(body: bytes, kind: str, duplicates: list[str] | None = None) -> Any:
    """The value in a body of media type `kind`. duplicates: gets the paths of repeated keys. ApiError 400 or 415."""
    if kind == JSON_TYPE or (kind == "application/octet-stream" and body[:1] == b"{"):
        return parse_json(body, duplicates)
    if kind in (YAML_TYPE, "application/x-yaml", "text/yaml"):
        return parse_yaml(body)
    if kind == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode(body)
        except protobuf.ProtobufError as e:
            raise status.bad_request(str(e)) from e
    raise status.unsupported_media_type(BODY_TYPES)


def parse_json(body: bytes, duplicates: list[str] | None = None) -> Any:
    """JSON. orjson drops repeated keys without a word: whether there were any is seen by the length."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise status.bad_request(f"couldn't get version/kind; json parse error: {e.msg}") from e
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
        raise status.bad_request("couldn't get version/kind; json parse error: exceeded max depth")
    if duplicates is not None and len(orjson.dumps(value)) != len(body.rstrip()):
        duplicates += _duplicates(body)
    return value


def _depth(value: Any) -> int:
    deepest, todo = 0, [(value, 1)]
    while todo:
        node, depth = todo.pop()
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        deepest = max(deepest, depth)
        todo += [(v, depth + 1) for v in inner if isinstance(v, dict | list)]
    return deepest


class _Pairs(list[tuple[str, Any]]):
    """An object with its keys as they came."""


def _duplicates(body: bytes) -> list[str]:
    found: list[str] = []

    def walk(value: Any, path: tuple[Any, ...]) -> None:
        if isinstance(value, _Pairs):
            seen = set()
            for key, inner in value:
                if key in seen:
                    found.append(dotted((path, key)))
                seen.add(key)
                walk(inner, (path, key))
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                walk(inner, (path, i))

    walk(json.loads(body, object_pairs_hook=_Pairs), ())
    return list(dict.fromkeys(found))


class _Loader(yaml.CSafeLoader):
    """Times stay text, as in Go's YAML-to-JSON; keys are text; a repeated key is an error."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith(("timestamp", "value"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> Json:
    loader.flatten_mapping(node)
    out: Json = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        text = key if isinstance(key, str) else "true" if key is True else "false" if key is False else str(key)
        if text in out:
            line = key_node.start_mark.line + 1
            raise status.bad_request(
                "error converting YAML to JSON: yaml: unmarshal errors:\n"
                f'  line {line}: key "{text}" already set in map'
            )
        out[text] = loader.construct_object(value_node, deep=True)
    return out


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(body: bytes) -> Any:
    """YAML as JSON. ApiError 400, also for a document whose aliases make more of it than its size allows."""
    if body.lstrip()[:1] == b"{":
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # flow style YAML looks like it
    try:
        _check_nesting(body)
        value = yaml.load(body, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        text = " ".join(str(e).split())
        raise status.bad_request(f"error converting YAML to JSON: yaml: {text}") from e
    budget = [10 * len(body) + 1000]
    return _unshared(value, budget, 0)


def _check_nesting(body: bytes) -> None:
    """ApiError 400 if collections are nested too deeply: composing them is recursive, in C."""
    depth = 0
    for event in yaml.parse(body, yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise status.bad_request("error converting YAML to JSON: yaml: exceeded max depth")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unshared(value: Any, budget: list[int], depth: int) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or depth > DEPTH_MAX:
        raise status.bad_request("error converting YAML to JSON: yaml: document contains excessive aliasing")
    if isinstance(value, dict):
        return {k: _unshared(v, budget, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_unshared(v, budget, depth + 1) for v in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value
