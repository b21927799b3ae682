"""Objects in the store: keys as the original's, values in JSON without their resourceVersion.

The revision of a key is its object's resourceVersion, and is put in when bytes go out, without taking them apart: a
stored value begins with kind, apiVersion and metadata, in this order.
"""

from __future__ import annotations

import orjson

from netlab.api import Json
from netlab.api.catalogue import Resource
from netlab.store.protocol import KeyValue

_METADATA = b'"metadata":{'


def key(resource: Resource, namespace: str, name: str) -> str:
    """Where an object is kept."""
    return f"{resource.registry}{namespace}/{name}" if resource.namespaced else f"{resource.registry}{name}"


def prefix(resource: Resource, namespace: str = "") -> str:
    """Where the objects of a namespace, or all of them, are kept."""
    return f"{resource.registry}{namespace}/" if resource.namespaced and namespace else resource.registry


def encode(obj: Json) -> bytes:
    """An object as it is stored. Its metadata must be its third key."""
    metadata = obj["metadata"]
    revision = metadata.pop("resourceVersion", None)
    # a copy: orjson's own bytes keep the room that its buffer had grown to, three times what is in them, and these are
    # kept for as long as the object is
    value = bytes(memoryview(orjson.dumps(obj)))
    if revision is not None:
        metadata["resourceVersion"] = revision
    return value


def shown(value: bytes, revision: int) -> bytes:
    """Stored bytes as a client gets them."""
    at = value.find(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def item(value: bytes, revision: int) -> bytes:
    """Stored bytes as an item of a list: without kind and apiVersion, which the list tells."""
    at = value.find(_METADATA) + len(_METADATA)
    return b'{"metadata":{"resourceVersion":"%d",%b' % (revision, value[at:])


def load(kv: KeyValue) -> Json:
    """The object of a key."""
    obj: Json = orjson.loads(kv.value)
    obj["metadata"]["resourceVersion"] = str(kv.revision)
    return obj


def loads(value: bytes, revision: int) -> Json:
    """The object in stored bytes."""
    obj: Json = orjson.loads(value)
    if revision:
        obj["metadata"]["resourceVersion"] = str(revision)
    return obj
