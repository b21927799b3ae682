"""What tests of informers share: a source that plays a script, a real server, and a handler that keeps a diary."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "apiserver"))

from serving import Client, serving

from netlab.client.kubeconfig import ApiConfig
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object, RestClient, WatchEvent

#: seconds after which a test that waits has failed
DEADLINE = 30.0
MAPS = Resource("v1", "configmaps")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


async def no_sleep(_: float) -> None:
    """Patience that takes no time."""
    await asyncio.sleep(0)


def thing(name: str, version: int = 1, uid: str = "", **more: Any) -> Object:
    """A small object."""
    metadata = {"name": name, "namespace": "x", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **more}


GONE = ApiError("too old resource version", code=410, reason="Expired")


class Script:
    """A source that answers lists and watches from a script. lists: objects and version, or an error, in turn; watches:
    events in turn, each list of them ended by an error, or by None to hang for ever."""

    def __init__(self) -> None:
        self.lists: deque[tuple[list[Object], str] | Exception] = deque()
        self.watches: deque[list[tuple[str, Object] | Exception | None]] = deque()
        #: what was asked: "list", or the version that a watch began at
        self.asked: list[str] = []
        self.accepts: list[str] = []

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "", accept: str = "") -> Object:
        self.asked.append("list")
        self.accepts.append(accept)
        answer = self.lists.popleft()
        if isinstance(answer, Exception):
            raise answer
        items, version = answer
        bare = [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in items]
        return {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": bare}

    async def watch(
        self, path: str, *, resource_version: str, label_selector: str = "", field_selector: str = "", accept: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        self.asked.append(resource_version)
        events = self.watches.popleft() if self.watches else [None]
        for event in events:
            if isinstance(event, Exception):
                raise event
            if event is None:
                await asyncio.Event().wait()
            else:
                yield WatchEvent(*event)


class Diary:
    """A handler that keeps all it is told, and checks that it makes sense: nothing is added twice, or changed before it
    is there, and a handler's old object is the one it was told of before."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, int]] = []
        self.now: dict[str, Object] = {}

    def __call__(self, old: Object | None, new: Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        key = key_of(obj)
        assert self.now.get(key) == old
        if new is None:
            del self.now[key]
        else:
            if old is not None:
                assert int(old["metadata"]["resourceVersion"]) <= int(new["metadata"]["resourceVersion"])
                assert old["metadata"]["uid"] == new["metadata"]["uid"]
            self.now[key] = new
        verb = "added" if old is None else "deleted" if new is None else "changed"
        self.entries.append((verb, key, int(obj["metadata"]["resourceVersion"])))


@contextlib.asynccontextmanager
async def real() -> AsyncIterator[tuple[Client, RestClient]]:
    """A server in this process, and a client of the room under test."""
    async with asyncio.timeout(DEADLINE), serving() as server:
        client = RestClient(ApiConfig(place="test", server=server.url, token="admin-token"))
        try:
            yield server, client
        finally:
            await client.aclose()
