"""`netlab store …` on files, and on an etcd where there is one."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "overlay"))

from stores import running_etcd

from netlab.cli.main import cli
from netlab.store.sqlite import SqliteStore

POD = "/registry/pods/default/web"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"

    async def fill() -> None:
        store = await SqliteStore.open(path)
        revision = await store.create(POD, b'{"kind": "Pod"}')
        await store.update(POD, b'{"kind": "Pod", "spec": {}}', expected=revision)
        await store.create("/registry/secrets/default/\x1b[31m", b"\xff\x00")
        await store.aclose()

    asyncio.run(fill())
    return path


@pytest.fixture
def run() -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, ["store", *map(str, arguments)], prog_name="netlab")

    return call


def test_get(run: Callable[..., Result], file: Path) -> None:
    result = run("get", POD, "--sqlite", file)
    assert (result.exit_code, result.stdout) == (0, '{"kind": "Pod", "spec": {}}')
    assert run("get", POD, "--revision", 2, "--sqlite", file).stdout == '{"kind": "Pod"}'
    assert json.loads(run("get", POD, "--json", "--sqlite", file).stdout) == {
        "key": POD, "created": 2, "revision": 3, "bytes": 27, "value": '{"kind": "Pod", "spec": {}}', "store_revision": 4,
    }  # fmt: skip
    shown = json.loads(run("get", "/registry/secrets/default/\x1b[31m", "--json", "--sqlite", file).stdout)
    assert (shown["key"], shown["value_base64"]) == ("/registry/secrets/default/\\x1b[31m", "/wA=")
    missing = run("get", "/registry/pods/default/db", "--sqlite", file)
    assert missing.exit_code == 1
    assert "error: there is no key /registry/pods/default/db at revision 4" in missing.stderr


def test_list(run: Callable[..., Result], file: Path) -> None:
    result = run("list", "--sqlite", file)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == [POD, "27", "2", "3"]
    assert "\x1b" not in result.stdout and "\\x1b[31m" in result.stdout
    assert "2 keys, at revision 4" in result.stderr
    found = json.loads(run("list", "/registry/", "--limit", 1, "--json", "--sqlite", file).stdout)
    assert found == {
        "revision": 4, "remaining": 1, "keys": [{"key": POD, "created": 2, "revision": 3, "bytes": 27}],
    }  # fmt: skip
    found = json.loads(run("list", "--after", POD, "--json", "--sqlite", file).stdout)
    assert len(found["keys"]) == 1 and found["remaining"] == 0


def test_snapshot_restore_compact(run: Callable[..., Result], file: Path, tmp_path: Path) -> None:
    saved, new = tmp_path / "saved.db", tmp_path / "new.db"
    assert run("snapshot", saved, "--sqlite", file).stdout.startswith(f"saved {saved}: revision 4, ")
    assert json.loads(run("restore", saved, "--json", "--sqlite", new).stdout) == {"revision": 4}
    again = run("restore", saved, "--sqlite", new)
    assert again.exit_code == 2 and "--force" in again.stderr
    assert run("restore", saved, "--force", "--sqlite", new).exit_code == 0
    assert run("get", POD, "--revision", 2, "--sqlite", new).stdout == '{"kind": "Pod"}'
    assert json.loads(run("compact", "--json", "--sqlite", new).stdout)["oldest"] == 4
    gone = run("get", POD, "--revision", 2, "--json", "--sqlite", new)
    assert gone.exit_code == 1
    assert json.loads(gone.stdout)["error"] == "revision 2 has been compacted; the oldest kept is 4"
    assert run("compact", "--sqlite", new).exit_code == 0
    assert run("compact", "--revision", 3, "--sqlite", new).exit_code == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.db", "saved.db", "state.db"]


def test_mistakes(run: Callable[..., Result], file: Path, tmp_path: Path) -> None:
    for arguments in (
        ["list"],
        ["list", "--sqlite", file, "--etcd-endpoints", "http://127.0.0.1:1"],
        ["restore", file],
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Exactly one of --sqlite and --etcd-endpoints" in result.stderr
    for verb in (["list"], ["get", "/a"], ["compact"], ["snapshot", tmp_path / "x"]):
        result = run(*verb, "--sqlite", tmp_path / "no.db")
        assert result.exit_code == 2 and "no.db: there is no such store" in result.stderr
    assert run("snapshot", file, "--sqlite", file).exit_code == 2
    assert run("restore", tmp_path / "no.db", "--sqlite", tmp_path / "x").exit_code == 2
    assert run("list", "--etcd-endpoints", "127.0.0.1:2379").exit_code == 2
    away = run("list", "--etcd-endpoints", "http://127.0.0.1:1")
    assert away.exit_code == 1 and "etcd does not answer: http://127.0.0.1:1: " in away.stderr
    assert not (tmp_path / "x").exists()


def test_etcd(run: Callable[..., Result], file: Path, tmp_path: Path) -> None:
    with running_etcd(tmp_path / "etcd") as etcd:
        where = ("--etcd-endpoints", etcd.url)
        assert json.loads(run("restore", file, "--json", *where).stdout) == {"revision": 3}
        assert run("restore", file, *where).exit_code == 2
        assert run("get", POD, *where).stdout == '{"kind": "Pod", "spec": {}}'
        assert len(json.loads(run("list", "--json", *where).stdout)["keys"]) == 2
        assert json.loads(run("compact", "--json", *where).stdout) == {"oldest": 3, "bytes": None}
        assert run("snapshot", tmp_path / "saved.db", *where).exit_code == 0
    assert run("get", POD, "--sqlite", tmp_path / "saved.db").stdout == '{"kind": "Pod", "spec": {}}'


@pytest.mark.parametrize("verb", ["get", "list", "snapshot", "restore", "compact"])
def test_every_verb_has_examples(run: Callable[..., Result], verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0 and "Examples:" in result.stdout and "--etcd-endpoints" in result.stdout
