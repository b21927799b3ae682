"""Nodes: machines made of namespaces, what runs inside of them, and what is left when their plug is pulled."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import patience

from netlab.kernel import cgroups, netns, processes, supervise
from netlab.kernel.commands import run_in
from netlab.kernel.processes import Identity

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("its files are an overlay already, and a node's cannot be one on top of it"),
]

PATIENCE = patience(30.0)
SLEEP = ["sleep", "1000"]
#: prints what a process sees of the node that it is in
LOOK = "hostname; cat /own/file; echo done >/run/here; exec sleep 1000"


class Node:
    """A run directory, a disk, and a network namespace for one node."""

    def __init__(self, directory: Path) -> None:
        self.run_dir, self.disk = directory / "run", directory / "disk"
        self.name = f"kfw.node-{os.getpid()}"
        self.group = f"/netlab.node-{os.getpid()}/n1/system"
        own = directory / "own"
        for path in (self.run_dir, self.disk, own, self.run_dir / "notify"):
            path.mkdir(exist_ok=True)
        (own / "file").write_text("of the node\n")
        code = {Path(supervise.netlab.__file__).resolve().parents[1], Path(sys.prefix), Path(sys.base_prefix)}
        binds = [(str(own), "/own"), *((str(p), str(p)) for p in (self.run_dir / "notify", *sorted(code)))]
        machine = {
            "hostname": "n1", "disk": str(self.disk), "cgroup": self.group, "binds": binds,
            "files": {"/etc/of-node": "1\n"},
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


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    mounts = Path("/proc/self/mounts").read_text()
    yield node
    supervise.stop_supervisor(node.run_dir)
    netns.delete(node.name)
    cgroups.clear(f"/netlab.node-{os.getpid()}", PATIENCE)
    assert node.name not in netns.names()
    assert not [top for top in cgroups.hierarchies() if (top / f"netlab.node-{os.getpid()}").exists()]
    left = set(Path("/proc/self/mounts").read_text().splitlines()) - set(mounts.splitlines())
    assert not [line for line in left if str(node.disk) in line]


def test_what_runs_in_a_node_sees_the_node_alone(node: Node) -> None:
    node.run({"name": "look", "argv": ["sh", "-c", LOOK]})
    look = node.runs("look")
    node.until(lambda: "of the node" in node.log("look"))
    assert node.log("look") == "n1\nof the node\n"
    assert not Path("/run/here").exists() and not Path("/etc/of-node").exists()
    assert (node.disk / "upper/etc/of-node").read_text() == "1\n"
    assert look.pid in cgroups.members(node.group)
    # of its own number, it knows another
    assert run_in(None, ["grep", "-c", f"^NSpid:.{look.pid}.[0-9]*$", f"/proc/{look.pid}/status"]).stdout == "1\n"


def test_a_process_is_inside_as_soon_as_the_node_is_ready_and_restarted_as_long_as_it_is(node: Node) -> None:
    node.run({"name": "sleep", "argv": SLEEP})
    first = node.runs("sleep")
    processes.send(first, signal.SIGKILL)
    second = node.until(lambda: (node.state("sleep").get("pid") or first.pid) != first.pid and node.runs("sleep"))
    assert second != first


def test_pulling_the_plug_ends_everything_and_the_network_with_it(node: Node) -> None:
    node.run({"name": "sleep", "argv": ["sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"]})
    node.runs("sleep")
    inode = netns.inode(node.name)
    assert inode is not None
    node.until(lambda: len(processes.inside([inode])) >= 4)
    processes.send(node.runs("init"), signal.SIGKILL)
    node.until(lambda: node.state("init")["state"] == "exited")
    assert processes.inside([inode]) == [] and netns.inode(node.name) is None
    # nothing is started inside of what is off
    assert node.state("sleep")["state"] == "backoff"
    # power again: what it had written is there
    node.run({"name": "sleep", "argv": ["sh", "-c", "cat /etc/of-node; exec sleep 1000"]})
    node.until(lambda: node.log("sleep") == "1\n")


def test_a_listening_socket_is_opened_outside_and_stays_open(node: Node) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = (
        "import os, socket; assert os.environ['LISTEN_PID'] == str(os.getpid()); s = socket.socket(fileno=3)\n"
        "while True:\n c, _ = s.accept(); c.sendall(str(os.getpid()).encode()); c.close()\n"
    )
    spec = {"name": "serve", "argv": [sys.executable, "-I", "-S", "-c", serve], "listen": [f"127.0.0.1:{port}"]}
    node.run(spec)
    first = node.runs("serve")

    def asked() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
            return sock.recv(100)

    before = asked()
    processes.send(first, signal.SIGKILL)
    # nobody is refused meanwhile: the next one takes it
    assert asked() != before


def test_a_function_is_forked_and_not_executed(node: Node) -> None:
    """The supervisor loads the module once; what it forks has nothing of the supervisor's open."""
    spec = {"call": "netlab.daemons.web:main", "argv": ["netlab-web", "--name", "x", "--tcp", "8080"]}
    node.run({"name": "web", **spec}, {"name": "nothing", "call": "netlab.daemons.web:nothing", "argv": ["x"]})
    node.until(lambda: "x listens" in node.log("web"))
    pid = node.runs("web").pid
    assert Path(f"/proc/{pid}/comm").read_text() == "netlab-web\n"
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == Path(f"/proc/{_supervisor(node)}/cmdline").read_bytes()
    held = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    assert not [path for path in held if path.endswith("supervisor.lock")]
    assert node.state("nothing")["state"] == "failed" and "nothing" in node.state("nothing")["reason"]


def _supervisor(node: Node) -> int:
    found = supervise.supervisor(node.run_dir)
    assert found is not None
    return found.pid
