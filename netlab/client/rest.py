"""A small client of the Kubernetes API: verbs on paths, objects as plain dicts, watches as they come.

It keeps nothing and decides nothing: what a list-and-watch or an informer needs of the wire is here (resourceVersion,
bookmarks, 410 Gone), and what to do about it is theirs. Source: kubernetes.io/docs/reference/using-api/api-concepts.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import orjson

from netlab.base.errors import NetlabError
from netlab.base.patience import patience
from netlab.client.kubeconfig import ApiConfig
from netlab.client.transport import Unavailable, keep_alive, lines

Object = dict[str, Any]

# the kinds of patches (api-concepts, "patch")
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

#: what the server is asked to end a watch after, as client-go's reflector does (seconds); it is then asked anew
WATCH_TIMEOUT = 300
#: how long after that an end that has not come is taken for a dead connection
_WATCH_GRACE = 15.0
TIMEOUT = 30.0
#: how long the content of a token file is believed (seconds)
_TOKEN_AGE = 60.0
_PAGE = 500
#: how long an idle connection is kept: a handshake costs as much as several requests, and servers keep one for longer
#: (ours two minutes, the original 90 s)
_KEPT = 60.0


class ApiError(NetlabError):
    """The server refuses: a Status object. code: the HTTP status; reason: `NotFound`, `Conflict`, `Expired` …"""

    def __init__(self, message: str, *, code: int, reason: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, dict(details or {})

    @classmethod
    def of(cls, status: Any, *, code: int, request: str) -> ApiError:
        """From a Status object, or from whatever else came with the HTTP status `code`."""
        if not isinstance(status, dict):
            return cls(f"{request}: HTTP {code}", code=code)
        code = int(status.get("code") or code)
        reason = str(status.get("reason") or "")
        text = status.get("message") or reason or f"HTTP {code}"
        details = status.get("details")
        return cls(
            f"{request}: {text}", code=code, reason=reason, details=details if isinstance(details, dict) else None
        )

    @property
    def gone(self) -> bool:
        """Whether a watch cannot go on from where it was: list anew."""
        return self.code == 410 or self.reason in ("Expired", "Gone")


class ApiUnavailable(Unavailable):
    """The server cannot be reached, or broke off: whether a write was done is not known."""


class WatchEvent(NamedTuple):
    """type: ADDED, MODIFIED, DELETED or BOOKMARK, of which the object has nothing but its resourceVersion."""

    type: str
    object: Object

    @property
    def resource_version(self) -> str:
        """Where a watch that begins after this event has to begin."""
        metadata = self.object.get("metadata")
        return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""


def path(api_version: str, resource: str, *, namespace: str | None = None, name: str | None = None,
         subresource: str | None = None) -> str:  # fmt: skip
    """The path of a resource: path("v1", "nodes", name="n1", subresource="status") is /api/v1/nodes/n1/status."""
    parts = ["api" if "/" not in api_version else "apis", *api_version.split("/")]
    if namespace is not None:
        parts += ["namespaces", namespace]
    parts.append(resource)
    if name is not None:
        parts.append(name)
        if subresource is not None:
            parts.append(subresource)
    return "/" + "/".join(part if _PLAIN.fullmatch(part) else quote(part, safe=":") for part in parts)


#: a step of a path that is what it is: most are, and asking is cheaper than quoting
_PLAIN = re.compile(r"[A-Za-z0-9.:_-]+")


#: requests that may be under way at once: each more would cost a TLS handshake, and the server does them one after
#: another anyway
REQUESTS = 32


class RestClient:
    """One client for one loop. timeout: seconds for a whole request, TIMEOUT with `netlab.base.patience` if not given;
    watch_timeout: the server's for one watch; requests: how many may be under way at once, watches aside."""

    def __init__(self, config: ApiConfig, *, timeout: float | None = None, watch_timeout: int = WATCH_TIMEOUT,
                 user_agent: str = "netlab", requests: int = REQUESTS) -> None:  # fmt: skip
        self.config = config
        self._timeout, self._watch_timeout = timeout or patience(TIMEOUT), watch_timeout
        self._tls = config.tls()
        self._agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._under_way: Counter[aiohttp.ClientSession] = Counter()
        self._turns = asyncio.Semaphore(requests)
        self._token, self._token_read = config.token, float("-inf")

    async def aclose(self) -> None:
        """Close the connections."""
        sessions, self._session = {self._session, *self._under_way}, None
        for session in sessions:
            if session is not None:
                await session.close()

    async def renew(self, config: ApiConfig) -> None:
        """Ask that server, as that one, from now on. What is under way goes on as it began, until it ends by itself;
        no connection is used again. InputError."""
        self._tls, self.config = config.tls(), config
        self._token, self._token_read = config.token, float("-inf")
        before, self._session = self._session, None
        if before is not None and before not in self._under_way:
            await before.close()

    async def get(self, path: str, *, accept: str = "", **params: str) -> Object:
        """One object, or whatever else the path has that is JSON. accept: its form; params: of the query."""
        return await self._json("GET", path, params, accept=accept)

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "", limit: int = _PAGE,
                   resource_version: str = "", accept: str = "") -> Object:  # fmt: skip
        """The whole list, fetched in pages of `limit`; metadata.resourceVersion is where a watch begins.

        resource_version: "0" is content with what a cache of the server has; accept: the form of the list. ApiError
        that is `gone` if the list changed too much between two pages.
        """
        params = _present(
            labelSelector=label_selector, fieldSelector=field_selector, limit=str(limit) if limit else "",
            resourceVersion=resource_version,
        )  # fmt: skip
        whole = await self._json("GET", path, params, accept=accept)
        items = list(whole.get("items") or ())
        page = whole
        while again := (page.get("metadata") or {}).get("continue"):
            # the later pages are of the first one's moment by themselves, and may not name it
            params.pop("resourceVersion", None)
            page = await self._json("GET", path, params | {"continue": again}, accept=accept)
            items += page.get("items") or ()
        metadata = {k: v for k, v in (page.get("metadata") or {}).items() if k != "continue"}
        return whole | {"items": items, "metadata": metadata}

    async def create(self, path: str, body: Object, **params: str) -> Object:
        """Create, by the path of the collection or of a subresource such as binding. The object as it is now."""
        return await self._json("POST", path, params, body)

    async def replace(self, path: str, body: Object, **params: str) -> Object:
        """Write the whole object; its resourceVersion must still be the one that it has (ApiError, Conflict)."""
        return await self._json("PUT", path, params, body)

    async def patch(self, path: str, body: Any, *, kind: str = MERGE_PATCH, **params: str) -> Object:
        """Change a part. kind: one of the *_PATCH of this module, which say what body is."""
        return await self._json("PATCH", path, params, body, kind)

    async def delete(self, path: str, *, uid: str = "", resource_version: str = "", grace: int | None = None,
                     propagation: str = "") -> Object:  # fmt: skip
        """Delete, if still of that uid and version. grace: seconds; propagation: Foreground, Background, Orphan."""
        options: Object = _present(propagationPolicy=propagation)
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if conditions := _present(uid=uid, resourceVersion=resource_version):
            options["preconditions"] = conditions
        return await self._json("DELETE", path, {}, {"apiVersion": "v1", "kind": "DeleteOptions", **options})

    async def watch(self, path: str, *, resource_version: str, label_selector: str = "", field_selector: str = "",
                    accept: str = "", **params: str) -> AsyncGenerator[WatchEvent, None]:  # fmt: skip
        """What happens after `resource_version`, for ever, bookmarks included. accept: the form of the objects.

        That the server ends a watch in good order after a while is not seen by the caller: it is asked anew from the
        last event. ApiError that is `gone` when the server no longer has what happened since: list anew. ApiUnavailable
        when the connection breaks: watch anew from the last event's version, or list.
        """
        query = _present(labelSelector=label_selector, fieldSelector=field_selector) | {
            "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(self._watch_timeout), **params,
        }  # fmt: skip
        while True:
            began, silent = time.monotonic(), True
            once = self._watch(path, query | {"resourceVersion": resource_version}, accept)
            async with aclosing(once):
                async for event in once:
                    silent = False
                    resource_version = event.resource_version or resource_version
                    yield event
            # a server that hangs up at once is not asked a thousand times a second
            if silent and time.monotonic() - began < 1:
                raise ApiUnavailable(f"{self.config.server} ended a watch of {path} at once")

    async def _watch(self, path: str, query: Mapping[str, str], accept: str) -> AsyncGenerator[WatchEvent, None]:
        """One stream, until the server ends it."""
        request = f"WATCH {path}"
        loop = asyncio.get_running_loop()
        try:
            # no limit may be running while this generator is at a yield: it would strike whoever consumes it
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._timeout):
                    response = await stack.enter_async_context(self._request("GET", path, query, None, "", accept))
                    if response.status != 200:
                        raise _refusal(await response.read(), response.status, request)
                keep_alive(response)
                # it strikes whoever reads next, if nobody has read the end by then
                end = loop.time() + self._watch_timeout + _WATCH_GRACE
                stack.callback(loop.call_at(end, response.content.set_exception, TimeoutError()).cancel)
                stream = await stack.enter_async_context(aclosing(lines(response.content)))
                async for line in stream:
                    yield _event(line, request)
        except TimeoutError as e:
            raise ApiUnavailable(f"{request}: {self.config.server} went silent") from e

    async def _json(self, method: str, path: str, params: Mapping[str, str], body: Any = None,
                    kind: str = "application/json", accept: str = "") -> Object:  # fmt: skip
        request = f"{method} {path}"
        try:
            async with (
                self._turns,
                asyncio.timeout(self._timeout),
                self._request(method, path, params, body, kind, accept) as response,
            ):
                status, content = response.status, await response.read()
        except TimeoutError as e:
            raise ApiUnavailable(f"{request}: no answer from {self.config.server} in {self._timeout:g} s") from e
        if status >= 300:
            raise _refusal(content, status, request)
        try:
            data = orjson.loads(content)
        except ValueError as e:
            raise ApiUnavailable(f"{request}: the answer is not JSON: {content[:100]!r}") from e
        if not isinstance(data, dict):
            raise ApiUnavailable(f"{request}: the answer is no object: {content[:100]!r}")
        return data

    @asynccontextmanager
    async def _request(self, method: str, path: str, params: Mapping[str, str], body: Any, kind: str, accept: str
                       ) -> AsyncGenerator[aiohttp.ClientResponse, None]:  # fmt: skip
        """The one place where something is sent. Transport's faults become ApiUnavailable, here and while reading."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=0, keepalive_timeout=_KEPT)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None)
            )
        session = self._session
        headers = self._headers()
        if accept:
            headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = kind
        self._under_way[session] += 1
        try:
            async with session.request(
                method, self.config.server + path, params=params or None, headers=headers,
                data=None if body is None else orjson.dumps(body), allow_redirects=False,
                server_hostname=self.config.server_name or None,
            ) as response:  # fmt: skip
                yield response
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as e:
            raise ApiUnavailable(f"{method} {path}: {self.config.server}: {e or type(e).__name__}") from e
        finally:
            self._under_way[session] -= 1
            if not self._under_way[session]:
                del self._under_way[session]
                if session is not self._session:
                    await session.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": self._agent}
        token = self._bearer()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif self.config.username:
            both = f"{self.config.username}:{self.config.password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(both).decode("ascii")
        return headers

    def _bearer(self) -> str:
        file = self.config.token_file
        if file is not None and time.monotonic() - self._token_read > _TOKEN_AGE:
            try:
                self._token = file.read_text(encoding="ascii").strip()
                self._token_read = time.monotonic()
            except (OSError, ValueError) as e:
                # being replaced just now, perhaps: the one before is good for some minutes yet
                if not self._token:
                    raise ApiUnavailable(f"{file} cannot be read: {e}") from e
        return self._token


def _present(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _refusal(content: bytes, code: int, request: str) -> ApiError:
    try:
        status = orjson.loads(content)
    except ValueError:
        status = {"message": f"HTTP {code} {content[:100].decode(errors='replace').strip()}"}
    return ApiError.of(status, code=code, request=request)


def _event(line: bytes, request: str) -> WatchEvent:
    try:
        data = orjson.loads(line)
        event = WatchEvent(str(data["type"]), data["object"])
    except (ValueError, KeyError, TypeError) as e:
        raise ApiUnavailable(f"{request}: this is no event: {line[:100]!r}") from e
    if event.type == "ERROR" or not isinstance(event.object, dict):
        raise ApiError.of(event.object, code=500, request=request)
    return event
