"""An object's metadata through its writes: what the server sets, what a client may not change.

Source: apiserver pkg/registry/rest (BeforeCreate, BeforeUpdate), apimachinery pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

import random

from netlab.api import Json, status
from netlab.api.catalogue import Resource

#: letters of generated names: no vowels, nothing that looks like another
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
#: characters of a generated name, of which the last five are the generated ones
NAME_MAX, SUFFIX = 63, 5
#: tries to find a free name
TRIES = 8

_RANDOM = random.Random()


def generated(base: str) -> str:
    """A name from generateName."""
    return base[: NAME_MAX - SUFFIX] + "".join(_RANDOM.choices(ALPHABET, k=SUFFIX))


def unique() -> str:
    """A random UUID (RFC 9562, version 4). It is a name and no secret, so the kernel is not asked, as `uuid4` does."""
    bits = _RANDOM.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 4 << 76 | 2 << 62
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def place(obj: Json, resource: Resource, namespace: str) -> None:
    """Set the namespace of the URL. ApiError 400 if the body has another."""
    meta = obj["metadata"]
    given = meta.get("namespace", "")
    if resource.namespaced:
        if given and given != namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta["namespace"] = namespace
    elif given and namespace == "":
        meta.pop("namespace")


def for_create(obj: Json, now: str, *, generation: bool) -> None:
    """What a new object gets, whatever the client said."""
    meta = obj["metadata"]
    for name in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        meta.pop(name, None)
    meta["uid"] = unique()
    meta["creationTimestamp"] = now
    if generation:
        meta["generation"] = 1


_FIXED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink",
          "name", "namespace", "generateName")  # fmt: skip


def for_update(new: Json, old: Json) -> None:
    """What an update does not change stays as it was. (A name or uid that differs is refused before.)"""
    meta, was = new["metadata"], old["metadata"]
    for name in _FIXED:
        if name in was:
            meta[name] = was[name]
        else:
            meta.pop(name, None)


def keep_part(new: Json, old: Json, fields: tuple[str, ...]) -> None:
    """Leave of a new object's spec only some fields; all else is as it was. Of containers only their resources."""
    spec, was = new.get("spec") or {}, old.get("spec") or {}
    for name in [n for n in new if n not in ("kind", "apiVersion", "metadata")]:
        del new[name]
    new.update({k: v for k, v in old.items() if k not in ("kind", "apiVersion", "metadata")})
    kept = dict(was)
    for field in fields:
        if field == "ephemeralContainers":
            if field in spec:
                kept[field] = spec[field]
            else:
                kept.pop(field, None)
            continue
        wanted = {c.get("name"): c for c in spec.get(field) or ()}
        if field in was:
            kept[field] = [_resized(c, wanted.get(c.get("name"), c)) for c in was[field]]
    new["spec"] = kept


def _resized(container: Json, wanted: Json) -> Json:
    return {**container, "resources": wanted.get("resources") or {}}


def ordered(obj: Json) -> Json:
    """kind, apiVersion, metadata first, as the store's readers expect them."""
    return {
        "kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": obj["metadata"],
        **{k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata")},
    }  # fmt: skip
