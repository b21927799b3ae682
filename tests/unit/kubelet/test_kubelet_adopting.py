"""A kubelet begins while pods are deleted: it misses none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from podvalues import pod

from netlab.kubelet.kubelet import Kubelet
from netlab.kubelet.tools import Tools


def test_logs_of_nobody_go(tmp_path: Path) -> None:
    """Of pods that ended with the kubelet that ran them."""
    for name in ("default_web_u1", "default_old_u2", "not-of-a-pod", "somebodys_own"):
        (tmp_path / name / "c").mkdir(parents=True)
    Tools.forget_other_logs(cast(Any, SimpleNamespace(logs=tmp_path)), {"u1"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default_web_u1", "not-of-a-pod", "somebodys_own"]
    Tools.forget_other_logs(cast(Any, SimpleNamespace(logs=tmp_path / "missing")), {"u1"})


class Pods:
    """An informer of one pod, which is deleted when the test says so."""

    def __init__(self) -> None:
        self.store = [pod()]
        self.handlers: list[Callable[[Any, Any], None]] = []
        self.interest = None

    def add_handler(self, handler: Callable[[Any, Any], None]) -> None:
        self.handlers.append(handler)
        for each in self.store:
            handler(None, each)

    def delete(self) -> None:
        gone = self.store.pop()
        for handler in self.handlers:
            handler(gone, None)


class Worker:
    """Of one pod."""

    def __init__(self, pod: Any) -> None:
        self.pod, self.boxes, self.removed = pod, {"box"}, False

    def update(self, pod: Any) -> None:
        self.pod = pod

    def remove(self) -> None:
        self.removed = True


def test_a_pod_that_is_deleted_while_what_was_left_is_cleared_away() -> None:
    async def test() -> None:
        pods, workers, detached = Pods(), {}, []

        def known() -> set[str]:
            """In a thread, as disks are slow."""
            asyncio.run_coroutine_threadsafe(deleted(), loop).result(30)
            return {"box", "of nobody"}

        async def deleted() -> None:
            pods.delete()

        async def wait(_: Any) -> None:
            pass

        def work(self: Any, pod: Any, _statuses: Any, _rejected: Any = None) -> Worker:
            found = workers[pod["metadata"]["uid"]] = Worker(pod)
            return found

        class Bare(Kubelet):
            """Of all that a kubelet is, what begins."""

            _work = cast(Any, work)

            def __init__(self) -> None:
                registered, self.ready = asyncio.Event(), asyncio.Event()
                registered.set()
                self.registration = cast(Any, SimpleNamespace(registered=registered, node={}))
                self.machine = cast(Any, SimpleNamespace(name="n"))
                self._pods, self._informers = cast(Any, pods), cast(Any, SimpleNamespace(wait=wait))
                self._mirrors = cast(Any, SimpleNamespace(wake=asyncio.Event(), run=lambda: wait(None)))
                self._manifests, self._found, self.workers = None, {}, cast(Any, workers)
                making = SimpleNamespace(known=set, release=lambda _: None)
                network = SimpleNamespace(known=known, detach=detached.append)
                self.tools = cast(Any, SimpleNamespace(making=making, network=network, forget_other_logs=len))

            def _refusal(self, pod: Any) -> None:
                return None

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            await Bare()._serve()
        assert [worker.removed for worker in workers.values()] == [True]
        assert detached == ["of nobody"]

    asyncio.run(test())
