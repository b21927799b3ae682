"""One call of a webhook: HTTPS to a URL or to a Service, with the CA that its configuration names.

A Service is reached at its endpoints, and at its cluster address if it has none here: a server outside of the cluster's
network has no rule that would turn the one into the other.
"""

from __future__ import annotations

import base64
import binascii
import random
import ssl
from collections import OrderedDict
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult

from netlab.api import Json
from netlab.apiserver import objects
from netlab.store.protocol import Store

#: bytes of an answer
ANSWER_MAX = 3 * 1024 * 1024
#: CAs whose TLS contexts are kept
CONTEXTS = 256
#: a Service's port, if a configuration names none
SERVICE_PORT = 443
_ZONE = ".svc"
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class CallError(Exception):
    """There is no answer; the text says why, as the original does."""


class Caller:
    """Calls webhooks. store: where Services are looked up."""

    def __init__(self, store: Store) -> None:
        self._resolver = ServiceResolver(store)
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def post(self, client: Json, body: Json, seconds: int) -> Json:
        """A webhook's answer to a review. client: a clientConfig; seconds: that it may take. CallError."""
        url = f"{address(client)}?timeout={seconds}s"
        try:
            async with self._open().post(
                url, data=orjson.dumps(body), headers=_HEADERS,
                ssl=self._context(client.get("caBundle") or ""), timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:  # fmt: skip
                data = await _read(response)
                if not 200 <= response.status < 300:
                    raise CallError(_rejected(response.status, data))
        except TimeoutError as e:
            raise CallError(f'Post "{url}": context deadline exceeded') from e
        except aiohttp.ClientConnectorCertificateError as e:
            why = getattr(e.certificate_error, "verify_message", "") or str(e.certificate_error)
            raise CallError(f'Post "{url}": tls: failed to verify certificate: x509: {why}') from e
        except aiohttp.ClientConnectorError as e:
            raise CallError(f'Post "{url}": {_unreached(e)}') from e
        except (aiohttp.ClientError, OSError) as e:
            raise CallError(f'Post "{url}": {e or type(e).__name__}') from e
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as e:
            raise CallError(f"couldn't get version/kind; json parse error: {e}") from e
        if not isinstance(found, dict):
            raise CallError("couldn't get version/kind; json parse error: the answer is no object")
        return found

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # made in the loop that uses it
            connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    def _context(self, bundle: str) -> ssl.SSLContext:
        found = self._contexts.pop(bundle, None)
        if found is None:
            try:
                pem = base64.b64decode(bundle, validate=True).decode("ascii") if bundle else None
                found = ssl.create_default_context(cadata=pem)
            except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as e:
                raise CallError(f"unable to load root certificates: {e}") from e
            # certificates that openssl(1) makes by itself name no key usage, and Go does not ask for it
            found.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._contexts[bundle] = found
        if len(self._contexts) > CONTEXTS:
            self._contexts.popitem(last=False)
        return found


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > ANSWER_MAX:
            raise CallError(f"the answer is larger than {ANSWER_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def address(client: Json) -> str:
    """The URL of a clientConfig."""
    service = client.get("service")
    if not service:
        return str(client.get("url") or "")
    path = (service.get("path") or "/").lstrip("/")
    return f"https://{service['name']}.{service['namespace']}{_ZONE}:{service.get('port') or SERVICE_PORT}/{path}"


def _rejected(code: int, data: bytes) -> str:
    if code == 404:
        return "the server could not find the requested resource"
    text = data[:1024].decode(errors="replace").strip() or "unknown"
    if code >= 500:
        return f"an error on the server ({orjson.dumps(text).decode()}) has prevented the request from succeeding"
    return f"the server rejected our request for an unknown reason ({code})"


def _unreached(e: aiohttp.ClientConnectorError) -> str:
    cause: BaseException = e.os_error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, NoEndpoint):
        return str(cause)
    text = (cause.strerror if isinstance(cause, OSError) else "") or str(cause)
    what = "connect: connection refused" if isinstance(cause, ConnectionRefusedError) else text
    return f"dial tcp {e.host}:{e.port}: {what}"


class NoEndpoint(OSError):
    """A Service that leads nowhere."""


class ServiceResolver(AbstractResolver):
    """`name.namespace.svc` from the Services in the store; all other names as the machine resolves them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._other: AbstractResolver | None = None

    async def close(self) -> None:
        if self._other is not None:
            await self._other.close()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """Addresses, and for Services the ports behind them. OSError."""
        if not host.endswith(_ZONE):
            if self._other is None:
                self._other = aiohttp.ThreadedResolver()
            return await self._other.resolve(host, port, family)
        name, namespace = host.removesuffix(_ZONE).split(".", 1)
        found = await self._endpoints(namespace, name, port)
        random.shuffle(found)
        return [
            ResolveResult(hostname=host, host=ip, port=number, family=10 if ":" in ip else 2, proto=6, flags=4)
            for ip, number in found
        ]

    async def _endpoints(self, namespace: str, name: str, port: int) -> list[tuple[str, int]]:
        kv, _ = await self._store.get(f"/registry/services/specs/{namespace}/{name}")
        if kv is None:
            raise NoEndpoint(f'service "{name}" not found')
        spec = objects.load(kv).get("spec") or {}
        if spec.get("type") == "ExternalName":
            raise NoEndpoint(f'service "{name}" is of type ExternalName')
        entry = next((p for p in spec.get("ports") or () if p.get("port") == port), None)
        if entry is None:
            raise NoEndpoint(f'no service port {port} found for service "{name}"')
        kv, _ = await self._store.get(f"/registry/services/endpoints/{namespace}/{name}")
        subsets = objects.load(kv).get("subsets") or () if kv is not None else ()
        found = [
            (a["ip"], p["port"])
            for s in subsets for p in s.get("ports") or () if p.get("name", "") == entry.get("name", "")
            for a in s.get("addresses") or ()
        ]  # fmt: skip
        if found:
            return found
        if spec.get("clusterIP") in (None, "", "None"):
            raise NoEndpoint(f'no endpoints available for service "{name}"')
        return [(spec["clusterIP"], port)]
