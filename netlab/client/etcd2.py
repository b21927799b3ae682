"""etcd, API v2: keys over plain HTTP, as etcd up to 3.5 speaks it (3.4 and 3.5 with --enable-v2).

For `flanneld --etcd-api 2`, and for what `ETCDCTL_API=2 etcdctl ls` shows. Values are texts, there are directories,
and history is the last thousand events of the whole store. Source: etcd Documentation/v2/api.md, errorcode.md (v3.4).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from netlab.base.errors import NetlabError
from netlab.client.transport import Answer, Endpoints, Unavailable

# etcd's error codes (v2error/error.go)
KEY_NOT_FOUND, COMPARE_FAILED, NOT_A_FILE, NODE_EXISTS = 100, 101, 102, 105
RAFT_INTERNAL, LEADER_ELECT, EVENT_INDEX_CLEARED = 300, 301, 401

#: seconds without an event after which a watch is asked anew
IDLE = 60.0
TIMEOUT = 5.0


class Etcd2Error(NetlabError):
    """etcd refuses a request. code: its errorCode."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class EventIndexCleared(Etcd2Error):
    """The history since the index asked for is gone: read all anew."""


@dataclass(frozen=True, slots=True)
class Node:
    """A key. nodes: what is in a directory; expires: seconds since the epoch by etcd's clock, None for never."""

    key: str
    value: str
    created: int
    modified: int
    expires: float | None = None
    directory: bool = False
    nodes: tuple[Node, ...] = ()

    def leaves(self) -> tuple[Node, ...]:
        """All keys in it that are no directories."""
        if not self.directory:
            return (self,)
        return tuple(leaf for node in self.nodes for leaf in node.leaves())


@dataclass(frozen=True, slots=True)
class Event:
    """action: get, set, create, update, compareAndSwap, delete, compareAndDelete, expire."""

    action: str
    node: Node
    index: int

    @property
    def gone(self) -> bool:
        """Whether the key is no more."""
        return self.action in ("delete", "compareAndDelete", "expire")


def _moment(text: str) -> float:
    """RFC 3339 with nanoseconds, which datetime takes only up to microseconds."""
    head, _, fraction = text.removesuffix("Z").partition(".")
    whole = datetime.fromisoformat(head).replace(tzinfo=UTC).timestamp()
    return whole + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def _node(data: dict[str, Any]) -> Node:
    """Unavailable if it makes no sense."""
    try:
        return _parsed(data)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise Unavailable(f"this is no etcd that makes sense: {str(data)[:200]}") from e


def _parsed(data: dict[str, Any]) -> Node:
    expiration = data.get("expiration")
    return Node(
        key=str(data.get("key", "/")),
        value=str(data.get("value", "")),
        created=int(data.get("createdIndex", 0)),
        modified=int(data.get("modifiedIndex", 0)),
        expires=_moment(expiration) if expiration else None,
        directory=bool(data.get("dir", False)),
        nodes=tuple(_parsed(child) for child in data.get("nodes") or ()),
    )


def _decoded(answer: Answer) -> dict[str, Any]:
    try:
        data = json.loads(answer.body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        hint = "does it run with --enable-v2?" if answer.status == 404 else None
        raise Unavailable(f"etcd does not speak the v2 API: {answer.excerpt()}", hint=hint)
    return data


def _refused(answer: Answer) -> bool:
    return answer.status >= 500


class Etcd2Client:
    """One client for one loop; the parameters are those of `etcd.EtcdClient`."""

    def __init__(self, endpoints: Sequence[str], *, tls: ssl.SSLContext | None = None, user: str = "",
                 password: str = "", timeout: float = TIMEOUT, idle: float = IDLE) -> None:  # fmt: skip
        self._http = Endpoints(endpoints, tls=tls, timeout=timeout, name="etcd", refused=_refused)
        self._idle = idle
        self._headers = _basic(user, password) if user else {}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, key: str, *, recursive: bool = False) -> tuple[Node | None, int]:
        """The key, None if it is not there, and the index of the store: a watch goes on from the one after it.

        Asked of the quorum, so that what was written is read.
        """
        params = {"quorum": "true", "sorted": "true", **({"recursive": "true"} if recursive else {})}
        answer = await self._ask("GET", key, params, again=True)
        data = _decoded(answer)
        # a quorum read may tell the index late: what the nodes tell is as certain
        index = int(answer.headers.get("X-Etcd-Index", 0))
        if data.get("errorCode") == KEY_NOT_FOUND:
            return None, max(index, int(data.get("index", 0)))
        node = _node(self._checked(data)["node"])
        return node, index

    async def put(self, key: str, value: str, *, ttl: int | None = None, exists: bool | None = None,
                  index: int | None = None) -> Node | None:  # fmt: skip
        """Write. ttl: seconds. exists, index: only if the key is (not) there, if its modifiedIndex is still that.

        None if such a condition does not hold.
        """
        params = {} if index is None else {"prevIndex": str(index)}
        if exists is not None:
            params["prevExist"] = "true" if exists else "false"
        form = {"value": value} | ({} if ttl is None else {"ttl": str(ttl)})
        data = _decoded(await self._ask("PUT", key, params, again=not params, data=form))
        if data.get("errorCode") in (KEY_NOT_FOUND, COMPARE_FAILED, NODE_EXISTS):
            return None
        return _node(self._checked(data)["node"])

    async def delete(self, key: str, *, index: int | None = None, recursive: bool = False) -> bool:
        """Delete, with `index` only if that is still the key's modifiedIndex. Whether it is gone now."""
        params = {} if index is None else {"prevIndex": str(index)}
        if recursive:
            params["recursive"] = "true"
        data = _decoded(await self._ask("DELETE", key, params, again=True))
        if data.get("errorCode") == COMPARE_FAILED:
            return False
        if data.get("errorCode") != KEY_NOT_FOUND:
            self._checked(data)
        return True

    async def watch(self, key: str, *, index: int) -> AsyncGenerator[Event, None]:
        """The events at and below `key` from `index` on, one by one, for ever.

        EventIndexCleared when the history does not reach so far back. Unavailable when etcd is away; the caller goes on
        from the index after the last event.
        """
        while True:
            params = {"wait": "true", "recursive": "true", "waitIndex": str(index)}
            request = self._http.stream("GET", _path(key), params=params, headers=self._headers)
            try:
                async with request as response:
                    # a watch from the past may overtake the store, once it was set back
                    at = int(response.headers.get("X-Etcd-Index", 0))
                    if at + 1 < index:
                        raise EventIndexCleared(
                            f"etcd is at index {at} and was at {index - 1} before", code=EVENT_INDEX_CLEARED
                        )
                    async with asyncio.timeout(self._idle):
                        body = await response.read()
                    answer = Answer(response.status, response.headers, body)
            except TimeoutError:
                continue
            if not answer.body:
                raise Unavailable("etcd ended a watch")
            data = _decoded(answer)
            if data.get("errorCode") == EVENT_INDEX_CLEARED:
                raise EventIndexCleared(f"etcd: {data.get('cause', data)}", code=EVENT_INDEX_CLEARED)
            node = _node(self._checked(data)["node"])
            index = max(index, node.modified + 1)
            yield Event(str(data["action"]), node, node.modified)

    async def _ask(self, method: str, key: str, params: dict[str, str], *, again: bool, data: Any = None) -> Answer:
        return await self._http.ask(method, _path(key), again=again, params=params, data=data, headers=self._headers)

    @staticmethod
    def _checked(data: dict[str, Any]) -> dict[str, Any]:
        if "errorCode" in data:
            code, text = int(data["errorCode"]), f"etcd: {data.get('message')}: {data.get('cause')}"
            if code in (RAFT_INTERNAL, LEADER_ELECT):
                raise Unavailable(text)
            raise Etcd2Error(text, code=code)
        if not isinstance(data.get("node"), dict):
            raise Unavailable(f"etcd's answer makes no sense: {json.dumps(data)[:200]}")
        return data


def _path(key: str) -> str:
    return "/v2/keys/" + quote(key.strip("/"), safe="/")


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")}
