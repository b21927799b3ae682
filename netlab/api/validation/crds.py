"""Validation of CustomResourceDefinitions. Source: apiextensions-apiserver pkg/apis/apiextensions/validation."""

from __future__ import annotations

import re
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, not_supported, required, too_many
from netlab.api.names import label_1035_problems, subdomain_problems
from netlab.api.validation import crd_schemas
from netlab.api.validation.admission import client_config, review_versions

_NO_SCHEMA = "schemas are required"
#: a simple path: names, no indices
_PATH = re.compile(r"(\.[^.\[\]*?@()'\" ]+)+")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE_TYPES = ("string", "boolean", "integer")
SELECTABLE_MAX = 8


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
    if spec.get("preserveUnknownFields"):
        found.append(invalid("spec.preserveUnknownFields", True, "must be false"))
    versions = spec.get("versions") or []
    found += _versions(versions) + _conversion(spec.get("conversion") or {"strategy": "None"})
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
            found += crd_schemas.whole(schema, f"{at}.schema.openAPIV3Schema")
        found += _subresources(v.get("subresources") or {}, f"{at}.subresources")
        found += _columns(v.get("additionalPrinterColumns") or [], f"{at}.additionalPrinterColumns")
        found += _selectable(v.get("selectableFields") or [], schema or {}, f"{at}.selectableFields")
    return found


def _subresources(parts: Json, at: str) -> list[FieldError]:
    scale = parts.get("scale")
    if scale is None:
        return []
    found: list[FieldError] = []
    for name, below in (("specReplicasPath", (".spec.",)), ("statusReplicasPath", (".status.",)),
                        ("labelSelectorPath", (".spec.", ".status."))):  # fmt: skip
        path = scale.get(name)
        if not path:
            if name != "labelSelectorPath":
                found.append(required(f"{at}.scale.{name}"))
        elif not _PATH.fullmatch(path):
            found.append(invalid(f"{at}.scale.{name}", path, "should be a simple json path without array notation"))
        elif not path.startswith(below):
            wanted = " or ".join(b.rstrip(".") for b in below)
            found.append(invalid(f"{at}.scale.{name}", path, f"should be a json path under {wanted}"))
    return found


def _columns(columns: list[Json], at: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, column in enumerate(columns):
        here, kind, form = f"{at}[{i}]", column.get("type", ""), column.get("format", "")
        if not column.get("name"):
            found.append(required(f"{here}.name"))
        if not kind:
            found.append(required(f"{here}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
        elif kind not in _COLUMN_TYPES:
            found.append(invalid(f"{here}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
        if form and form not in _COLUMN_FORMATS:
            found.append(invalid(f"{here}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
        path = column.get("jsonPath", "")
        if not path:
            found.append(required(f"{here}.jsonPath"))
        elif not path.startswith("."):
            found.append(invalid(f"{here}.jsonPath", path, "is invalid: must start with ."))
    return found


def _selectable(fields: list[Json], schema: Json, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    if len(fields) > SELECTABLE_MAX:
        found.append(too_many(at, len(fields), SELECTABLE_MAX))
    seen: set[str] = set()
    for i, field in enumerate(fields):
        here, path = f"{at}[{i}].jsonPath", field.get("jsonPath", "")
        if not path:
            found.append(required(here))
            continue
        if path in seen:
            found.append(duplicate(here, path))
        seen.add(path)
        if not _PATH.fullmatch(path):
            found.append(invalid(here, path, "is an invalid path: must be a simple json path without array notation"))
            continue
        if path.startswith(".metadata"):
            found.append(invalid(here, path, "must not point to fields in metadata"))
            continue
        inner: Any = schema
        for step in path[1:].split("."):
            inner = (inner.get("properties") or {}).get(step) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            found.append(invalid(here, path, "is an invalid path: does not refer to a valid field"))
        elif inner.get("type") not in _SELECTABLE_TYPES:
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
            )
            found.append(invalid(here, path, detail + "are allowed."))
    return found


def _conversion(conversion: Json) -> list[FieldError]:
    at, strategy = "spec.conversion", conversion.get("strategy", "")
    webhook = conversion.get("webhook")
    if not strategy:
        return [required(f"{at}.strategy")]
    if strategy not in ("None", "Webhook"):
        return [not_supported(f"{at}.strategy", strategy, ["None", "Webhook"])]
    if strategy == "None":
        detail = "should not be set when strategy is not set to Webhook"
        return [forbidden(f"{at}.webhook", detail)] if webhook is not None else []
    if webhook is None or webhook.get("clientConfig") is None:
        return [required(f"{at}.webhook.clientConfig", "required when strategy is set to Webhook")]
    found = client_config(webhook["clientConfig"], f"{at}.webhook.clientConfig")
    return found + review_versions(webhook.get("conversionReviewVersions") or [],
                                   f"{at}.webhook.conversionReviewVersions")  # fmt: skip
