"""What scripts/netlab finds out about a command before there is any Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("", ""),
        ("cluster up", "cluster"),
        ("lab up docker0", ""),
        ("lab up node-failure", "cluster"),
        # wherever options stand
        ("lab up --json node-failure", "cluster"),
        ("lab up --store etcd labs/node-failure/lab.yaml", "cluster"),
        ("exercise start -q node-failure burnt", "cluster"),
        ("lab up mine", "cluster"),
        ("lab up ./labs/mine", "cluster"),
        ("lab list", ""),
        # what a command is about is its first word that means a lab
        ("lab exec docker0 node1 ls node-failure /dev/zero", ""),
    ],
)
def test_what_a_command_needs_besides(tmp_path: Path, line: str, extra: str) -> None:
    mine = tmp_path / "labs" / "mine"
    mine.mkdir(parents=True)
    (mine / "lab.yaml").write_text("cluster: {}\n")
    (tmp_path / "labs" / "node-failure").symlink_to(ROOT / "labs" / "node-failure")
    script = f'source "$1"; extra_of {line}; printf %s "$extra"'
    done = subprocess.run(
        ["bash", "-uc", script, "bash", ROOT / "scripts/lib/bootstrap.sh"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (extra, "")
