"""What the engine of clusters asks the supervisor for, without a machine."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from netlab.base.errors import MachineError
from netlab.cluster import plan
from netlab.cluster.engine import Engine
from netlab.cluster.options import options
from netlab.cluster.plan import Places
from netlab.lab.journal import Record


class FakeMachine:
    """A machine on which the named processes run, as `python` would start them."""

    def __init__(self, python: str, *running: str) -> None:
        self.python, self.running = python, running

    def netlab(self) -> list[str]:
        return [self.python, "-m", "netlab.cli.main"]

    def boot(self) -> list[str]:
        return [self.python, "-c", "boot"]

    def code(self) -> tuple[Path, ...]:
        return (Path("/code"),)

    def processes(self, run_dir: Path) -> dict[str, dict[str, Any]]:
        return {name: {"state": "running"} for name in self.running}


def test_what_runs_is_not_started_again_because_another_python_asks(tmp_path: Path) -> None:
    """`python -m netlab cluster node crash node1` of a cluster that `netlab` brought up, which is a `python3`."""
    places = Places(tmp_path / "c", Path("/disk/c"), Path("/images"))
    cluster = plan.plan(options("c", count=3), places, port=6443)
    on = list(cluster.options.nodes)

    def table(machine: FakeMachine) -> list[dict[str, Any]]:
        engine = Engine(cast(Any, machine), run_dir=tmp_path)
        return engine._table(engine.journal("c"), cluster, on)

    started = table(FakeMachine("python3"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "processes.json").write_text(json.dumps({"processes": started}))
    others = [entry["name"] for entry in started if not entry["name"].startswith("node1/")]
    found = table(FakeMachine("python", *others))
    assert [entry for entry in found if entry["name"] in others] == [e for e in started if e["name"] in others]
    # what is off begins with the command of who asks
    assert [entry["argv"][0] for entry in found if entry["name"] == "node1/init"] == ["python"]


class Choosing(FakeMachine):
    """meanwhile: what somebody else does while a port is chosen."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__("python")
        self.meanwhile = meanwhile

    def free_port(self, first: int, taken: Collection[int]) -> int:
        self.meanwhile()
        return next(port for port in range(first, first + 100) if port not in taken)


def test_two_clusters_that_come_up_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    """Who chooses is alone until the choice is written down: the other waits at the directory of all."""

    def planned(name: str, meanwhile: Callable[[], object]) -> int:
        engine = Engine(cast(Any, Choosing(meanwhile)), run_dir=tmp_path)
        places = Places(tmp_path / name, Path("/disk"), Path("/images"))
        return engine._planned(engine.journal(name), options(name, count=1), places).port

    def held() -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)

    with ThreadPoolExecutor() as pool:
        other: list[Future[int]] = []

        def meanwhile() -> None:
            held()
            other.append(pool.submit(planned, "b", held))

        assert planned("a", meanwhile) == 6443
        assert other[0].result(60) == 6444
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_cluster_of_another_netlab_is_named_with_what_to_do(tmp_path: Path) -> None:
    engine = Engine(cast(Any, FakeMachine("python")), run_dir=tmp_path)
    journal = engine.journal("c")
    journal.dir.mkdir()
    (journal.dir / "cluster.json").touch()
    journal.write(Record(name="c", source="", digest=""))
    asked = {**options("c").as_json(), "from_the_future": True}
    (journal.dir / "cluster.json").write_text(
        json.dumps({"options": asked, "port": 6443, "disk": "/d", "images": "/i"})
    )
    with pytest.raises(MachineError, match=r"cluster\.json: another netlab wrote it.*from_the_future") as e:
        engine.cluster("c")
    assert e.value.hint == "use the netlab that made it, or: netlab cluster down c"
