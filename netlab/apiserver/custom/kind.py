"""The kind of a custom resource in one of its versions, made from its definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netlab.api import Json
from netlab.api.catalogue import ALL_VERBS, Resource, Subresource
from netlab.api.columns import Columns, definition
from netlab.api.columns.ages import age
from netlab.api.fielderrors import FieldError
from netlab.api.jsonpath import find
from netlab.api.managed import Type, of_schema
from netlab.api.schemas import PREFIX
from netlab.api.strategies import Strategy
from netlab.apiserver.custom import rules
from netlab.apiserver.custom import schema as schemas
from netlab.apiserver.custom.conversion import WebhookConversion
from netlab.apiserver.webhooks.caller import Caller

_STATUS_VERBS = ("get", "patch", "update")


@dataclass(slots=True)
class CustomKind:
    """See `netlab.apiserver.kinds.Kind`."""

    resource: Resource
    strategy: Strategy
    type: Type
    schema: Json
    columns: list[Json]
    selectable: tuple[str, ...] = ()
    scale_paths: tuple[str, str, str] | None = None
    several: bool = False
    definition: str | None = None
    conversion: WebhookConversion | None = None
    _defaults: bool = False
    _rules: bool = False

    def decode(self, obj: Json, unknown: list[str]) -> Json:
        """Pruned, its metadata decoded, in the stored version."""
        metadata = schemas.object_meta(obj.get("metadata") or {}, unknown, ((), "metadata"))
        body = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
        pruned = schemas.prune(body, self.schema, unknown, root=True)
        return {"kind": self.resource.kind, "apiVersion": self.held, "metadata": metadata, **pruned}

    def default(self, obj: Json) -> None:
        schemas.default(obj, self.schema)

    def validate(self, obj: Json, old: Json | None, part: str = "") -> list[FieldError]:
        errors = schemas.validate(obj, self.schema, "", root=True)
        if errors or not self._rules:
            return errors
        return rules.check(obj, rules.MISSING if old is None else old, self.schema)

    def show(self, obj: Json) -> Json:
        obj["apiVersion"] = self.resource.api_version
        if self._defaults:
            schemas.default(obj, self.schema)
        return obj

    def blank(self) -> Json:
        return {"kind": self.resource.kind, "apiVersion": self.held, "metadata": {}}

    @property
    def held(self) -> str:
        """apiVersion of objects on their way."""
        return self.resource.stored_version if self.conversion is None else self.resource.api_version

    @property
    def raw(self) -> bool:
        """Several versions may be in the store, and defaults are filled in at reading."""
        return not self.several and not self._defaults

    def table(self) -> Columns:
        """Name, and the definition's columns; the age if it has none."""
        heads: list[Json] = [definition("Name")]
        for c in self.columns:
            head = {"name": c["name"], "type": c["type"], "format": c.get("format", ""),
                    "description": c.get("description", ""), "priority": c.get("priority", 0)}  # fmt: skip
            heads.append(head)
        return Columns(tuple(heads), self._cells)

    def _cells(self, obj: Json, now: float) -> list[Any]:
        cells: list[Any] = [obj["metadata"]["name"]]
        for c in self.columns:
            found = find(obj, c["jsonPath"])
            if not found:
                cells.append(None)
            elif c["type"] == "date":
                cells.append(age(found[0], now))
            elif c["type"] in ("integer", "number", "boolean") and isinstance(found[0], int | float):
                cells.append(found[0])
            else:
                cells.append(",".join(_text(v) for v in found))
        return cells

    def published(self) -> Json:
        """The schema as OpenAPI shows it."""
        out = {k: v for k, v in self.schema.items() if k != "properties"}
        properties = dict(self.schema.get("properties") or {})
        text = "See https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#"
        properties["apiVersion"] = {"type": "string", "description": text + "resources"}
        properties["kind"] = {"type": "string", "description": text + "types-kinds"}
        ref = {"$ref": f"#/components/schemas/{schemas.OBJECT_META}"}
        properties["metadata"] = {"allOf": [ref], "description": text.removesuffix("#") + "#metadata"}
        return {**out, "type": "object", "properties": properties}


def _text(value: Any) -> str:
    import orjson

    match value:
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return orjson.dumps(value).decode()
        case _:
            return str(value)


def kinds_of(crd: Json, caller: Caller) -> list[CustomKind]:
    """The kinds of a definition that is established, one for each served version."""
    spec = crd["spec"]
    names = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
    group, versions = spec["group"], spec["versions"]
    stored = next(v["name"] for v in versions if v.get("storage"))
    conversion = None
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        conversion = WebhookConversion(caller, spec["conversion"]["webhook"], names["kind"])
    found = []
    for v in sorted(versions, key=_priority):
        if not v.get("served"):
            continue
        schema = (v.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
        subs, parts = [], v.get("subresources") or {}
        scale = parts.get("scale")
        if "status" in parts:
            subs.append(Subresource("status", group, v["name"], names["kind"], _STATUS_VERBS))
        if scale:
            subs.append(Subresource("scale", "autoscaling", "v1", "Scale", _STATUS_VERBS))
        resource = Resource(
            group, v["name"], names["kind"], names["plural"], names.get("singular") or names["kind"].lower(),
            tuple(names.get("shortNames") or ()), tuple(names.get("categories") or ()),
            spec["scope"] == "Namespaced", ALL_VERBS, tuple(subs), f"/registry/{group}/{names['plural']}/",
            (group, stored), names.get("listKind") or f"{names['kind']}List", custom=True,
        )  # fmt: skip
        columns = v.get("additionalPrinterColumns") or [
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
        ]
        paths = None
        if scale:
            paths = (scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))
        fields = tuple(f["jsonPath"].strip(".") for f in v.get("selectableFields") or ())
        status = "status" in parts
        kind = CustomKind(
            resource, Strategy(status=status, wipe=status, generation=True, unconditional=False), _type(schema), schema,
            columns, fields, paths, several=len(versions) > 1, conversion=conversion,
        )  # fmt: skip
        kind._defaults, kind._rules = schemas.has_defaults(schema), rules.has_rules(schema)
        found.append(kind)
    return found


def _type(schema: Json) -> Type:
    properties = {**(schema.get("properties") or {}), "metadata": {"$ref": f"{PREFIX}{schemas.OBJECT_META}"}}
    return of_schema({**schema, "type": "object", "properties": properties})


def _priority(version: Json) -> tuple[int, int, int, str]:
    """v2 before v1 before v1beta2 before v1alpha1 before anything else."""
    import re

    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version["name"])
    if not match:
        return (3, 0, 0, version["name"])
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")
