"""OpenAPI: one v3 document for each group and version, v2 as JSON, and the empty v2 protobuf document.

Old clients (kubectl up to 1.28) ask for v2 in protobuf; an empty document makes them leave validation to the server.
Strategic merge patch is listed for built-in kinds, whose schemas tell merge keys; custom resources have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from netlab.api import MAJOR, MINOR, PATCH, Json, status
from netlab.api.catalogue import Resource
from netlab.api.schemas import PREFIX, definition_name, definitions, reference
from netlab.apiserver.call import Call, raw
from netlab.apiserver.registry import Registry

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SCALARS: dict[str, Json] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}
_QUERY: dict[str, tuple[str, str]] = {
    "pretty": ("string", "If 'true', then the output is pretty printed."),
    "dryRun": ("string", "When present, modifications are not to be persisted. The only value is All."),
    "fieldManager": ("string", "The name of the actor or entity that makes these changes."),
    "fieldValidation": ("string", "How unknown or duplicate fields are treated: Ignore, Warn or Strict."),
    "force": ("boolean", "Take fields over from other managers. Only for apply patches."),
    "labelSelector": ("string", "Restrict the list by labels."),
    "fieldSelector": ("string", "Restrict the list by fields."),
    "limit": ("integer", "The number of objects in one page."),
    "continue": ("string", "Where the last page ended."),
    "watch": ("boolean", "Watch for changes instead of listing."),
    "resourceVersion": ("string", "The version to read or watch from."),
    "timeoutSeconds": ("integer", "How long a list or watch may take."),
}
_ACTIONS = {
    "get": ("get", ("pretty",)),
    "list": ("list", ("pretty", "labelSelector", "fieldSelector", "limit", "continue", "watch", "resourceVersion",
                      "timeoutSeconds")),
    "create": ("post", ("pretty", "dryRun", "fieldManager", "fieldValidation")),
    "update": ("put", ("pretty", "dryRun", "fieldManager", "fieldValidation")),
    "patch": ("patch", ("pretty", "dryRun", "fieldManager", "fieldValidation", "force")),
    "delete": ("delete", ("pretty", "dryRun")),
    "deletecollection": ("deletecollection", ("pretty", "dryRun", "labelSelector", "fieldSelector")),
}  # fmt: skip


def plain_schema(value: Any) -> Any:
    """A definition of the package as OpenAPI has it: no nullable types, references into components."""
    if isinstance(value, dict):
        out = {}
        for key, inner in value.items():
            if key == "type" and isinstance(inner, list):
                out[key] = next((t for t in inner if t != "null"), "object")
            elif key == "$ref" and isinstance(inner, str):
                out[key] = "#/components/schemas/" + inner.removeprefix(PREFIX)
            elif key == "enum" and isinstance(inner, list) and value.get("type") == ["string", "null"]:
                kept = [v for v in inner if v is not None]
                if len(kept) > 1:  # a lone one is the package's way to pin apiVersion and kind
                    out[key] = kept
            else:
                out[key] = plain_schema(inner)
        if "$ref" in out and len(out) > 1:  # siblings of a reference are ignored: the published form wraps it
            return {**{k: v for k, v in out.items() if k != "$ref"}, "allOf": [{"$ref": out["$ref"]}], "default": {}}
        return out
    if isinstance(value, list):
        return [plain_schema(v) for v in value]
    return value


def _closure(names: list[str]) -> dict[str, Json]:
    """The definitions of these names and of all they refer to."""
    found: dict[str, Json] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found or name not in definitions():
            continue
        schema = definitions()[name]
        found[name] = _SCALARS.get(name) or plain_schema(schema)
        todo += _references(schema)
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        ref = reference(value)
        inner = [r for v in value.values() for r in _references(v)]
        return [ref, *inner] if ref is not None else inner
    if isinstance(value, list):
        return [r for v in value for r in _references(v)]
    return []


def _gvk(group: str, version: str, kind: str) -> Json:
    return {"group": group, "kind": kind, "version": version}


class OpenApi:
    """Documents of what the registry serves, made when they are asked for and anew when it changes."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._generation = -1
        self._cache: dict[str, bytes] = {}

    def serve(self, call: Call) -> web.StreamResponse | None:
        """The answer for an OpenAPI path, None if the path is none."""
        path = call.info.path.rstrip("/")
        if self._generation != self.registry.generation:
            self._generation, self._cache = self.registry.generation, {}
        accept = call.request.headers.get("Accept", "")
        if path == "/openapi/v2":
            if "proto-openapi.spec.v2" in accept:
                return raw(call, b"", 200, V2_PROTOBUF)
            return raw(call, self._document("v2", self._v2))
        if path == "/openapi/v3":
            return raw(call, self._document("v3", self._index))
        if path.startswith("/openapi/v3/"):
            where = path.removeprefix("/openapi/v3/")
            if where not in self._paths():
                raise status.ApiError(404, "NotFound", "the server could not find the requested resource", {})
            if "proto-openapi" in accept and "application/json" not in accept:
                raise status.not_acceptable("only the following media types are accepted: application/json")
            body = self._document(where, lambda: self._group(where))
            tag = '"' + _hash(body) + '"'
            response = raw(call, b"", 304) if call.request.headers.get("If-None-Match") == tag else raw(call, body)
            response.headers["ETag"] = tag
            if call.query.get("hash") == tag.strip('"'):
                response.headers["Cache-Control"] = "public, immutable"
            return response
        return None

    def _document(self, key: str, make: Any) -> bytes:
        if key not in self._cache:
            self._cache[key] = orjson.dumps(make())
        return self._cache[key]

    def _paths(self) -> dict[str, tuple[str, str, list[Resource]]]:
        return {
            (f"apis/{g}/{v}" if g else f"api/{v}"): (g, v, rs)
            for g, vs in self.registry.groups().items()
            for v, rs in vs.items()
        }

    def _index(self) -> Json:
        paths = {}
        for where, (group, version, resources) in self._paths().items():
            # a document is hashed by what it is made from: making all of them for the index would take a second
            custom = [orjson.dumps(self._schema_of(r)).decode() for r in resources if r.custom]
            known = repr([(group, version, r.plural, r.verbs) for r in resources]) + "".join(custom)
            paths[where] = {"serverRelativeURL": f"/openapi/v3/{where}?hash={_hash(known.encode())}"}
        return {"paths": paths}

    def _schema_of(self, resource: Resource) -> Json:
        kind = self.registry.find(resource.group, resource.version, resource.plural)
        schema = getattr(kind, "published", None)
        return schema() if schema is not None else {}

    def _component(self, resource: Resource) -> tuple[str, Json | None]:
        """The name of a kind's schema, and the schema itself where it is no official definition."""
        if resource.custom:
            reverse = ".".join(reversed(resource.group.split(".")))
            schema = dict(self._schema_of(resource))
            schema["x-kubernetes-group-version-kind"] = [_gvk(resource.group, resource.version, resource.kind)]
            return f"{reverse}.{resource.version}.{resource.kind}", schema
        own = definition_name(resource.group, resource.version, resource.kind)
        if own is not None:
            return own, None
        stored = definition_name(*resource.storage, resource.kind)
        name = f"io.k8s.api.{resource.group.partition('.')[0]}.{resource.version}.{resource.kind}"
        schema = dict(plain_schema(definitions()[stored])) if stored else {"type": "object"}
        schema["x-kubernetes-group-version-kind"] = [_gvk(resource.group, resource.version, resource.kind)]
        return name, schema

    def _group(self, where: str) -> Json:
        _, _, resources = self._paths()[where]
        paths, schemas = self._describe(resources)
        return {
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": f"v{MAJOR}.{MINOR}.{PATCH}"},
            "paths": paths, "components": {"schemas": schemas},
        }  # fmt: skip

    def _describe(self, resources: list[Resource]) -> tuple[Json, dict[str, Json]]:
        names, extra = (
            [f"{_META}DeleteOptions", f"{_META}Status", f"{_META}ListMeta", f"{_META}ObjectMeta", f"{_META}Patch"],
            {},
        )
        paths: Json = {}
        for r in resources:
            name, schema = self._component(r)
            stored = definition_name(*r.storage, r.kind)
            if schema is not None:
                extra[name] = schema
                names += [stored] if stored else []
            else:
                names.append(name)
            if "list" in r.verbs:
                list_name, list_schema = self._list_of(r, name)
                extra.setdefault(list_name, list_schema)
            self._add_paths(paths, r, name)
        return paths, {**_closure(names), **extra}

    @staticmethod
    def _list_of(r: Resource, name: str) -> tuple[str, Json]:
        text = {"type": "string", "description": "See https://git.k8s.io/community/contributors/devel/sig-architecture"
                                                 "/api-conventions.md#types-kinds"}  # fmt: skip
        meta = {"allOf": [{"$ref": f"#/components/schemas/{_META}ListMeta"}], "default": {}}
        items = {"type": "array", "items": {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "default": {}}}
        schema = {
            "description": f"{r.kind}List is a list of {r.kind}", "type": "object", "required": ["items"],
            "properties": {"apiVersion": text, "kind": text, "metadata": meta, "items": items},
            "x-kubernetes-group-version-kind": [_gvk(r.group, r.version, r.list_kind or f"{r.kind}List")],
        }  # fmt: skip
        return f"{name}List", schema

    def _add_paths(self, paths: Json, r: Resource, name: str) -> None:
        base = f"/apis/{r.group}/{r.version}" if r.group else f"/api/{r.version}"
        many = f"{base}/namespaces/{{namespace}}/{r.plural}" if r.namespaced else f"{base}/{r.plural}"
        collection = [v for v in ("list", "create", "deletecollection") if v in r.verbs]
        paths[many] = self._item(r, name, collection, namespaced=r.namespaced, named=False)
        single = [v for v in ("get", "update", "patch", "delete") if v in r.verbs]
        if single:
            paths[f"{many}/{{name}}"] = self._item(r, name, single, namespaced=r.namespaced, named=True)
        if r.namespaced and "list" in r.verbs:
            paths[f"{base}/{r.plural}"] = self._item(r, name, ["list"], namespaced=False, named=False)
        for s in r.subresources:
            if s.name in ("status", "scale") and not s.group:
                verbs = [v for v in ("get", "update", "patch") if v in s.verbs]
                paths[f"{many}/{{name}}/{s.name}"] = self._item(r, name, verbs, namespaced=r.namespaced, named=True)

    @staticmethod
    def _item(r: Resource, name: str, verbs: Sequence[str], *, namespaced: bool, named: bool) -> Json:
        def parameter(key: str, where: str, kind: str, text: str) -> Json:
            return {"name": key, "in": where, "description": text, "schema": {"type": kind, "uniqueItems": True},
                    **({"required": True} if where == "path" else {})}  # fmt: skip

        item: Json = {"parameters": []}
        if namespaced:
            text = "object name and auth scope, such as for teams and projects"
            item["parameters"].append(parameter("namespace", "path", "string", text))
        if named:
            item["parameters"].append(parameter("name", "path", "string", f"name of the {r.kind}"))
        ref = {"schema": {"$ref": f"#/components/schemas/{name}"}}
        for verb in verbs:
            action, query = _ACTIONS[verb]
            method = {"list": "get", "deletecollection": "delete"}.get(action, action)
            listed = {"schema": {"$ref": f"#/components/schemas/{name}List"}} if verb == "list" else ref
            operation: Json = {
                "description": f"{verb} {r.kind}", "tags": [f"{r.group or 'core'}_{r.version}"],
                "x-kubernetes-action": action, "x-kubernetes-group-version-kind": _gvk(r.group, r.version, r.kind),
                "parameters": [parameter(q, "query", *_QUERY[q]) for q in query],
                "responses": {"200": {"description": "OK", "content": {"application/json": listed}}},
            }  # fmt: skip
            if verb in ("create", "update"):
                operation["requestBody"] = {"content": {"*/*": ref}, "required": True}
            elif verb == "patch":
                types = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]
                if not r.custom and definition_name(*r.storage, r.kind) is not None:
                    types.append("application/strategic-merge-patch+json")
                body = {"schema": {"$ref": f"#/components/schemas/{_META}Patch"}}
                operation["requestBody"] = {"content": dict.fromkeys(types, body), "required": True}
            item[method] = operation
        return item

    def _v2(self) -> Json:
        paths: Json = {}
        schemas: dict[str, Json] = {}
        for _, _, resources in self._paths().values():
            more, found = self._describe(resources)
            schemas.update(found)
            for path, item in more.items():
                paths[path] = {k: _operation_v2(v) if isinstance(v, dict) else [_parameter_v2(p) for p in v]
                               for k, v in item.items()}  # fmt: skip
        text = orjson.dumps({"definitions": schemas, "paths": paths}).replace(
            b"#/components/schemas/", b"#/definitions/"
        )
        return {
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": f"v{MAJOR}.{MINOR}.{PATCH}"},
            **orjson.loads(text),
        }  # fmt: skip


def _parameter_v2(p: Json) -> Json:
    schema = p.get("schema") or {}
    return {k: v for k, v in p.items() if k != "schema"} | {"type": schema.get("type", "string"), "uniqueItems": True}


def _operation_v2(operation: Json) -> Json:
    out = {k: v for k, v in operation.items() if k not in ("requestBody", "responses", "parameters")}
    out["parameters"] = [_parameter_v2(p) for p in operation.get("parameters", ())]
    body = operation.get("requestBody")
    if body:
        content = body["content"]
        out["parameters"].append({"name": "body", "in": "body", "required": True, **next(iter(content.values()))})
        out["consumes"] = list(content)
    responses = {}
    for code, response in operation.get("responses", {}).items():
        content = response.get("content") or {}
        responses[code] = {"description": response["description"], **next(iter(content.values()), {})}
    out["responses"], out["produces"] = responses, ["application/json"]
    return out


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest().upper()[:32]
