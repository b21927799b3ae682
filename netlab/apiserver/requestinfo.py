"""What a request asks for, from its method and path alone. Source: apiserver pkg/endpoints/request/requestinfo.go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: subresources of namespaces, where a path's third step is not a resource
_NAMESPACE_PARTS = ("status", "finalize")


@dataclass(slots=True)
class RequestInfo:
    """resource: whether the path is one of an API resource; verb: as RBAC knows it (get, list, watch …), or the
    method in lower case for another path; parts: everything behind the subresource (of a proxy)."""

    resource: bool
    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    parts: tuple[str, ...] = ()


def truthy(value: str | None) -> bool:
    """A boolean query parameter, as the original reads it: there, and neither 0 nor false."""
    return value is not None and value.lower() not in ("0", "false")


def request_info(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """What a request asks for."""
    lower = method.lower()
    steps = [s for s in path.split("/") if s]
    if len(steps) < 3 or steps[0] not in ("api", "apis"):
        return RequestInfo(False, lower, path)
    if steps[0] == "api":
        group, version, rest = "", steps[1], steps[2:]
    else:
        if len(steps) < 4:
            return RequestInfo(False, lower, path)
        group, version, rest = steps[1], steps[2], steps[3:]
    verb = _VERBS.get(method, "")
    watch = False
    if rest[0] == "watch" and len(rest) > 1:  # the deprecated form of a watch
        watch, rest = True, rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_PARTS:
            rest = rest[2:]
    plural = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if not name and verb == "get":
        verb = "watch" if truthy(query.get("watch")) else "list"
    elif not name and verb == "delete":
        verb = "deletecollection"
    if watch:
        verb = "watch"
    return RequestInfo(True, verb, path, group, version, namespace, plural, name, subresource, tuple(rest[3:]))
