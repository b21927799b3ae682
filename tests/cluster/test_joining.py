"""Three machines with roots of their own, and the commands that a person types on them: a server, and nodes that join.

Each machine has a network, processes, a host name and a root of its own, in which all that belongs to a cluster is its
own; what they share are the images, which take time to make. As of Vagrant's machines, the way to the world is one that
they do not reach each other by.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shlex
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from nodemachine import Node
from patience import patience

from netlab.apiserver import certs
from netlab.apiserver.certs import Authority
from netlab.client.kubeconfig import load
from netlab.cluster.credentials import signed
from netlab.daemons import joining
from netlab.daemons.renewing import expiry
from netlab.kernel import cgroups, netns

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: machines are made of namespaces"),
    pytest.mark.not_in_vm("starts Python by the dozen; the parts that a kernel has a share in have tests of their own"),
]
NETLAB = [sys.executable, "-m", "netlab.cli.main"]
LAN = f"kfw.lan-{os.getpid()}"
#: what a machine has of its own: wherever anything of a cluster is written
OWN = ("/etc/kubernetes", "/etc/cni/net.d", "/var/lib/netlab", "/var/lib/kubelet", "/var/lib/cni", "/var/log")
CONF = "/var/lib/netlab/server/admin.conf"


class Machine:
    """number: of its address. Its host name is no other's, and so is its id."""

    def __init__(self, directory: Path, number: int) -> None:
        self.name = f"j{os.getpid()}-{number}"
        self.address = f"192.168.61.{number}"
        self._directory = directory / self.name
        self.node = Node(
            self._directory, own=OWN, hostname=self.name, files={"/etc/machine-id": f"{number:032x}\n"},
            binds=[(str(directory / "images"), "/var/lib/netlab/images")],
        )  # fmt: skip
        self._table: dict[str, dict[str, Any]] = {}
        os.close(netns.create(self.node.name))
        for words in (
            f"-n {LAN} link add m{number} type veth peer name eth1 netns {self.node.name}",
            f"-n {LAN} link set m{number} master lan up",
            f"-n {LAN} link add nat{number} type veth peer name eth0 netns {self.node.name}",
            f"-n {LAN} link set nat{number} up",
            f"-n {self.node.name} link set lo up",
            f"-n {self.node.name} addr add 10.0.2.15/24 dev eth0",
            f"-n {self.node.name} addr add {self.address}/24 dev eth1",
            f"-n {self.node.name} link set eth0 up",
            f"-n {self.node.name} link set eth1 up",
            f"-n {self.node.name} route add default via 10.0.2.2",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        self.node.run()

    def own(self, path: str) -> Path:
        """A directory of OWN, or below one, as the machine of the tests sees it."""
        return self._directory / "own" / path.lstrip("/")

    def start(self, name: str, *words: str) -> None:
        """Keep a daemon running, as systemd would, and wait until it is ready."""
        self._table[name] = {"name": name, "argv": [*NETLAB, *words], "notify": True}
        self.node.run(*self._table.values())
        self.node.until(lambda: self.node.state(name).get("ready"))

    def stop(self, name: str) -> None:
        del self._table[name]
        self.node.run(*self._table.values())
        self.node.until(lambda: self.node.state(name).get("state") in (None, "exited"))

    def types(self, *argv: str, status: int | None = 0) -> str:
        """What a command in a shell of this machine says. status: how it has to end, None if that is to be seen."""
        pid = str(self.node.runs("init").pid)
        environ = {**os.environ, "KUBECONFIG": CONF, "HOME": "/root"}
        environ.pop("NETLAB_DATA_DIR", None)
        done = subprocess.run(
            ["nsenter", "-t", pid, "-m", "-u", "-i", "-n", "-p", "--", *argv],
            env=environ, capture_output=True, text=True, check=False, timeout=patience(180),
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert status is None or done.returncode == status, (argv, done.returncode, said[-3000:])
        return said

    def netlab(self, *words: str, status: int = 0) -> str:
        return self.types(*NETLAB, *words, status=status)

    def remove(self) -> None:
        self.node.remove()
        cgroups.clear(f"/netlab.{self.name}", patience(30))


class World:
    def __init__(self, directory: Path) -> None:
        os.close(netns.create(LAN))
        for words in ("link add lan type bridge", "link set lan up", "link set lo up"):
            subprocess.run(["ip", "-n", LAN, *words.split()], check=True)
        self.machines: list[Machine] = []
        for number in (10, 11, 12):
            self.machines.append(Machine(directory, number))

    def kubectl(self, *words: str) -> str:
        return self.machines[0].types("kubectl", *words)

    def ready(self) -> set[str]:
        listed = self.kubectl("get", "nodes", "--no-headers")
        return {line.split()[0] for line in listed.splitlines() if line.split()[1:2] == ["Ready"]}

    def until(self, what: str, holds: Callable[[], object]) -> None:
        end = time.monotonic() + patience(120)
        while not holds():
            logs = [machine.node.log("agent")[-1500:] for machine in self.machines]
            assert time.monotonic() < end, (what, self.kubectl("get", "pods,nodes", "-A", "-o", "wide"), *logs)
            time.sleep(0.2)

    def remove(self) -> None:
        for machine in self.machines:
            machine.remove()
        netns.delete(LAN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("machines"))
    try:
        yield made
    finally:
        made.remove()


def printed(text: str) -> list[str]:
    """The command that a server prints for machines that join, as it is typed there."""
    found = re.search(r"netlab (agent --this-machine --join .*)", text)
    assert found is not None, text
    return shlex.split(found[1])


def other(command: list[str], **options: str) -> list[str]:
    """The command with other values of its options."""
    changed = list(command)
    for name, value in options.items():
        changed[changed.index(f"--{name.replace('_', '-')}") + 1] = value
    return changed


def test_a_server_prints_what_makes_another_machine_its_node(world: World) -> None:
    server, first, _ = world.machines
    server.start("server", "server", "--bind", server.address)
    server.node.until(lambda: "--control-plane" in server.node.log("server"))
    command = printed(server.node.log("server"))
    assert command[3] == f"https://{server.address}:6443"
    said = first.netlab(*command, "--no-run")
    assert f"this machine is now node {first.name}" in said
    first.start("agent", "agent", "--this-machine")
    world.until("it is Ready", lambda: world.ready() == {first.name})
    # of its two addresses, it is known by the one that leads to the server
    assert first.address in world.kubectl("get", "node", first.name, "-o", "wide")
    # typed again, it is what it was, whatever became of the token
    again = first.netlab(*other(command, token="abcdef.0123456789abcdef"), "--no-run")
    assert f"this machine is node {first.name}" in again


def test_what_can_be_wrong_is_told_with_what_to_do(world: World) -> None:
    server, first, second = world.machines
    command = [*printed(server.netlab("token")), "--no-run"]
    for changed, status, words in (
        (other(command, token="abcdef.0123456789abcdef"), 2, "does not know this token: it is wrong, or has expired"),
        (other(command, ca_hash=f"sha256:{'0' * 64}"), 2, "expected sha256:0000"),
        (other(command, join="192.168.61.99"), 1, "https://192.168.61.99:6443 cannot be reached"),
        ([*command, "--node-name", first.name], 2, f"another machine is node {first.name} already"),
    ):
        said = second.netlab(*changed, status=status)
        assert words in said, said
        assert "hint" in said
    identity = command[command.index("--token") + 1].partition(".")[0]
    past = json.dumps({"stringData": {"expiration": "2020-01-01T00:00:00Z"}})
    world.kubectl("patch", "secret", "-n", "kube-system", f"bootstrap-token-{identity}", "-p", past)
    assert "it is wrong, or has expired" in second.netlab(*command, status=2)
    assert not second.types("ls", "/etc/kubernetes").strip()


def test_pods_of_all_machines_reach_each_other_by_name(world: World) -> None:
    server, first, second = world.machines
    command = printed(server.netlab("token", "--hours", "1"))
    # by its address alone, as it is told on the telephone
    second.netlab(*other(command, join=server.address), "--no-run")
    second.start("agent", "agent", "--this-machine")
    server.netlab("agent", "--this-machine", "--control-plane", "--node-ip", server.address, "--no-run")
    server.start("agent", "agent", "--this-machine")
    world.until("all are Ready", lambda: world.ready() == {machine.name for machine in world.machines})
    assert "control-plane" in world.kubectl("get", "node", server.name)
    for machine, image, command in ((first, "busybox", ["--", "sleep", "3600"]), (second, "hostnames", [])):
        node = json.dumps({"spec": {"nodeName": machine.name}})
        world.kubectl("run", machine.name, f"--image={image}", f"--overrides={node}", *command)
    world.kubectl("expose", "pod", second.name, "--name=web", "--port=80", "--target-port=9376")
    limit = f"--timeout={patience(120):.0f}s"
    world.kubectl("wait", "--for=condition=Ready", f"pod/{first.name}", f"pod/{second.name}", limit)
    # a pod of one machine, by the name server of another, to a pod of the third; its answer by that machine's kubelet
    asked = ("exec", first.name, "--", "wget", "-qO-", "http://web.default.svc.cluster.local/")
    world.until("it answers", lambda: second.name in server.types("kubectl", *asked, status=None))
    address = json.loads(world.kubectl("get", "service", "web", "-o", "json"))["spec"]["clusterIP"]
    assert second.name in server.types("curl", "-sm", "10", f"http://{address}/")


def test_a_machine_that_starts_again_is_the_node_that_it_was(world: World) -> None:
    server, first, _ = world.machines
    before = json.loads(world.kubectl("get", "pod", first.name, "-o", "json"))
    first.stop("agent")
    server.stop("server")
    server.start("server", "server", "--bind", server.address, "--no-token")
    first.start("agent", "agent", "--this-machine")
    assert "netlab token" not in server.node.log("server").rpartition("answers on")[2]
    world.until("it is Ready", lambda: first.name in world.ready())
    after = json.loads(world.kubectl("get", "pod", first.name, "-o", "json"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_certificates_are_renewed_before_they_expire_and_without_one_it_joins_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, first, _ = world.machines
    before = json.loads(world.kubectl("get", "pod", first.name, "-o", "json"))
    authority, ours = Authority.open(server.own("/var/lib/netlab/server/pki")), first.own("/etc/kubernetes")
    url = load(ours / "kubelet.conf").server

    def joined(days: int) -> None:
        """As if it had been made a node so many days ago; certificates are good for a year."""
        first.stop("agent")
        ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        clock = types.SimpleNamespace(
            datetime=types.SimpleNamespace(now=lambda _: ago), timedelta=datetime.timedelta, UTC=datetime.UTC
        )
        with monkeypatch.context() as patched:
            patched.setattr(certs, "datetime", clock)
            for name, content in signed(authority, url, node=first.name, ips=[ip_address(first.address)]).items():
                (ours / name).write_bytes(content)

    def new(cert: bytes) -> bool:
        return expiry(cert) > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=300)

    joined(355)
    assert not new(load(ours / "kubelet.conf").cert)
    first.start("agent", "agent", "--this-machine")
    world.until("it asks by another", lambda: new(load(ours / "kubelet.conf").cert))
    world.until("it serves with another", lambda: new(served(server, first).encode()))
    asked = [line.split() for line in world.kubectl("get", "csr", "--no-headers").splitlines()]
    mine = {words[2] for words in asked if f"system:node:{first.name}" in words and words[-1] == "Approved,Issued"}
    assert mine == {joining.CLIENT, joining.SERVING}
    world.until("it is Ready", lambda: first.name in world.ready())
    assert world.kubectl("exec", first.name, "--", "hostname").strip() == first.name
    after = json.loads(world.kubectl("get", "pod", first.name, "-o", "json"))
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    # one that was off for too long has nothing to ask by
    joined(400)
    assert "--join makes it a node again" in first.netlab("agent", "--this-machine", status=1)
    assert "is now node" in first.netlab(*printed(server.netlab("token")), "--no-run")
    first.start("agent", "agent", "--this-machine")


def served(server: Machine, node: Machine) -> str:
    """The certificate that a kubelet shows, as the server sees it."""
    ask = f"import ssl; print(ssl.get_server_certificate(('{node.address}', 10250), timeout={patience(60)}))"
    return server.types(sys.executable, "-c", ask)
