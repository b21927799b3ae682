"""The node's signs of life, and what it says once it is heard again."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from netlab.client.rest import ApiUnavailable
from netlab.kubelet.needs import Clock
from netlab.kubelet.node import Machine, Moment
from netlab.kubelet.registering import Registration

MACHINE = Machine(name="n", ips=["10.0.0.1"], cpus=1, memory=1 << 30, storage=1 << 30, pods=10, port=1, info={})


class Quick(Clock):
    """Nobody waits, unless for an event that comes."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0 if seconds < 5 else 3600)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        await event.wait()
        return True


class Server:
    """Takes everything; of Leases, from the moment on that it can be reached."""

    def __init__(self) -> None:
        self.silent = 3
        self.reports = 0
        self.heard = asyncio.Event()

    async def create(self, path: str, body: Any) -> Any:
        if "leases" in path and self.silent:
            self.silent -= 1
            raise ApiUnavailable("no route to host")
        return body

    async def patch(self, path: str, body: Any, **_: Any) -> Any:
        self.reports += 1
        if not self.silent:
            self.heard.set()
        return {"metadata": {"name": "n"}, "status": body["status"]}


def test_a_node_that_is_heard_again_says_at_once_how_it_is() -> None:
    """Others have said meanwhile that nobody knows: that is not to stand until the next look."""

    async def test() -> None:
        server = Server()

        async def moment() -> Moment:
            return Moment()

        registration = Registration(
            cast(Any, server), MACHINE, moment, lambda *_args, **_more: None, Quick()
        )  # fmt: skip
        task = asyncio.create_task(registration.run())
        async with asyncio.timeout(30):
            await server.heard.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert server.reports == 2  # as it was registered, and now

    asyncio.run(test())
