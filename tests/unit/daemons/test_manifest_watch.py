"""Manifests that are watched: what is there, what changes, and what stays when something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from netlab.base.errors import InputError
from netlab.compile.gathered import Gathered
from netlab.compile.objects import Objects
from netlab.daemons.manifest_watch import Folder
from netlab.daemons.sources import Change

SERVICE = """\
kind: Service
metadata: {name: NAME}
spec: {clusterIP: 10.96.0.NUMBER, ports: [{port: 80}]}
"""


def service(name: str, number: int) -> str:
    return SERVICE.replace("NAME", name).replace("NUMBER", str(number))


class Seen:
    """What somebody knows who has heard all that a folder told."""

    def __init__(self, folder: Folder) -> None:
        self.folder, self.gathered = folder, Gathered()
        self.last = Change({})

    def take(self, change: Change) -> Seen:
        self.last = change
        self.gathered.take(change.values)
        return self

    def look(self) -> Seen:
        return self.take(self.folder.look())

    @property
    def objects(self) -> Objects:
        return self.gathered.objects()

    @property
    def problems(self) -> list[str]:
        return [str(problem) for problem in self.last.problems]


def names(seen: Seen) -> list[str]:
    return [s.name for s in seen.objects.services]


def put(file: Path, text: str) -> None:
    """As a careful program writes."""
    beside = file.with_name("." + file.name)
    beside.write_text(text)
    beside.replace(file)


def test_what_is_there_in_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yml").write_text(service("b", 2))
    (tmp_path / "a.yaml").write_text(service("a", 1) + "---\n" + service("c", 3))
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / ".hidden.yaml").write_text(service("h", 9))
    assert names(Seen(Folder([tmp_path])).look()) == ["a", "b", "c"]
    assert names(Seen(Folder([tmp_path / "deep" / "b.yml"])).look()) == ["b"]


def test_a_mistake_is_told_and_what_was_there_before_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    put(file, service("a", 1) + "---\n" + service("b", 2))
    folder = Seen(Folder([tmp_path]))
    assert not folder.look().problems
    put(file, service("a", 1) + "---\n" + service("b", 2).replace("80", "eighty"))
    seen = folder.look()
    assert names(seen) == ["a", "b"] and seen.objects.services[1].ports[0].port == 80
    assert len(seen.problems) == 1 and "Service b" in seen.problems[0]
    assert seen.problems[0].startswith(f"{file}:7: ")
    put(file, "{")
    seen = folder.look()
    assert names(seen) == ["a", "b"] and "not valid YAML" in seen.problems[0]
    put(file, service("b", 2))
    assert names(folder.look()) == ["b"]


def test_what_says_the_same_is_the_same_object(tmp_path: Path) -> None:
    put(tmp_path / "a.yaml", service("a", 1))
    folder = Seen(Folder([tmp_path]))
    before = folder.look().objects.services[0]
    put(tmp_path / "a.yaml", "# a remark\n" + service("a", 1) + "---\n" + service("b", 2))
    seen = folder.look()
    assert seen.objects.services[0] is before
    assert [str(at) for at in seen.last.values] == ["Service default/b"]


def test_a_name_that_is_taken_is_told_and_the_first_counts(tmp_path: Path) -> None:
    put(tmp_path / "a.yaml", service("a", 1))
    put(tmp_path / "b.yaml", service("a", 2))
    seen = Seen(Folder([tmp_path])).look()
    assert [s.cluster_ips for s in seen.objects.services] == [("10.96.0.1",)]
    assert "Service default/a is in" in seen.problems[0]


def test_a_folder_that_is_lost_does_not_take_its_objects_along(tmp_path: Path) -> None:
    home = tmp_path / "manifests"
    home.mkdir()
    put(home / "a.yaml", service("a", 1))
    folder = Seen(Folder([home]))
    folder.look()
    home.rename(tmp_path / "elsewhere")
    seen = folder.look()
    assert names(seen) == ["a"] and "is not there any more" in seen.problems[0]
    home.mkdir()
    assert names(folder.look()) == []


def test_a_path_that_was_never_there_is_an_error(tmp_path: Path) -> None:
    async def first() -> None:
        await anext(Folder([tmp_path / "none"]).watch())

    with pytest.raises(InputError, match="no such file or folder"):
        asyncio.run(first())


def watching(tmp_path: Path, body: Callable[[Callable[[], Awaitable[Seen]]], Awaitable[None]]) -> None:
    async def run() -> None:
        seen = Seen(Folder([tmp_path]))
        changes = seen.folder.watch()

        async def following() -> Seen:
            async with asyncio.timeout(10):
                return seen.take(await anext(changes))

        try:
            await body(following)
        finally:
            await changes.aclose()

    asyncio.run(run())


def test_every_change_is_followed(tmp_path: Path) -> None:
    async def body(following: Callable[[], Awaitable[Seen]]) -> None:
        assert names(await following()) == []
        put(tmp_path / "a.yaml", service("a", 1))
        assert names(await following()) == ["a"]
        (tmp_path / "a.yaml").write_text(service("a", 1) + "---\n" + service("b", 2))  # in place
        assert names(await following()) == ["a", "b"]
        (tmp_path / "deep").mkdir()
        put(tmp_path / "deep" / "c.yaml", service("c", 3))
        while names(seen := await following()) != ["a", "b", "c"]:
            assert names(seen) == ["a", "b"]
        put(tmp_path / "deep" / "d.yaml", service("d", 4))
        assert names(await following()) == ["a", "b", "c", "d"]
        (tmp_path / "a.yaml").unlink()
        assert names(await following()) == ["c", "d"]

    watching(tmp_path, body)


def test_what_changes_nothing_is_not_told(tmp_path: Path) -> None:
    async def body(following: Callable[[], Awaitable[Seen]]) -> None:
        put(tmp_path / "a.yaml", service("a", 1))
        await following()
        put(tmp_path / "a.yaml", service("a", 1))
        (tmp_path / "notes.txt").write_text("x")
        put(tmp_path / "b.yaml", service("b", 2))
        assert names(await following()) == ["a", "b"]

    watching(tmp_path, body)
