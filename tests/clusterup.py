"""A cluster for the tests of a module, by the commands that a person types."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patience

_LACKING = [tool for tool in ("runc", "conmon", "busybox", "kubectl") if not shutil.which(tool)]
#: of modules whose tests have a cluster
NEEDS = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nodes are made of namespaces"),
    pytest.mark.skipif(bool(_LACKING), reason=f"{', '.join(_LACKING)} lack"),
    pytest.mark.not_in_vm("starts Python by the dozen; the parts that a kernel has a share in have tests of their own"),
]


def netlab(*words: str, status: int = 0) -> str:
    """What the command prints. AssertionError with all it has said if it ends otherwise."""
    argv = [sys.executable, "-m", "netlab.cli.main", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patience(300))
    assert done.returncode == status, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@contextlib.contextmanager
def cluster(name: str, place: Path, *options: str) -> Iterator[dict[str, str]]:
    """Up and, at the end, down. name: no two runs share it; place: for its files; options: of `netlab cluster up`.
    The environment of a client: its own home, so that no cache of another cluster is read."""
    home = place / "home"
    home.mkdir()
    try:
        words = ("--disk", str(place / "disk"), "--images", str(place / "images"), *options)
        said = json.loads(netlab("cluster", "up", name, *words, "--json"))
        # what a client writes into its configuration is its own affair
        shutil.copy(said["kubeconfig"], home / "config")
        yield {**os.environ, "KUBECONFIG": str(home / "config"), "HOME": str(home), "NO_COLOR": "1"}
    finally:
        netlab("cluster", "down", name)
