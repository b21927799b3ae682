"""A small API server in this process: objects by path, revisions, list in pages, watch with bookmarks and history.

Enough for a client's tests, and no more: no schemas, no admission; a strategic merge is a merge in which lists of
conditions are merged by type.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

Object = dict[str, Any]


def merged(old: Any, patch: Any, *, strategic: bool, field: str = "") -> Any:
    """RFC 7386, and of strategic merge what a node's conditions need."""
    if strategic and field == "conditions" and isinstance(old, list):
        named = {item["type"]: item for item in old}
        for item in patch:
            named[item["type"]] = named.get(item["type"], {}) | item
        return list(named.values())
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value, strategic=strategic, field=name)
    return result


class FakeApi:
    """objects: by path. requests: what was asked, (method, path, headers). Fields below play tricks on clients."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.revision = 1
        self.history: list[tuple[int, str, Object]] = []
        self.compacted = 0
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[tuple[str, str, Any]] = []
        self.watches = 0
        #: refuse all with this status; end watches after so many events; send this text to the next watch
        self.broken = 0
        self.hang_up_after: int | None = None
        self.say: bytes | None = None
        #: say nothing to watches
        self.silent = False
        self.url = ""
        self._changed = asyncio.Event()
        self._stopping = False
        self._runner: web.AppRunner | None = None
        self._open: set[asyncio.Transport] = set()

    async def start(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._stopping, self._changed = False, asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"

    async def stop(self) -> None:
        if self._runner:
            self.cut()
            # aiohttp waits for handlers, and these never end by themselves
            self._stopping = True
            self._changed.set()
            await self._runner.cleanup()
            self._runner = None

    def cut(self) -> None:
        """Break all watches off."""
        for transport in list(self._open):
            transport.abort()

    def put(self, path: str, obj: Object) -> Object:
        """Create or replace by hand."""
        kind = "MODIFIED" if path in self.objects else "ADDED"
        self.revision += 1
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        metadata["resourceVersion"] = str(self.revision)
        metadata.setdefault("name", path.rpartition("/")[2])
        self.objects[path] = obj
        self._tell(kind, path, obj)
        return obj

    def drop(self, path: str) -> Object:
        self.revision += 1
        obj = self.objects.pop(path)
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._tell("DELETED", path, obj)
        return obj

    def compact(self) -> None:
        self.compacted = self.revision
        self.history.clear()

    def bookmark(self) -> None:
        """Nothing of note happens elsewhere; watchers are told how far all is well."""
        self.revision += 1
        self._tell("BOOKMARK", "*", {"kind": "Node", "metadata": {"resourceVersion": str(self.revision)}})

    def _tell(self, kind: str, path: str, obj: Object) -> None:
        self.history.append((self.revision, path.rpartition("/")[0], {"type": kind, "object": copy.deepcopy(obj)}))
        self._changed.set()
        self._changed = asyncio.Event()

    @staticmethod
    def status(code: int, reason: str, message: str) -> web.Response:
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                "message": message, "details": {"name": "x"}}  # fmt: skip
        return web.json_response(body, status=code)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        body = json.loads(await request.read() or b"null")
        self.bodies.append((request.method, path, body))
        if self.broken:
            return self.status(self.broken, "InternalError", "out of order")
        if request.method == "GET":
            if request.query.get("watch"):
                return await self._watch(request)
            return self._get(request)
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return self.status(409, "AlreadyExists", f"{path} already exists")
            return web.json_response(self.put(path, body), status=201)
        at = path.removesuffix("/status")
        if at not in self.objects:
            return self.status(404, "NotFound", f"{path} not found")
        if request.method == "DELETE":
            return web.json_response(self.drop(at))
        if request.method == "PUT":
            if body["metadata"].get("resourceVersion") not in (None, self.objects[at]["metadata"]["resourceVersion"]):
                return self.status(409, "Conflict", "the object has been modified")
            return web.json_response(self.put(at, body))
        strategic = "strategic" in request.headers["Content-Type"]
        return web.json_response(self.put(at, merged(self.objects[at], body, strategic=strategic)))

    def _get(self, request: web.Request) -> web.Response:
        path = request.path
        if path in self.objects:
            return web.json_response(self.objects[path])
        if not path.endswith("s"):
            return self.status(404, "NotFound", f"{path} not found")
        items = [obj for at, obj in sorted(self.objects.items()) if at.rpartition("/")[0] == path]
        metadata: Object = {"resourceVersion": str(self.revision)}
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 0)) or len(items)
        if start + limit < len(items):
            metadata["continue"] = str(start + limit)
        return web.json_response({"kind": "List", "metadata": metadata, "items": items[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches += 1
        at = int(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        assert request.transport
        self._open.add(request.transport)
        try:
            if self.say is not None:
                said, self.say = self.say, None
                await response.write(said)
                return response
            if at < self.compacted:
                gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                return response
            sent = 0
            while True:
                changed = self._changed
                for revision, path, event in list(self.history):
                    if self.silent or revision <= at or path not in (request.path, ""):
                        continue
                    if self.hang_up_after is not None and sent >= self.hang_up_after:
                        return response
                    line = json.dumps(event).encode() + b"\n"
                    # in two parts, as a network may deliver it
                    await response.write(line[:7])
                    await response.write(line[7:])
                    at, sent = revision, sent + 1
                await changed.wait()
                if self._stopping:
                    return response
        finally:
            self._open.discard(request.transport)
        return response


@contextlib.asynccontextmanager
async def running(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeApi]:
    api = FakeApi()
    await api.start(tls=tls)
    try:
        yield api
    finally:
        await api.stop()
