"""Who waits when all seats are taken, and who does not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from netlab.apiserver.call import Call, User
from netlab.apiserver.requestinfo import request_info
from netlab.apiserver.seats import Seats


def call(path: str, *groups: str) -> Call:
    return Call(cast(Any, None), request_info("GET", path, cast(Any, {})), cast(Any, {}), User("u", groups))


def test_leases_and_masters_pass_those_who_wait() -> None:
    async def test() -> None:
        seats, pods = Seats(1), call("/api/v1/pods", "system:nodes")
        lease = call("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n", "system:nodes")
        order: list[str] = []

        async def one(name: str, what: Call) -> None:
            async with seats.of(what):
                order.append(name)

        async with seats.of(pods):
            waiting = asyncio.create_task(one("first", pods)), asyncio.create_task(one("second", pods))
            gone = asyncio.create_task(one("gone", pods))
            await asyncio.gather(one("lease", lease), one("master", call("/api/v1/pods", "system:masters")))
            assert sorted(order) == ["lease", "master"]
            gone.cancel()
        await asyncio.gather(*waiting)
        assert order[2:] == ["first", "second"]

    asyncio.run(test())
