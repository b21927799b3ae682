"""One node as a machine made of namespaces, without a cluster, and a supervisor that runs things in it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from patience import patience

from netlab.kernel import cgroups, netns, supervise
from netlab.kernel.processes import Identity

PATIENCE = patience(60.0)


class Node:
    """A run directory, a disk, and a network namespace for one node. own: paths in it that are directories of the real
    disk; binds: (path of the machine, path in it); hostname: if there are several, its own; files: more of them."""

    def __init__(
        self, directory: Path, *, own: Sequence[str] = (), binds: Sequence[tuple[str, str]] = (), hostname: str = "n1",
        files: Mapping[str, str] = {},
    ) -> None:  # fmt: skip
        directory.mkdir(exist_ok=True)
        self.run_dir, self.disk = directory / "run", directory / "disk"
        self.name = f"kfw.node-{os.getpid()}" if hostname == "n1" else f"kfw.{hostname}"
        self.root_group = f"/netlab.node-{os.getpid()}" if hostname == "n1" else f"/netlab.machine-{hostname}"
        self.group = f"{self.root_group}/n1/system"
        ours = directory / "own"
        for path in (self.run_dir, self.disk, ours, self.run_dir / "notify"):
            path.mkdir(exist_ok=True)
        (ours / "file").write_text("of the node\n")
        places = [(str(ours), "/own"), *((str(ours / path.lstrip("/")), path) for path in own), *binds]
        for source, _ in places:
            Path(source).mkdir(parents=True, exist_ok=True)
        code = {Path(supervise.netlab.__file__).resolve().parents[1], Path(sys.prefix), Path(sys.base_prefix)}
        places += [(str(p), str(p)) for p in (self.run_dir / "notify", *sorted(code))]
        machine = {
            "hostname": hostname, "disk": str(self.disk), "cgroup": self.group, "binds": places,
            "files": {"/etc/of-node": "1\n", **files},
        }  # fmt: skip
        (self.run_dir / "machine.json").write_text(json.dumps(machine))

    def init(self) -> dict[str, Any]:
        argv = [*supervise.python("netlab.kernel.boot"), str(self.run_dir / "machine.json")]
        return {"name": "init", "argv": argv, "netns": self.name, "init": True, "unplug": self.name, "notify": True,
                "restart": "never"}  # fmt: skip

    def run(self, *inside: dict[str, Any]) -> None:
        if netns.inode(self.name) is None:
            os.close(netns.create(self.name))
        table = [self.init(), *({"inside": "init", "cgroup": self.group, **spec} for spec in inside)]
        (self.run_dir / "processes.json").write_text(json.dumps({"processes": table}))
        supervise.ensure_supervisor(self.run_dir, deadline=PATIENCE)

    def state(self, name: str) -> dict[str, Any]:
        return supervise.supervised(self.run_dir).get(name, {})

    def until(self, holds: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE
        while not (found := holds()):
            logs = {file.name: file.read_text() for file in (self.run_dir / "log").glob("*")}
            assert time.monotonic() < end, (supervise.supervised(self.run_dir), logs)
            time.sleep(0.01)
        return found

    def runs(self, name: str) -> Identity:
        found = self.until(lambda: (s := self.state(name)).get("state") == "running" and s)
        return Identity(found["pid"], found["start_time"])

    def log(self, name: str) -> str:
        path = self.run_dir / "log" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def remove(self) -> None:
        """Nothing is left of it."""
        supervise.stop_supervisor(self.run_dir)
        netns.delete(self.name)
        cgroups.clear(self.root_group, PATIENCE)
