"""From a request's information to the handler of its verb: discovery, OpenAPI, resources and their subresources."""

from __future__ import annotations

from aiohttp import web

from netlab.api import Json, status
from netlab.api.catalogue import Subresource
from netlab.apiserver import deleting, patching, reading, usages, watching, writing
from netlab.apiserver.admission import Attributes
from netlab.apiserver.call import Call
from netlab.apiserver.discovery import Discovery
from netlab.apiserver.handlers import Context
from netlab.apiserver.health import Health
from netlab.apiserver.kinds import Kind
from netlab.apiserver.openapi import OpenApi
from netlab.apiserver.requestinfo import truthy
from netlab.apiserver.reviews import Reviews
from netlab.apiserver.subresources import Subresources
from netlab.apiserver.usages import Usages

#: subresources that connect a client with something else
CONNECTS = ("exec", "attach", "portforward", "proxy")

_PLAIN = {
    "get": reading.get, "list": reading.list_, "watch": watching.watch, "create": writing.create, "update": writing.put,
    "patch": patching.patch, "delete": deleting.delete, "deletecollection": deleting.delete_collection,
}  # fmt: skip


class Router:
    """The end of the chain."""

    def __init__(
        self,
        ctx: Context,
        discovery: Discovery,
        openapi: OpenApi,
        health: Health,
        subresources: Subresources,
        reviews: Reviews,
        usages_: Usages,
    ) -> None:
        self.ctx, self.discovery, self.openapi, self.health = ctx, discovery, openapi, health
        self.subresources, self.reviews, self.usages = subresources, reviews, usages_

    async def __call__(self, call: Call) -> web.StreamResponse:
        """The answer. ApiError."""
        info = call.info
        if not info.resource:
            return await self._other(call)
        kind = self.ctx.registry.find(info.group, info.version, info.plural)
        if kind is None:
            raise status.no_such_path()
        if not info.verb:
            raise status.method_not_allowed()
        r = kind.resource
        if r.namespaced and not info.namespace and info.verb not in ("list", "watch"):
            # a namespaced resource is written below its namespace only
            raise status.no_such_path() if info.name else status.method_not_allowed()
        if not r.namespaced and info.namespace and not (r.plural == "namespaces"):
            raise status.no_such_path()
        if info.subresource:
            return await self._subresource(call, kind)
        if info.verb not in r.verbs and not (info.verb == "create" and info.name):
            raise status.method_not_allowed()
        if info.verb == "create" and info.name:
            raise status.method_not_allowed()
        if r.group in ("authentication.k8s.io", "authorization.k8s.io"):
            return await self.reviews.create(self.ctx, call, kind)
        if r.group == usages.GROUP:
            return await self.usages(call, kind)
        if r.group == "" and r.plural == "bindings":
            return await self._binding(call)
        if r.group == "" and r.plural == "componentstatuses":
            return await self._components(call, kind)
        return await _PLAIN[info.verb](self.ctx, call, kind)

    async def _binding(self, call: Call) -> web.StreamResponse:
        """POST of a Binding: the pod's subresource under its old address."""
        from netlab.apiserver import bodies

        value = bodies.parse(await bodies.read(call.request), bodies.media_type(call.request.headers))
        name = (value.get("metadata") or {}).get("name", "") if isinstance(value, dict) else ""
        raise status.not_found("pods", "", str(name))

    async def _components(self, call: Call, kind: Kind) -> web.StreamResponse:
        """GET of the deprecated componentstatuses: there are no components to ask."""
        call.warn("v1 ComponentStatus is deprecated in v1.19+")
        if call.info.name:
            raise status.not_found("componentstatuses", "", call.info.name)
        return await reading.list_(self.ctx, call, kind)

    async def _connect(self, call: Call, kind: Kind, subresource: Subresource) -> None:
        """Admission of a connection to a pod. ApiError."""
        info = call.info
        options: Json = {"kind": subresource.kind, "apiVersion": "v1"}
        for name in ("stdin", "stdout", "stderr", "tty"):
            if name in call.query:
                options[name] = truthy(call.query[name])
        options |= {n: call.query[n] for n in ("container", "path") if call.query.get(n)}
        if subresource.name == "exec":
            options["command"] = call.query.getall("command", []) if hasattr(call.query, "getall") else []
        a = Attributes(
            "CONNECT", kind, info.namespace, info.name, subresource.name, options, None, call.user, False, call
        )
        await self.ctx.admission.mutate(a)
        await self.ctx.admission.validate(a)

    async def _subresource(self, call: Call, kind: Kind) -> web.StreamResponse:
        found = kind.resource.subresource(call.info.subresource)
        if found is None:
            raise status.no_such_path()
        verb = "get" if call.info.verb == "watch" else call.info.verb
        if verb not in found.verbs:
            raise status.method_not_allowed()
        if found.name in CONNECTS:
            await self._connect(call, kind, found)
        special = self.subresources.find(kind.resource, found)
        if special is not None:
            return await special(call, kind)
        if found.name == "status":
            return await _PLAIN[verb](self.ctx, call, kind)
        raise status.no_such_path()

    async def _other(self, call: Call) -> web.StreamResponse:
        path = call.info.path
        if call.request.method in ("GET", "HEAD"):
            if path.startswith(("/api", "/apis")):
                found = self.discovery.serve(call)
                if found is not None:
                    return found
            if path.startswith("/openapi/"):
                found = self.openapi.serve(call)
                if found is not None:
                    return found
            found = await self.health.serve(call)
            if found is not None:
                return found
        raise status.no_such_path()
