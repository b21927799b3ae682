"""`netlab cni`: what needs no kernel of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from netlab.cli.main import cli
from netlab.cni.plugins import PLUGINS


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, ["cni", *map(str, args)])


def test_installed_plugins_are_executables_that_answer(tmp_path: Path) -> None:
    done = run("install", tmp_path / "bin", "--prefix", "netlab-", "--json")
    paths = [Path(text) for text in json.loads(done.output)]
    assert [p.name for p in paths] == [f"netlab-{name}" for name in PLUGINS]
    assert all(p.stat().st_mode & stat.S_IXUSR for p in paths)
    env = {**os.environ, "CNI_COMMAND": "VERSION"}
    said = subprocess.run([paths[0]], env=env, input=b'{"cniVersion": "1.0.0"}', capture_output=True, timeout=60)
    assert "1.1.0" in json.loads(said.stdout)["supportedVersions"]
    said = subprocess.run([paths[0]], env={**env, "CNI_COMMAND": "ADD"}, input=b"{}", capture_output=True, timeout=60)
    assert said.returncode == 1 and json.loads(said.stdout)["code"] == 1


@pytest.mark.parametrize(
    ("config", "status", "said"),
    [
        ({"cniVersion": "1.0.0", "name": "x", "type": "nosuch"}, 3, "there is no plugin nosuch"),
        ({"cniVersion": "1.0.0", "name": "x"}, 2, "plugins[0] has no type"),
        ({"cniVersion": "0.1.0", "name": "x", "type": "bridge"}, 2, "0.1.0"),
        ({"cniVersion": "1.0.0", "name": "x", "type": "bridge", "vlan": 7}, 2, "vlan 7 is not supported"),
        ({"cniVersion": "1.1.0", "name": "x", "plugins": [{"type": "flannel"}]}, 1, "subnet.env is not there"),
    ],
)
def test_exit_statuses(tmp_path: Path, config: dict[str, Any], status: int, said: str) -> None:
    (tmp_path / "net.conflist").write_text(json.dumps(config))
    options = ("--root", tmp_path, "--path", tmp_path, "--json")
    done = run("add", tmp_path / "net.conflist", "c1", "/nowhere", *options)
    assert done.exit_code == status and said in json.loads(done.output)["error"]


def test_what_is_attached(tmp_path: Path) -> None:
    assert json.loads(run("list", "--root", tmp_path, "--json").output) == []
    assert run("add", tmp_path / "none.conf", "c1", "/x").exit_code == 2
    (tmp_path / "a.conf").write_text('{"cniVersion": "1.0.0", "name": "x", "type": "loopback"}')
    for bad in ("[]", "{"):
        assert run("add", tmp_path / "a.conf", "c1", "/x", "--capabilities", bad).exit_code == 2
    gone = run("del", tmp_path / "a.conf", "c1", "/x", "--root", tmp_path)
    assert (gone.exit_code, gone.output) == (0, "c1: eth0 is gone\n")
