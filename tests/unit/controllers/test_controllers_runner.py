"""What the runner makes of a controller that fails, and how it begins and ends."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import MAPS, World, in_world, until

from netlab.client.informer import Interest
from netlab.client.rest import ApiError, ApiUnavailable
from netlab.controllers.runner import Outcome, attempt
from netlab.controllers.shape import Hopeless, Tools, Watch


class Clumsy:
    """Fails as its key says, as often as it has fingers."""

    NAME = "clumsy"
    WATCHES = (Watch(Interest(MAPS, namespace="default")),)
    seen: dict[str, int]

    def __init__(self, tools: Tools) -> None:
        type(self).seen = {}
        self._store = tools.store(Interest(MAPS, namespace="default"))

    async def reconcile(self, key: str) -> float | None:
        name = key.rpartition("/")[2]
        times = self.seen[name] = self.seen.get(name, 0) + 1
        match name:
            case "hopeless":
                raise Hopeless("no use")
            case "refused" if times < 4:
                raise ApiError("no", code=500)
            case "away" if times < 4:
                raise ApiUnavailable("nobody there")
            case "again" if times < 4:
                return 0.001
        return None


def test_outcomes_are_values() -> None:
    async def test() -> None:
        class Raises:
            NAME, WATCHES = "raises", ()

            def __init__(self, tools: Tools | None = None, error: BaseException | None = None) -> None:
                self.error = error

            async def reconcile(self, key: str) -> float | None:
                if self.error is not None:
                    raise self.error
                return 7.0

        assert await attempt(Raises(), "k") == Outcome(again=7.0)
        bug, no = RuntimeError("bug"), Hopeless("no")
        assert await attempt(Raises(error=bug), "k") == Outcome(retry=True, error=bug)
        assert await attempt(Raises(error=no), "k") == Outcome(error=no)
        with pytest.raises(asyncio.CancelledError):
            await attempt(Raises(error=asyncio.CancelledError()), "k")

    asyncio.run(test())


def test_what_fails_comes_again_and_what_is_hopeless_does_not(caplog: pytest.LogCaptureFixture) -> None:
    async def test(w: World) -> None:
        for name in ("hopeless", "refused", "away", "again", "fine"):
            await w.make(MAPS, name)

        async def done() -> bool:
            return w.runner.idle and all(Clumsy.seen.get(n) == 4 for n in ("refused", "away", "again"))

        await until(done)
        assert Clumsy.seen["hopeless"] == Clumsy.seen["fine"] == 1
        assert w.runner.counts() == {"clumsy": (14, 7)}
        assert w.runner.why_not_ready() is None
        await w.client.patch(MAPS.path("default", "hopeless"), {"data": {"a": "b"}})

        async def changed() -> bool:
            return Clumsy.seen["hopeless"] == 2

        await until(changed)

    with caplog.at_level(logging.WARNING, "controllers"):
        in_world(test, (Clumsy,))
    # each row of failures is told once
    told = [r.getMessage() for r in caplog.records if r.name == "controllers"]
    assert sorted(told) == sorted([
        "clumsy: default/hopeless: no use", "clumsy: default/refused: no", "clumsy: default/away: nobody there",
        "clumsy: default/hopeless: no use",
    ])  # fmt: skip
