"""Validation of metadata, for every kind. Source: apimachinery pkg/api/validation/objectmeta.go."""

from __future__ import annotations

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, required
from netlab.api.names import label_problems, label_value_problems, name_problems, qualified_name_problems

#: bytes of all annotations
ANNOTATIONS_MAX = 256 * 1024


def object_meta(meta: Json, kind: str, *, namespaced: bool, core: bool = True) -> list[FieldError]:
    """What is wrong with an object's metadata. core: finalizers need a domain (custom resources' do not)."""
    found: list[FieldError] = []
    name = meta.get("name", "")
    if not name:
        found.append(required("metadata.name", "name or generateName is required"))
    else:
        found += [invalid("metadata.name", name, p) for p in name_problems(kind, name)]
    namespace = meta.get("namespace", "")
    if namespaced:
        if not namespace:
            found.append(required("metadata.namespace"))
        else:
            found += [invalid("metadata.namespace", namespace, p) for p in label_problems(namespace)]
    elif namespace:
        found.append(forbidden("metadata.namespace", "not allowed on this type"))
    if meta.get("labels"):
        found += labels(meta["labels"], "metadata.labels")
    if meta.get("annotations"):
        found += _annotations(meta["annotations"])
    found += _owners(meta.get("ownerReferences") or ())
    for finalizer in meta.get("finalizers") or ():
        problems = qualified_name_problems(finalizer)
        found += [invalid("metadata.finalizers", finalizer, p) for p in problems]
        standard = finalizer in ("orphan", "foregroundDeletion", "kubernetes")
        if core and not problems and "/" not in finalizer and not standard:
            found.append(invalid("metadata.finalizers", finalizer, "name is neither a standard finalizer name nor is "
                                 "it fully qualified"))  # fmt: skip
    return found


def labels(values: dict[str, str], field: str) -> list[FieldError]:
    """Labels and selectors of labels."""
    found = []
    for key, value in values.items():
        found += [invalid(field, key, p) for p in qualified_name_problems(key)]
        found += [invalid(field, value, p) for p in label_value_problems(value)]
    return found


def _annotations(values: dict[str, str]) -> list[FieldError]:
    found, size = [], 0
    for key, value in values.items():
        found += [invalid("metadata.annotations", key, p) for p in qualified_name_problems(key.lower())]
        size += len(key) + len(value.encode())
    if size > ANNOTATIONS_MAX:
        detail = f"may not be more than {ANNOTATIONS_MAX} bytes"
        found.append(FieldError("FieldValueTooLong", "metadata.annotations", detail))
    return found


def _owners(owners: object) -> list[FieldError]:
    found: list[FieldError] = []
    controllers: list[str] = []
    for owner in owners if isinstance(owners, list) else ():
        field = "metadata.ownerReferences"
        for name, detail in (("apiVersion", "version must not be empty"), ("kind", "kind must not be empty"),
                             ("name", "name must not be empty"), ("uid", "uid must not be empty")):  # fmt: skip
            if not owner.get(name):
                found.append(invalid(f"{field}.{name}", owner.get(name, ""), detail))
        if owner.get("controller"):
            controllers.append(owner.get("name", ""))
            if len(controllers) == 2:
                found.append(invalid(field, owners, "Only one reference can have Controller set to true. Found "
                                     f"\"true\" in references for {controllers[0]} and {controllers[1]}"))  # fmt: skip
    return found
