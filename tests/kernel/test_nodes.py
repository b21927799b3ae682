"""Nodes: machines made of namespaces, what runs inside of them, and what is left when their plug is pulled."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodemachine import PATIENCE, Node

from netlab.kernel import cgroups, netns, processes, supervise
from netlab.kernel.commands import run_in

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("its files are an overlay already, and a node's cannot be one on top of it"),
]

SLEEP = ["sleep", "1000"]
#: prints what a process sees of the node that it is in
LOOK = "hostname; cat /own/file; echo done >/run/here; exec sleep 1000"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    mounts = Path("/proc/self/mounts").read_text()
    yield node
    node.remove()
    assert node.name not in netns.names()
    assert not [top for top in cgroups.hierarchies() if (top / node.root_group.lstrip("/")).exists()]
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
