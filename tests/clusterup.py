"""A cluster for the tests of a module, by the commands that a person types: up, looked into, and gone without a trace."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from patience import patience

from netlab.client.kubeconfig import load
from netlab.client.rest import RestClient
from netlab.kernel import cgroups, processes
from netlab.kernel.processes import Identity

_SNAPSHOT = Path(__file__).parents[1] / "scripts/lib/machine-snapshot"
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


@dataclass(frozen=True)
class Cluster:
    """One that is up. kubeconfig: the administrator's; disk: below which its nodes write; images: its store;
    environment: of a client, with a home of its own, so that no cache of another cluster is read."""

    name: str
    kubeconfig: Path
    disk: Path
    images: Path
    environment: dict[str, str]

    @property
    def run(self) -> Path:
        return Path("/run/netlab", self.name)

    def client(self) -> RestClient:
        return RestClient(load(self.kubeconfig), timeout=patience(10))

    def kubectl(self, *words: str) -> str:
        """What it prints. AssertionError if it fails."""
        argv = ["kubectl", *words]
        done = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, check=False, timeout=patience(120)
        )
        assert done.returncode == 0, (words, done.stderr[-2000:], self.logs())
        return done.stdout

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def exec(self, node: str, *words: str, status: int = 0) -> str:
        """What a program in a node prints."""
        return netlab("cluster", "exec", "--cluster", self.name, node, "--", *words, status=status)

    def until(self, what: str, holds: Callable[[], object], seconds: float = 120) -> None:
        end = time.monotonic() + patience(seconds)
        while not holds():
            assert time.monotonic() < end, (what, self.kubectl("get", "pods,nodes", "-A", "-o", "wide"), self.logs())
            time.sleep(0.1)

    def process(self, name: str) -> dict[str, Any]:
        """A line of the supervisor's table, such as that of `node1/agent`."""
        table: dict[str, dict[str, Any]] = json.loads((self.run / "supervised.json").read_text())["processes"]
        return table[name]

    def runs(self, name: str) -> Identity:
        """The process of that name. KeyError, TypeError if it does not run."""
        found = self.process(name)
        return Identity(found["pid"], found["start_time"])

    def kill(self, name: str) -> Identity:
        """SIGKILL to a process of the supervisor's table. Who it was."""
        one = self.runs(name)
        assert processes.send(one, 9)
        return one

    def own(self, node: str, path: str) -> Path:
        """A directory of a node that is its own, as this machine sees it."""
        return self.disk / node / "own" / path.lstrip("/")

    def nodes(self) -> list[str]:
        """Those that are on."""
        table = json.loads((self.run / "supervised.json").read_text())["processes"]
        return [n.partition("/")[0] for n, p in table.items() if n.endswith("/init") and p["state"] == "running"]

    def logs(self) -> str:
        """The last of what its processes have said, for who has to find out what is the matter."""
        files = sorted((self.run / "log").glob("*.log"))
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-2500:]}" for file in files)


@contextlib.contextmanager
def cluster(name: str, place: Path, *options: str) -> Iterator[Cluster]:
    """Up and, at the end, down. name: no two runs share it; place: for its files; options: of `netlab cluster up`."""
    home, disk, images = place / "home", place / "disk", place / "images"
    home.mkdir()
    try:
        words = ("--disk", str(disk), "--images", str(images), *options)
        said = json.loads(netlab("cluster", "up", name, *words, "--json"))
        assert said["fresh"]
        # what a client writes into its configuration is its own affair
        shutil.copy(said["kubeconfig"], home / "config")
        environment = {**os.environ, "KUBECONFIG": str(home / "config"), "HOME": str(home), "NO_COLOR": "1"}
        yield Cluster(name, Path(said["kubeconfig"]), disk / name, images, environment)
    finally:
        netlab("cluster", "down", name)


@contextlib.contextmanager
def leaving_nothing(name: str, place: Path) -> Iterator[None]:
    """Afterwards the machine is as it was, and nothing of a cluster of that name is left, nor of `place`, but images.

    Of namespaces only the cluster's are looked at: other tests may make theirs beside it.
    """
    netlab("doctor", "--json")  # what a kernel loads at first use is loaded now
    before = _machine(name)
    yield
    after = _machine(name)
    assert after == before, "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))
    assert not Path("/run/netlab", name).exists()
    assert not (place / "disk").exists()
    assert not [root for root in cgroups.hierarchies() if root.joinpath("netlab", name).exists()]
    ours = (f"/run/netlab/{name}/", f"{place}/")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert not [mount for mount in mounts if f"{mount}/".startswith(ours)]


def _machine(name: str) -> str:
    done = subprocess.run([_SNAPSHOT, f"{name}."], capture_output=True, text=True, check=True)
    return done.stdout
