"""Discovery in its three forms: legacy documents, aggregated v2beta1 and aggregated v2."""

from __future__ import annotations

import base64
import hashlib

import orjson
from aiohttp import web

from netlab.api import MAJOR, MINOR, PATCH, Json, status
from netlab.api.catalogue import Resource
from netlab.apiserver.call import Call, answer, raw
from netlab.apiserver.negotiate import negotiate
from netlab.apiserver.registry import Registry

_GROUP = "apidiscovery.k8s.io"
_AGGREGATED = "APIGroupDiscoveryList"


def version() -> Json:
    """What /version tells."""
    return {
        "major": str(MAJOR), "minor": str(MINOR), "emulationMajor": str(MAJOR), "emulationMinor": str(MINOR),
        "minCompatibilityMajor": str(MAJOR), "minCompatibilityMinor": str(MINOR - 1),
        "gitVersion": f"v{MAJOR}.{MINOR}.{PATCH}+netlab", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "CPython", "platform": "linux/amd64",
    }  # fmt: skip


class Discovery:
    """Documents by path, made anew when the registry changes. address: `host:port` that clients reach us at."""

    def __init__(self, registry: Registry, address: str) -> None:
        self.registry, self.address = registry, address
        self._generation = -1
        self._cache: dict[str, bytes] = {}

    def serve(self, call: Call) -> web.StreamResponse | None:
        """The answer for a discovery path, None if the path is none."""
        path = call.info.path.rstrip("/")
        if self._generation != self.registry.generation:
            self._generation, self._cache = self.registry.generation, {}
        accept = call.request.headers.get("Accept", "")
        if path in ("/api", "/apis"):
            form = negotiate(accept, (_AGGREGATED,), group=_GROUP)
            if form.as_ == _AGGREGATED and form.version in ("v2", "v2beta1"):
                body = self._cached(f"{path}:{form.version}", lambda: self._aggregated(path == "/api", form.version))
                kind = f"application/json;g={_GROUP};v={form.version};as={_AGGREGATED}"
                return self._tagged(call, body, kind)
        document = self._cached(path, lambda: self._legacy(path))
        if document == b"null":
            return None
        form = negotiate(accept if _AGGREGATED not in accept else "")
        return answer(call, orjson.loads(document), form=form) if form.yaml else raw(call, document)

    def _tagged(self, call: Call, body: bytes, kind: str) -> web.StreamResponse:
        tag = '"' + hashlib.sha256(body).hexdigest().upper() + '"'
        if call.request.headers.get("If-None-Match") == tag:
            response = raw(call, b"", 304, kind)
        else:
            response = raw(call, body, 200, kind)
        response.headers["ETag"] = tag
        response.headers["Vary"] = "Accept"
        response.headers["Cache-Control"] = "public"
        return response

    def _cached(self, key: str, make: object) -> bytes:
        if key not in self._cache:
            if len(self._cache) > 1000:  # paths that do not exist
                self._cache.clear()
            self._cache[key] = orjson.dumps(make())  # type: ignore[operator]
        return self._cache[key]

    def _legacy(self, path: str) -> Json | None:
        steps = path.strip("/").split("/")
        groups = self.registry.groups()
        match steps:
            case ["api"]:
                clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self.address}]
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}
            case ["apis"]:
                listed = [self._group(g, list(v)) for g, v in groups.items() if g]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
            case ["apis", group] if group in groups and group:
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group, list(groups[group]))}
            case ["api", "v1"]:
                return self._resources("", "v1", groups[""]["v1"])
            case ["apis", group, ver] if group and ver in groups.get(group, {}):
                return self._resources(group, ver, groups[group][ver])
            case _:
                return None

    @staticmethod
    def _group(group: str, versions: list[str]) -> Json:
        named = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions]
        return {"name": group, "versions": named, "preferredVersion": named[0]}

    @staticmethod
    def _resources(group: str, ver: str, resources: list[Resource]) -> Json:
        listed = []
        for r in sorted(resources, key=lambda r: r.plural):
            entry: Json = {
                "name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind,
                "verbs": list(r.verbs),
            }  # fmt: skip
            if r.short:
                entry["shortNames"] = list(r.short)
            if r.categories:
                entry["categories"] = list(r.categories)
            if "list" in r.verbs:
                text = f"{r.group}/{r.version}/{r.kind}"
                entry["storageVersionHash"] = base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()
            listed.append(entry)
            for s in r.subresources:
                entry = {
                    "name": f"{r.plural}/{s.name}", "singularName": "", "namespaced": r.namespaced, "kind": s.kind,
                    "verbs": list(s.verbs),
                }  # fmt: skip
                if s.group or s.version:
                    entry |= {"group": s.group, "version": s.version}
                listed.append(entry)
        return {
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{ver}" if group else ver,
            "resources": listed,
        }  # fmt: skip

    def _aggregated(self, core: bool, ver: str) -> Json:
        items = []
        for group, versions in self.registry.groups().items():
            if core != (group == ""):
                continue
            shown = [
                {"version": v, "resources": [self._entry(r) for r in sorted(rs, key=lambda r: r.plural)],
                 "freshness": "Current"}
                for v, rs in versions.items()
            ]  # fmt: skip
            metadata: Json = {"creationTimestamp": None}
            if group:
                metadata["name"] = group
            items.append({"metadata": metadata, "versions": shown})
        return {"kind": _AGGREGATED, "apiVersion": f"{_GROUP}/{ver}", "metadata": {}, "items": items}

    @staticmethod
    def _entry(r: Resource) -> Json:
        entry: Json = {
            "resource": r.plural, "responseKind": {"group": "", "version": "", "kind": r.kind},
            "scope": "Namespaced" if r.namespaced else "Cluster", "singularResource": r.singular,
            "verbs": list(r.verbs),
        }  # fmt: skip
        if r.custom:
            entry["responseKind"] = {"group": r.group, "version": r.version, "kind": r.kind}
        if r.short:
            entry["shortNames"] = list(r.short)
        if r.categories:
            entry["categories"] = list(r.categories)
        if r.subresources:
            entry["subresources"] = [
                {
                    "subresource": s.name, "verbs": list(s.verbs),
                    "responseKind": {"group": s.group, "version": s.version, "kind": s.kind},
                }
                for s in r.subresources
            ]  # fmt: skip
        return entry


def check_group(registry: Registry, group: str, ver: str) -> None:
    """ApiError 404 if a group's version is not served."""
    if ver not in registry.groups().get(group, {}):
        raise status.no_such_path()
