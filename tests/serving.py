"""A server in this process, over a store in memory, and a client that speaks HTTP to it as any other would."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from netlab.apiserver.call import User
from netlab.apiserver.server import ApiServer, Settings, runner
from netlab.store.memory import MemoryStore
from netlab.store.protocol import Store

Json = dict[str, Any]
#: seconds after which a test has failed
DEADLINE = 30.0

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
USERS = {
    "admin-token": User("admin", ("system:masters", "system:authenticated")),
    "jane-token": User("jane", ("dev", "system:authenticated")),
    "node-token": User("system:node:n1", ("system:nodes", "system:authenticated")),
}


class Answer:
    """status, body (parsed if it is JSON), headers, warnings."""

    def __init__(self, status: int, data: bytes, headers: Any) -> None:
        self.status, self.data, self.headers = status, data, headers
        self.warnings = [w.split('"', 1)[1][:-1] for w in headers.getall("Warning", [])]

    @property
    def body(self) -> Json:
        found: Json = orjson.loads(self.data)
        return found

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Client:
    """One user of the server."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, server: ApiServer, http: web.ServerRunner,
        token: str = "admin-token",
    ) -> None:  # fmt: skip
        self.session, self.url, self.server, self.http, self.token = session, url, server, http, token

    def as_(self, token: str) -> Client:
        """The same as another user ("" for nobody)."""
        return Client(self.session, self.url, self.server, self.http, token)

    def drop(self) -> None:
        """Break all connections off, watches among them."""
        assert self.http.server is not None
        for connection in self.http.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        found = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {**found, "User-Agent": "test/1", **(more or {})}

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        type_: str = "application/json",
        accept: str = "",
        **query: Any,
    ) -> Answer:
        """One request. body: bytes as they are, anything else as JSON."""
        headers = {"Accept": accept} if accept else {}
        data = None
        if body is not None:
            data = io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
            headers["Content-Type"] = type_
        text = {k: str(v) for k, v in query.items()}
        async with self.session.request(
            method, self.url + path, data=data, headers=self.headers(headers), params=text
        ) as response:
            return Answer(response.status, await response.read(), response.headers)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.ask("POST", path, body, **more)

    async def put(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.ask("PUT", path, body, **more)

    async def delete(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.ask("DELETE", path, body, **more)

    async def patch(self, path: str, body: Any, kind: str = "merge", **more: Any) -> Answer:
        """kind: merge, strategic, json or apply."""
        types = {
            "merge": "application/merge-patch+json", "json": "application/json-patch+json",
            "strategic": "application/strategic-merge-patch+json", "apply": "application/apply-patch+yaml",
        }  # fmt: skip
        return await self.ask("PATCH", path, body, type_=types[kind], **more)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, accept: str = "", **query: Any) -> AsyncIterator[Events]:
        """A watch under way."""
        text = {"watch": "true", **{k: str(v) for k, v in query.items()}}
        headers = self.headers({"Accept": accept} if accept else {})
        async with self.session.get(self.url + path, headers=headers, params=text) as response:
            yield Events(response)


class Events:
    """The events of a watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Json:
        """The next event; {} at the end."""
        async with asyncio.timeout(DEADLINE):
            line = await self.response.content.readline()
        return orjson.loads(line) if line else {}


@contextlib.asynccontextmanager
async def serving(store: Store | None = None, **settings: Any) -> AsyncIterator[Client]:
    """A server, and its administrator's client. store: another one than in memory; it is closed in the end."""
    store = store or MemoryStore()
    given = {
        "issuer": "https://test", "address": "127.0.0.1:0", "token_key": _KEY, "static": USERS,
        "now": lambda: 1_700_000_000.0, **settings,
    }  # fmt: skip
    server = ApiServer(store, Settings(**given))
    await server.start()
    http = runner(server)
    await http.setup()
    site = web.TCPSite(http, "127.0.0.1", 0)
    await site.start()
    host, port = http.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"http://{host}:{port}", server, http)
    finally:
        await server.aclose()
        await http.cleanup()
        await store.aclose()


def with_server(test: Callable[[Client], Awaitable[None]], **settings: Any) -> None:
    """Run a test against a server of its own."""

    async def run() -> None:
        async with asyncio.timeout(DEADLINE), serving(**settings) as client:
            await test(client)

    asyncio.run(run())


def pod(name: str = "p", **spec: Any) -> Json:
    """A small pod."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.25"}], **spec},
    }  # fmt: skip


def config_map(name: str = "c", **data: str) -> Json:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web", replicas: int = 1) -> Json:
    """A Deployment."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx:1.25"}]}},
        },
    }  # fmt: skip


MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
