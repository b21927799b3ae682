"""Validation of CustomResourceDefinitions. Source: apiextensions-apiserver pkg/apis/apiextensions/validation."""

from __future__ import annotations

from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, not_supported, required
from netlab.api.names import label_1035_problems, subdomain_problems

_NO_SCHEMA = "schemas are required"


def definition(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    found: list[FieldError] = []
    group, plural = spec.get("group", ""), names.get("plural", "")
    expected = f"{plural}.{group}"
    if obj["metadata"].get("name") != expected:
        found.append(
            invalid("metadata.name", obj["metadata"].get("name", ""), 'must be spec.names.plural+"."+spec.group')
        )
    if not group:
        found.append(required("spec.group"))
    else:
        found += [invalid("spec.group", group, p) for p in subdomain_problems(group)]
        if "." not in group:
            found.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        found.append(not_supported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"]))
    for name in ("plural", "singular", "kind", "listKind"):
        value = names.get(name, "")
        if not value:
            found.append(required(f"spec.names.{name}"))
        else:
            found += [invalid(f"spec.names.{name}", value, p) for p in label_1035_problems(value.lower())]
    versions = spec.get("versions") or []
    found += _versions(versions)
    if old is not None:
        was = old.get("spec") or {}
        for path in (("group",), ("scope",), ("names", "kind"), ("names", "plural")):
            a, b = _at(was, path), _at(spec, path)
            if a != b and _established(old):
                found.append(invalid("spec." + ".".join(path), b, "field is immutable"))
        stored = set((old.get("status") or {}).get("storedVersions") or ())
        for i, version in enumerate(sorted(stored - {v.get("name") for v in versions})):
            found.append(invalid(f"status.storedVersions[{i}]", version, "must appear in spec.versions"))
    return found


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        obj = (obj or {}).get(step)
    return obj


def _established(obj: Json) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


def _versions(versions: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    if not versions:
        return [invalid("spec.versions", versions, "must have exactly one version marked as storage version")]
    if sum(bool(v.get("storage")) for v in versions) != 1:
        found.append(invalid("spec.versions", versions, "must have exactly one version marked as storage version"))
    seen: set[str] = set()
    for i, v in enumerate(versions):
        at, name = f"spec.versions[{i}]", v.get("name", "")
        found += [invalid(f"{at}.name", name, p) for p in label_1035_problems(name)]
        if name in seen:
            found.append(duplicate(f"{at}.name", name))
        seen.add(name)
        schema = (v.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            found.append(required(f"{at}.schema.openAPIV3Schema", _NO_SCHEMA))
        else:
            where = f"{at}.schema.openAPIV3Schema"
            if schema.get("type") != "object":
                found.append(
                    invalid(f"{where}.type", schema.get("type", ""), "must be object at the root")
                    if schema.get("type")
                    else required(f"{where}.type", "must not be empty at the root")
                )
            found += _schema(schema, where, root=True)
    return found


def _schema(schema: Json, at: str, *, root: bool = False) -> list[FieldError]:
    """A structural schema: a type everywhere, no references."""
    found: list[FieldError] = []
    open_ = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not open_ and not root:
        found.append(required(f"{at}.type", "must not be empty for specified object fields"))
    if "$ref" in schema:
        found.append(forbidden(f"{at}.$ref", "$ref is not supported"))
    if schema.get("properties") and isinstance(schema.get("additionalProperties"), dict):
        detail = "additionalProperties and properties are mutual exclusive"
        found.append(forbidden(f"{at}.additionalProperties", detail))
    for name, inner in (schema.get("properties") or {}).items():
        if isinstance(inner, dict):
            found += _schema(inner, f"{at}.properties[{name}]")
    items = schema.get("items")
    if isinstance(items, dict):
        found += _schema(items, f"{at}.items")
    elif schema.get("type") == "array":
        found.append(required(f"{at}.items", "must be specified"))
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        found += _schema(extra, f"{at}.additionalProperties")
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map" and not schema.get("x-kubernetes-list-map-keys"):
        found.append(required(f"{at}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map"))
    return found
