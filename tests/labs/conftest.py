"""Labs for tests that need root: copies under names of their own, up for one test or module, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from exercising import TestBook, until

from netlab.daemons.clusters import ClusterMachine
from netlab.daemons.labclusters import ClusterLabs
from netlab.daemons.labexercises import ClusterExercises
from netlab.daemons.machine import LinuxMachine
from netlab.lab.engine import Engine
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab

LABS = Path(__file__).parents[2] / "labs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs root: labs are made of namespaces"))


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(LinuxMachine())


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> ClusterLabs:
    """Labs on clusters, which share one store of images."""
    place = tmp_path_factory.mktemp("clusters")
    return ClusterLabs(ClusterMachine(), disks=place / "disks", images=place / "images")


@pytest.fixture(scope="module")
def lab_copy(
    engine: Engine, clusters: ClusterLabs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Lab]]:
    """`lab_copy("docker0")`: that lab, up under a name that nobody else has. Taken down when the module's tests end.

    store: where a flannel lab keeps its leases, as for `lab up --store`.
    """
    with contextlib.ExitStack() as undo:

        def make(name: str, *, store: str | None = None) -> Lab:
            own = f"{name[-7:].strip('-')}-{uuid.uuid4().hex[:6]}"
            folder = tmp_path_factory.mktemp(own)
            shutil.copytree(LABS / name, folder, dirs_exist_ok=True)
            file = folder / "lab.yaml"
            file.write_text(re.sub(r"(?m)^name: .*$", f"name: {own}", file.read_text(), count=1))
            lab = Lab(file, store)
            if lab.on_cluster:
                undo.callback(_down_cluster, clusters, lab)
                clusters.up(lab)
                return lab
            undo.callback(_down, engine, lab)
            engine.up(lab)
            return lab

        yield make


@pytest.fixture(scope="module")
def up(lab_copy: Callable[[str], Lab]) -> Callable[[str], Lab]:
    """The lab of that name, brought up once."""
    known: dict[str, Lab] = {}

    def get(name: str) -> Lab:
        if name not in known:
            known[name] = lab_copy(name)
        return known[name]

    return get


@pytest.fixture
def exercises(
    up: Callable[[str], Lab], engine: Engine, clusters: ClusterLabs
) -> Iterator[Callable[..., Exercises]]:  # fmt: skip
    """`exercises("docker0")`: those of that lab, up once for the module; what is running at the end is solved.

    within: seconds that a check may take.
    """
    used: list[Exercises] = []

    def get(name: str, within: float = 60) -> Exercises:
        book = Book.of(up(name))
        own = TestBook(book.lab, book.document, book.file, within)
        used.append(
            ClusterExercises(engine, own, clusters) if book.lab.on_cluster else Exercises(engine, own)
        )  # fmt: skip
        return used[-1]

    yield get
    for each in used:
        if each.running():
            each.solve()
        if each.lab.on_cluster:
            continue
        until(lambda each=each: engine.drift(each.name).clean, "a lab without drift")


def _down(engine: Engine, lab: Lab) -> None:
    engine.down(lab.name)
    left = set(lab.topology.namespaces) & engine.machine.namespaces()
    assert not left, f"{lab.name} is down, and yet there are {sorted(left)}"
    assert not engine.journal(lab.name).dir.exists()


def _down_cluster(clusters: ClusterLabs, lab: Lab) -> None:
    clusters.down(lab.name)
    left = {name for name in clusters.machine.namespaces() if name.startswith(f"{lab.name}.")}
    assert not left, f"{lab.name} is down, and yet there are {sorted(left)}"
    assert not clusters.engine.journal(lab.name).dir.exists()
