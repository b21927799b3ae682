"""etcd, API v3, over its JSON gateway: POST /v3/kv/range and the rest, as etcd 3.4 and later speak it.

The gateway is gRPC in JSON: keys and values in base64, int64 as text, fields that are zero left out; an error is
{"error", "message", "code"} with gRPC's code. Source: etcd Documentation/dev-guide/api_grpc_gateway.md and
etcdserver/etcdserverpb/rpc.proto (v3.4).

EtcdError
├── Compacted          the revision asked for is history that etcd no longer has
└── Denied             user, password or role
Unavailable (of transport) is not among them: nobody answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netlab.base.errors import NetlabError
from netlab.base.patience import patience
from netlab.client.transport import Answer, Endpoints, Unavailable, lines

# gRPC's codes (google.golang.org/grpc/codes)
DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED, OUT_OF_RANGE = 4, 5, 7, 11
UNAVAILABLE, UNAUTHENTICATED = 14, 16

#: seconds without a word after which a watch is asked anew (etcd's own progress notices come every ten minutes)
IDLE = 60.0
#: seconds for one attempt at one endpoint, where machines are not slow
TIMEOUT = 5.0


class EtcdError(NetlabError):
    """etcd refuses a request. code: gRPC's."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Compacted(EtcdError):
    """The changes since the revision asked for are not to be had. revision: the oldest that is, 0 if etcd went back."""

    def __init__(self, message: str, *, revision: int = 0) -> None:
        super().__init__(message, code=OUT_OF_RANGE)
        self.revision = revision


class Denied(EtcdError):
    """User, password or role do not allow it."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it stands. lease: the id of the lease that it goes with, 0 for none."""

    key: str
    value: bytes
    created: int
    modified: int
    lease: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Keys as they were at `revision`; count: how many there are in all; more: whether `limit` cut some off."""

    items: tuple[KeyValue, ...]
    revision: int
    count: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a conditional write: done, or `current`, what stands there instead (None: nothing does).

    Of what `take` has done, `current` is the key as it was.
    """

    done: bool
    revision: int
    current: KeyValue | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A key put or deleted (of a deleted one `item` has key and revision only). previous: only if asked for."""

    item: KeyValue
    deleted: bool
    previous: KeyValue | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes up to `revision` since the last time; none of them, if this says just how far all is well."""

    revision: int
    changes: tuple[Change, ...] = ()


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with `prefix` (of an empty one: etcd's mark for "to the end")."""
    data = _raw(prefix).rstrip(b"\xff")
    return data[:-1] + bytes([data[-1] + 1]) if data else b"\0"


def _raw(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _b64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _key(key: str) -> str:
    return _b64(_raw(key))


def _item(data: Mapping[str, Any]) -> KeyValue:
    return KeyValue(
        key=b64decode(data.get("key", "")).decode("utf-8", "surrogateescape"),
        value=b64decode(data.get("value", "")),
        created=int(data.get("create_revision", 0)),
        modified=int(data.get("mod_revision", 0)),
        lease=int(data.get("lease", 0)),
        version=int(data.get("version", 0)),
    )


def _revision(data: Mapping[str, Any]) -> int:
    return int(data.get("header", {}).get("revision", 0))


@contextlib.contextmanager
def _making_sense(answer: object) -> Iterator[None]:
    """Something else than etcd may listen there, or a version that spells things differently."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as e:
        raise Unavailable(f"this is no etcd that makes sense: {str(answer)[:200]}") from e


def _error(data: Mapping[str, Any]) -> EtcdError | Unavailable:
    """An error out of an answer's body, or out of the middle of a stream, where it is spelled differently."""
    inner = data.get("error")
    if isinstance(inner, Mapping):
        data = {"message": inner.get("message"), "code": inner.get("grpc_code")}
    text, code = str(data.get("message") or inner or data), int(data.get("code") or 0)
    if code == OUT_OF_RANGE and "compacted" in text:
        return Compacted(f"etcd: {text}")
    if code in (PERMISSION_DENIED, UNAUTHENTICATED) or "authentication failed" in text:
        return Denied(f"etcd: {text}", code=code)
    if code in (UNAVAILABLE, DEADLINE_EXCEEDED):
        return Unavailable(f"etcd: {text}")
    return EtcdError(f"etcd: {text}", code=code)


def _refused(answer: Answer) -> bool:
    """Whether another member may do what this one cannot: it has no leader, or lost it in the middle."""
    if answer.status < 500:
        return False
    try:
        return isinstance(_error(_decoded(answer)), Unavailable)
    except Unavailable:
        return True


def _decoded(answer: Answer) -> dict[str, Any]:
    try:
        data = json.loads(answer.body)
    except ValueError as e:
        raise Unavailable(f"this is no etcd, or not a healthy one: {answer.excerpt()}") from e
    if not isinstance(data, dict):
        raise Unavailable(f"this is no etcd: {answer.excerpt()}")
    return data


class EtcdClient:
    """One client for one loop. endpoints: `http://10.0.0.1:2379`, all of one cluster.

    tls: `transport.tls_context`; user, password: if etcd's authentication is on; timeout: seconds for one attempt at
    one endpoint, without it as many as are plenty on this machine; idle: seconds without a word after which a watch is
    asked anew.
    """

    def __init__(self, endpoints: Sequence[str], *, tls: ssl.SSLContext | None = None, user: str = "",
                 password: str = "", timeout: float | None = None, idle: float = IDLE) -> None:  # fmt: skip
        limit = patience(TIMEOUT) if timeout is None else timeout
        self._http = Endpoints(endpoints, tls=tls, timeout=limit, name="etcd", refused=_refused)
        self._user, self._password, self._idle = user, password, idle
        self._token = ""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _call(self, path: str, body: Mapping[str, Any], *, again: bool = False) -> dict[str, Any]:
        for attempt in (1, 2):
            headers = await self._authorization()
            answer = await self._http.ask("POST", path, again=again, body=json.dumps(body).encode(), headers=headers)
            data = _decoded(answer)
            if answer.status == 200 and "error" not in data:
                return data
            error = _error(data)
            # tokens are forgotten after five minutes, and when etcd restarts
            if attempt == 1 and self._token and isinstance(error, Denied) and error.code == UNAUTHENTICATED:
                self._token = ""
                continue
            raise error
        raise AssertionError("unreachable")

    async def _authorization(self) -> dict[str, str]:
        if not self._user:
            return {}
        if not self._token:
            body = {"name": self._user, "password": self._password}
            data = _decoded(await self._http.ask("POST", "/v3/auth/authenticate", again=True, json=body))
            if "token" not in data:
                raise _error(data)
            self._token = str(data["token"])
        return {"Authorization": self._token}

    async def range(self, key: str, *, end: bytes | None = None, limit: int = 0, revision: int = 0,
                    keys_only: bool = False, count_only: bool = False) -> Range:  # fmt: skip
        """The keys from `key` up to `end` (without it, that key alone) as of `revision` (0: now). Compacted."""
        body: dict[str, Any] = {"key": _key(key) or "AA==", "limit": str(limit), "revision": str(revision)}
        if end is not None:
            body["range_end"] = _b64(end)
        if keys_only:
            body["keys_only"] = True
        if count_only:
            body["count_only"] = True
        data = await self._call("/v3/kv/range", body, again=True)
        with _making_sense(data):
            items = tuple(_item(kv) for kv in data.get("kvs", ()))
            return Range(items, _revision(data), int(data.get("count", 0)), bool(data.get("more", False)))

    async def prefix(self, prefix: str, *, limit: int = 0, revision: int = 0, keys_only: bool = False) -> Range:
        """All keys that begin with `prefix`, in their order."""
        return await self.range(prefix, end=prefix_end(prefix), limit=limit, revision=revision, keys_only=keys_only)

    async def get(self, key: str, *, revision: int = 0) -> KeyValue | None:
        """One key, None if it is not there."""
        found = await self.range(key, revision=revision)
        return found.items[0] if found.items else None

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write, whatever was there; the revision of the write."""
        body = {"key": _key(key), "value": _b64(value), "lease": str(lease)}
        return _revision(await self._call("/v3/kv/put", body, again=True))

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> Written:
        """Write if the key is not there."""
        return await self._conditional(key, {"target": "CREATE", "create_revision": "0"}, _put(key, value, lease))

    async def swap(self, key: str, value: bytes, *, modified: int, lease: int = 0) -> Written:
        """Write if the key's last write is still revision `modified`."""
        return await self._conditional(key, {"target": "MOD", "mod_revision": str(modified)}, _put(key, value, lease))

    async def delete(self, key: str, *, modified: int | None = None) -> Written:
        """Delete, with `modified` only if the key's last write is still that revision. Gone already is done."""
        delete = {"request_delete_range": {"key": _key(key)}}
        if modified is None:
            data = await self._call("/v3/kv/deleterange", delete["request_delete_range"], again=True)
            return Written(True, _revision(data))
        found = await self._conditional(key, {"target": "MOD", "mod_revision": str(modified)}, delete)
        return found if found.done or found.current else Written(True, found.revision)

    async def take(self, key: str, *, modified: int = 0) -> Written:
        """Delete a key that is there - with `modified` only if its last write is still that revision - and say what it
        was: unlike `delete`, this is not done if the key is gone already."""
        compare = {"target": "MOD", "mod_revision": str(modified)}
        if not modified:
            compare = {"target": "CREATE", "result": "GREATER", "create_revision": "0"}
        return await self._conditional(key, compare, {"request_delete_range": {"key": _key(key), "prev_kv": True}})

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all keys that begin with `prefix`; how many they were."""
        body = {"key": _key(prefix) or "AA==", "range_end": _b64(prefix_end(prefix))}
        return int((await self._call("/v3/kv/deleterange", body, again=True)).get("deleted", 0))

    async def _conditional(self, key: str, compare: Mapping[str, str], act: Mapping[str, Any]) -> Written:
        body = {
            "compare": [{"key": _key(key), "result": "EQUAL", **compare}],
            "success": [act],
            "failure": [{"request_range": {"key": _key(key)}}],
        }
        data = await self._call("/v3/kv/txn", body)
        with _making_sense(data):
            if data.get("succeeded"):
                taken = data.get("responses", [{}])[0].get("response_delete_range", {}).get("prev_kvs", ())
                return Written(True, _revision(data), _item(taken[0]) if taken else None)
            kvs = data["responses"][0]["response_range"].get("kvs", ())
            return Written(False, _revision(data), _item(kvs[0]) if kvs else None)

    async def compact(self, revision: int) -> None:
        """Forget the history before `revision`. Compacted if it is forgotten already."""
        await self._call("/v3/kv/compaction", {"revision": str(revision)})

    async def grant(self, ttl: float) -> tuple[int, float]:
        """A lease of at least `ttl` seconds: its id, and the seconds that etcd gives it."""
        data = await self._call("/v3/lease/grant", {"TTL": str(max(1, round(ttl)))}, again=True)
        with _making_sense(data):
            return int(data["ID"]), float(data.get("TTL", 0))

    async def revoke(self, lease: int) -> bool:
        """End a lease, and delete its keys with it. Whether there was one."""
        try:
            await self._call("/v3/lease/revoke", {"ID": str(lease)}, again=True)
        except EtcdError as e:
            if e.code != NOT_FOUND:
                raise
            return False
        return True

    async def keepalive(self, lease: int) -> float | None:
        """Renew a lease: the seconds that it has again, None if it is gone."""
        data = await self._call("/v3/lease/keepalive", {"ID": str(lease)}, again=True)
        ttl = float(data.get("result", {}).get("TTL", 0))
        return ttl if ttl > 0 else None

    async def time_to_live(self, lease: int) -> float | None:
        """Seconds that a lease has left, None if it is gone."""
        data = await self._call("/v3/lease/timetolive", {"ID": str(lease)}, again=True)
        ttl = float(data.get("TTL", 0))
        return ttl if ttl >= 0 else None

    async def status(self) -> dict[str, Any]:
        """/v3/maintenance/status of the endpoint in use: version, dbSize, leader, raftIndex …, as etcd spells them."""
        return await self._call("/v3/maintenance/status", {}, again=True)

    async def watch(self, key: str, *, revision: int, prefix: bool = True, previous: bool = False
                    ) -> AsyncGenerator[Changes, None]:  # fmt: skip
        """The changes from `revision` on (at least 1), of one key or of all that begin with `key`, for ever.

        Silence of `idle` seconds and an end without a word are answered by asking anew from where it was. Compacted if
        etcd no longer has that history, or has gone back to an older one. Unavailable if no endpoint answers, or one
        breaks off: nothing is lost, the caller goes on from the revision after the last that it got.
        """
        while True:
            async with contextlib.aclosing(self._watch(key, revision, prefix, previous)) as once:
                async for found in once:
                    revision = max(revision, found.revision + 1)
                    yield found

    async def _watch(self, key: str, revision: int, prefix: bool, previous: bool) -> AsyncGenerator[Changes, None]:
        """One stream, until it falls silent."""
        create: dict[str, Any] = {
            "key": _key(key) or "AA==", "start_revision": str(revision), "progress_notify": True, "prev_kv": previous,
        }  # fmt: skip
        if prefix:
            create["range_end"] = _b64(prefix_end(key))
        headers = await self._authorization()
        request = self._http.stream("POST", "/v3/watch", json={"create_request": create}, headers=headers)
        async with request as response, contextlib.aclosing(lines(response.content)) as stream:
            while True:
                try:
                    async with asyncio.timeout(self._idle):
                        line = await anext(stream, None)
                except TimeoutError:
                    return
                if line is None:
                    raise Unavailable("etcd ended a watch")
                with _making_sense(line):
                    found = self._message(line, revision)
                if found:
                    yield found

    def _message(self, line: bytes, revision: int) -> Changes | None:
        data = json.loads(line)
        result = data.get("result")
        if not isinstance(result, dict):
            error = _error(data)
            if isinstance(error, Denied):
                self._token = ""
            raise error
        compacted = int(result.get("compact_revision", 0))
        if compacted:
            raise Compacted(f"etcd has no history before revision {compacted}", revision=compacted)
        if result.get("canceled"):
            raise Unavailable(f"etcd ended a watch: {result.get('cancel_reason', 'no reason given')}")
        at = _revision(result)
        if result.get("created"):
            if at + 1 < revision:
                raise Compacted(f"etcd is at revision {at} and was at {revision - 1} before: it went back")
            return None
        changes = tuple(
            Change(
                _item(event["kv"]),
                event.get("type") == "DELETE",
                _item(event["prev_kv"]) if "prev_kv" in event else None,
            )
            for event in result.get("events", ())
        )
        # of a batch the header's revision may be ahead of the batch: what is certain is its own last change
        return Changes(max((change.item.modified for change in changes), default=at), changes)


def _put(key: str, value: bytes, lease: int) -> dict[str, Any]:
    return {"request_put": {"key": _key(key), "value": _b64(value), "lease": str(lease)}}
