"""A webhook in this process: HTTPS with a CA of its own, and what configurations say of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import trustme
from aiohttp import web
from serving import Client, Json

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
MUTATING = f"{REGISTRATION}/mutatingwebhookconfigurations"
VALIDATING = f"{REGISTRATION}/validatingwebhookconfigurations"
Answer = Callable[[Json], Json | Awaitable[Json]]


class Hook:
    """reviews: what it was asked; `client`: how a server reaches it."""

    def __init__(self, ca: bytes, answer: Answer) -> None:
        self.ca, self.answer, self.port = ca, answer, 0
        self.reviews: list[Json] = []

    def client(self, path: str = "/") -> Json:
        """clientConfig."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": base64.b64encode(self.ca).decode()}

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """One review."""
        review = orjson.loads(await request.read())
        self.reviews.append(review)
        found = self.answer(review)
        body = await found if inspect.isawaitable(found) else found
        return web.Response(body=orjson.dumps(body), content_type="application/json")


@contextlib.asynccontextmanager
async def hooked(answer: Answer) -> AsyncIterator[Hook]:
    """A webhook that answers reviews by a function."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    hook = Hook(ca.cert_pem.bytes(), answer)
    runner = web.ServerRunner(web.Server(hook.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    hook.port = runner.addresses[0][1]
    try:
        yield hook
    finally:
        await runner.cleanup()


def allowed(review: Json, patch: list[Json] | None = None, **more: Any) -> Json:
    """An AdmissionReview that allows, with a patch."""
    response: Json = {"uid": review["request"]["uid"], "allowed": True, **more}
    if patch is not None:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def denied(review: Json, message: str) -> Json:
    """An AdmissionReview that refuses."""
    refused = {"code": 403, "reason": "Forbidden", "message": message}
    response = {"uid": review["request"]["uid"], "allowed": False, "status": refused}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def rule(resource: str, *operations: str, group: str = "", version: str = "v1") -> Json:
    """A rule of a webhook."""
    return {"apiGroups": [group], "apiVersions": [version], "resources": [resource],
            "operations": list(operations or ("CREATE",)), "scope": "*"}  # fmt: skip


def webhook(client: Json, *rules: Json, name: str = "hook.e2e.example.com", **more: Any) -> Json:
    """One webhook of a configuration."""
    return {"name": name, "clientConfig": client, "rules": list(rules), "sideEffects": "None",
            "admissionReviewVersions": ["v1"], **more}  # fmt: skip


def configuration(*webhooks: Json, name: str = "e2e") -> Json:
    """A configuration without its kind, which the path tells."""
    return {"metadata": {"name": name, "labels": {"e2e": "yes"}}, "webhooks": list(webhooks)}


async def configured(c: Client, path: str, obj: Json) -> Json:
    """Make a configuration, and wait until the server goes by it: its caches follow the store."""
    marker = {
        "name": "marker.e2e.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1,
        "rules": [rule("endpoints")], "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "objectSelector": {"matchLabels": {"marker": obj["metadata"]["name"]}},
    }  # fmt: skip
    answer = await c.post(path, {**obj, "webhooks": [*obj["webhooks"], marker]})
    assert answer.status == 201, answer.data
    await in_force(c, obj["metadata"]["name"], wanted=True)
    return answer.body


async def in_force(c: Client, name: str, *, wanted: bool) -> None:
    """Wait until a configuration's marker, which cannot be reached, refuses or no longer does."""
    probe = {"metadata": {"name": "marker", "labels": {"marker": name}}}
    while ((await c.post("/api/v1/namespaces/default/endpoints", probe, dryRun="All")).status == 500) != wanted:
        pass


async def hanging(review: Json) -> Json:
    """Answers after what no timeout here allows."""
    await asyncio.sleep(30)
    return allowed(review)


async def replaced(c: Client, path: str, name: str, change: Callable[[Json], None]) -> Json:
    """Read, change and put a configuration."""
    obj = (await c.get(f"{path}/{name}")).body
    change(obj)
    answer = await c.put(f"{path}/{name}", obj)
    assert answer.status == 200, answer.data
    return answer.body
