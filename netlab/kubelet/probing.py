"""The probes of one container: startup first, then liveness and readiness, each at its own pace.

`counted` decides purely when an answer counts; `Prober` asks. A container that a probe has given up is asked no more:
it ends, and the one that comes after it has a prober of its own. Source: kubernetes pkg/kubelet/prober/worker.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from netlab.api import Json
from netlab.kubelet.handlers import Outcome, Target
from netlab.kubelet.needs import Clock
from netlab.kubelet.seen import Health


@dataclass(frozen=True, slots=True)
class Tally:
    """verdict: what counts, None as long as nothing does; last: the last answer, and how often in a row."""

    verdict: bool | None = None
    last: bool | None = None
    run: int = 0


def counted(tally: Tally, good: bool, probe: Json) -> Tally:
    """The tally after one more answer."""
    run = tally.run + 1 if tally.last == good else 1
    enough = int(probe.get("successThreshold") or 1) if good else int(probe.get("failureThreshold") or 3)
    return Tally(good if run >= enough else tally.verdict, good, run)


#: (kind of probe, its outcome): something went wrong that belongs into an event
Complain = Callable[[str, Outcome], None]
Ask = Callable[[Json, Target, float], Awaitable[Outcome]]


class Prober:
    """started: when the container was (by the clock); health: what is known of it already; told: called with
    every change."""

    def __init__(
        self, ask: Ask, target: Target, *, started: float, health: Health, told: Callable[[Health], None],
        complain: Complain, clock: Clock,
    ) -> None:  # fmt: skip
        self._ask, self._target, self._started = ask, target, started
        self.health, self._told, self._complain, self._clock = health, told, complain, clock

    @staticmethod
    def first(container: Json) -> Health:
        """What is held of a container before anybody has asked."""
        return Health(started="startupProbe" not in container, ready="readinessProbe" not in container)

    async def run(self) -> None:
        """Until cancelled, or nothing is left to ask."""
        container = self._target.container
        if not self.health.started and not await self._until(container["startupProbe"], "startup"):
            return
        asking = [kind for kind in ("liveness", "readiness") if f"{kind}Probe" in container]
        if asking:
            async with asyncio.TaskGroup() as tasks:
                for kind in asking:
                    tasks.create_task(self._follow(container[f"{kind}Probe"], kind))

    async def _until(self, probe: Json, kind: str) -> bool:
        """Ask until it counts; whether it is good."""
        tally = Tally()
        while (tally := await self._once(probe, kind, tally)).verdict is None:
            await self._clock.sleep(float(probe.get("periodSeconds") or 10))
        self._tell(started=True) if tally.verdict else self._tell(failed=kind)
        return tally.verdict

    async def _follow(self, probe: Json, kind: str) -> None:
        tally = Tally(self.health.ready if kind == "readiness" else True)
        while True:
            tally = await self._once(probe, kind, tally)
            if kind == "readiness":
                self._tell(ready=bool(tally.verdict))
            elif not tally.verdict:
                self._tell(failed=kind)
                return
            await self._clock.sleep(float(probe.get("periodSeconds") or 10))

    async def _once(self, probe: Json, kind: str, tally: Tally) -> Tally:
        early = self._started + float(probe.get("initialDelaySeconds") or 0) - self._clock.now()
        if early > 0:
            await self._clock.sleep(early)
        outcome = await self._ask(probe, self._target, float(probe.get("timeoutSeconds") or 1))
        if not outcome.ok:
            self._complain(kind, outcome)
        if outcome.result == "unknown":  # nobody could be asked: that is nobody's fault
            return tally
        return counted(tally, outcome.ok, probe)

    def _tell(self, **changed: Any) -> None:
        health = replace(self.health, **changed)
        if health != self.health:
            self.health = health
            self._told(health)
