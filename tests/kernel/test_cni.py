"""CNI on a real kernel: netlab's plugins called by anybody, anybody's plugins called by netlab, and nothing left over.

The plugins run inside a node, which is a namespace, as a runtime on that node would run them.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from patience import patience

from netlab.daemons.cni import install
from netlab.kernel import netns
from netlab.kernel.commands import Completed, run_in
from netlab.kernel.probe import iptables_variant

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

DEBIAN = Path("/usr/lib/cni")
debian = pytest.mark.skipif(
    not (DEBIAN / "bridge").exists(), reason="apt-get install containernetworking-plugins brings the reference plugins"
)
NAME = f"cni{os.getpid()}"
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}


class Node:
    """A node, its pods and its files."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, f"{NAME}.node"
        self.bin = root / "opt"
        install(self.bin)
        self.spaces = [self.name]
        os.close(netns.create(self.name))

    def pod(self, name: str) -> str:
        full = f"{NAME}.{name}"
        if full not in self.spaces:
            os.close(netns.create(full))
            self.spaces.append(full)
        return full

    def path(self, name: str) -> str:
        return str(netns.path(self.pod(name)))

    def close(self) -> None:
        for name in self.spaces:
            netns.delete(name)

    def run(self, *argv: str, stdin: str | None = None, where: str = "", **env: str) -> Completed:
        more = {"NETLAB_CNI_ROOT": str(self.root), **env}
        return run_in(where or self.name, argv, stdin=stdin, env=more, timeout=patience(60))

    def netlab(self, verb: str, network: dict[str, Any], *args: str) -> Completed:
        """`netlab cni` on this node."""
        config = self.root / f"{network['name']}.conflist"
        config.write_text(json.dumps(network))
        python = (sys.executable, "-m", "netlab.cli.main", "cni", verb, str(config))
        return self.run(*python, *args, "--root", str(self.root), "--json")

    def plugin(self, plugin: Path, command: str, config: dict[str, Any], container: str, **more: str) -> dict[str, Any]:
        """One plugin called as the specification says, by nothing of netlab's."""
        env = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0",
            "CNI_NETNS": self.path(container), "CNI_PATH": f"{plugin.parent}:{DEBIAN}",
        }  # fmt: skip
        done = self.run(str(plugin), stdin=json.dumps(config), **{**env, **more})
        said: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        assert (done.returncode == 0) == ("code" not in said), (done, said)
        return said

    def cnitool(self, command: str, network: dict[str, Any], container: str, path: Path, **capabilities: Any) -> Any:
        """A list of plugins called in their order, in the manner of cnitool; the cached result is this method's."""
        cache = self.root / f"cache-{network['name']}-{container}"
        result = json.loads(cache.read_text()) if cache.exists() else None
        plugins = network["plugins"] if command != "DEL" else network["plugins"][::-1]
        if command == "ADD":
            result = None
        for plugin in plugins:
            config = {**plugin, "name": network["name"], "cniVersion": network["cniVersion"]}
            wanted = config.pop("capabilities", {})
            config["runtimeConfig"] = {k: v for k, v in capabilities.items() if wanted.get(k)}
            if result is not None:
                config["prevResult"] = result
            said = self.plugin(path / plugin["type"], command, config, container)
            assert "code" not in said, said
            result = said if command == "ADD" else result
        if command == "ADD":
            cache.write_text(json.dumps(result))
        elif command == "DEL":
            cache.unlink(missing_ok=True)
        return result

    def uplink(self) -> str:
        """A machine outside, 192.0.2.2, on a cable of its own; the node's default route leads there."""
        outside = self.pod("out")
        for line in (
            f"ip link add up0 type veth peer name eth0 netns {outside}", "ip link set up0 up", "ip link set lo up",
            "ip address add 192.0.2.1/24 dev up0", f"ip -n {outside} address add 192.0.2.2/24 dev eth0",
            f"ip -n {outside} link set eth0 up", "ip route add default via 192.0.2.2",
        ):  # fmt: skip
            done = self.run(*line.split())
            assert done.returncode == 0, (line, done)
        return outside

    def ping(self, name: str, to: str) -> bool:
        return self.run("ping", "-c1", "-W2", to, where=self.pod(name)).returncode == 0

    def left(self) -> tuple[list[str], list[str], list[str]]:
        """Cables, chains of ours, addresses that are given out."""
        links = [line.split()[0] for line in self.run("ip", "-br", "link").stdout.splitlines()]
        saved = "".join(self.run(f"{t}-{v}-save").stdout for t in ("iptables", "ip6tables") for v in ("legacy", "nft"))
        chains = [line for line in saved.splitlines() if line.startswith(("-A", ":CNI")) and "CNI-HOSTPORT" not in line]
        books = (self.root / "var/lib/cni/networks").glob("*/*.*.*.*")
        cables = [link for link in links if link.startswith(("veth", "cali"))]
        return cables, chains, [book.name for book in books]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    netns.prepare()
    made = Node(tmp_path)
    try:
        yield made
    finally:
        made.close()


def lan(node: Node, *more: dict[str, Any], version: str = "1.0.0", six: bool = True, **changes: Any) -> dict[str, Any]:
    ranges = [[{"subnet": "10.9.0.0/24"}], *([[{"subnet": "fd00:9::/64"}]] if six else [])]
    ipam = {"type": "host-local", "ranges": ranges, "dataDir": str(node.root / "var/lib/cni/networks")}
    bridge = {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True, "ipam": ipam, **changes}
    return {"cniVersion": version, "name": "lan", "plugins": [bridge, *more]}


def serve(where: str, port: int) -> socket.socket:
    with netns.entered(where):
        server = socket.create_server(("", port))
    server.settimeout(patience(10))
    return server


def peer_of(node: Node, where: str, to: tuple[str, int], server: socket.socket) -> str:
    """Connect from a namespace; whom the server sees."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(accepted(server)))
    thread.start()
    with netns.entered(where):
        client = socket.socket()
    with closing(client):
        client.settimeout(patience(10))
        client.connect(to)
        assert client.recv(2) == b"ok"
    thread.join()
    return seen[0]


def accepted(server: socket.socket) -> str:
    conn, whence = server.accept()
    with conn:
        conn.sendall(b"ok")
    return str(whence[0])


@pytest.mark.not_in_vm(
    "starts of Python, a minute for each version in an emulator; the kernel is asked the same by the others"
)
@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_a_runtime_of_somebody_else_calls_netlabs_plugins(node: Node, version: str) -> None:
    net = lan(node, {"type": "loopback"}, PORTMAP, version=version)
    supported = node.plugin(node.bin / "bridge", "VERSION", {"cniVersion": version}, "a")["supportedVersions"]
    assert version in supported
    first = node.cnitool("ADD", net, "a", node.bin, **PORTS)
    second = node.cnitool("ADD", net, "b", node.bin)
    assert [ip["address"] for ip in first["ips"]] == ["10.9.0.2/24", "fd00:9::2/64"]
    assert ("version" in first["ips"][0]) == (version < "1.0.0")
    assert second["interfaces"][2]["sandbox"] == node.path("b")
    assert node.ping("a", "10.9.0.3") and node.ping("b", "fd00:9::2") and node.ping("a", "127.0.0.1")
    if version >= "0.4.0":
        node.cnitool("CHECK", net, "a", node.bin, **PORTS)
    for name in ("a", "b", "a"):
        node.cnitool("DEL", net, name, node.bin, **(PORTS if name == "a" else {}))
    assert node.left() == ([], [], [])


@debian
def test_netlab_calls_debians_plugins(node: Node) -> None:
    net = lan(node, PORTMAP, {"type": "tuning"}, six=False)
    external = ("--external", "--path", str(DEBIAN))
    for name in ("a", "b"):
        ports = ("--capabilities", json.dumps(PORTS)) if name == "a" else ()
        done = node.netlab("add", net, name, node.path(name), *external, *ports)
        assert done.returncode == 0, done
    assert json.loads(done.stdout)["ips"][0]["address"] == "10.9.0.3/24"
    assert node.ping("a", "10.9.0.3")
    # not of "a": portmap 1.1.1 looks for IPv6 chains of a container that has no IPv6, and misses them
    assert node.netlab("check", net, "b", node.path("b"), *external).returncode == 0
    with closing(serve(node.pod("a"), 80)) as server:
        assert peer_of(node, node.name, ("10.9.0.1", 8080), server) == "10.9.0.1"
    for name in ("a", "b", "b"):
        done = node.netlab("del", net, name, node.path(name), *external)
        assert done.returncode == 0, done
    assert node.left()[0] == [] and node.left()[2] == []
    listed = node.run(sys.executable, "-m", "netlab.cli.main", "cni", "list", "--root", str(node.root), "--json")
    assert json.loads(listed.stdout) == []


@debian
@pytest.mark.parametrize("ours", ["bridge", "host-local"])
def test_either_side_delegates_to_the_other(node: Node, ours: str) -> None:
    """Debian's bridge with netlab's host-local, and the reverse: one book of addresses for both."""
    mixed = node.root / "mixed"
    mixed.mkdir()
    for name in ("bridge", "host-local"):
        source = node.bin if name == ours else DEBIAN
        shutil.copy(source / name, mixed / name)
    net = lan(node, six=False)
    # netlab's bridge calls netlab's own host-local unless it is another name
    if ours == "bridge":
        (mixed / "host-local").rename(mixed / "debian-host-local")
        net["plugins"][0]["ipam"]["type"] = "debian-host-local"
    assert node.cnitool("ADD", net, "a", mixed)["ips"][0]["address"] == "10.9.0.2/24"
    assert node.cnitool("ADD", net, "b", mixed)["ips"][0]["address"] == "10.9.0.3/24"
    assert node.ping("a", "10.9.0.3")
    node.cnitool("CHECK", net, "a", mixed)
    for name in ("a", "b"):
        node.cnitool("DEL", net, name, mixed)
    assert node.left() == ([], [], [])


def test_ports_from_outside_from_the_host_and_from_the_container_itself(node: Node) -> None:
    net = lan(node, PORTMAP, hairpinMode=True)
    assert node.netlab("add", net, "a", node.path("a"), "--capabilities", json.dumps(PORTS)).returncode == 0
    assert node.netlab("add", net, "b", node.path("b")).returncode == 0
    outside = node.uplink()
    with closing(serve(node.pod("a"), 80)) as server:
        assert peer_of(node, outside, ("192.0.2.1", 8080), server) == "192.0.2.2"
        assert peer_of(node, node.name, ("127.0.0.1", 8080), server) == "10.9.0.1"
        assert peer_of(node, node.pod("b"), ("10.9.0.1", 8080), server) == "10.9.0.1"
        assert peer_of(node, node.pod("a"), ("10.9.0.1", 8080), server) == "10.9.0.1"
    # and out: masqueraded
    with closing(serve(outside, 8081)) as server:
        assert peer_of(node, node.pod("b"), ("192.0.2.2", 8081), server) == "192.0.2.1"
    assert node.netlab("del", net, "a", node.path("a")).returncode == 0
    assert node.netlab("del", net, "b", node.path("b")).returncode == 0
    assert node.left() == ([], [], [])


def test_check_and_gc(node: Node) -> None:
    net = lan(node, version="1.1.0")
    for name in ("a", "b", "c"):
        assert node.netlab("add", net, name, node.path(name)).returncode == 0
    assert node.netlab("check", net, "a", node.path("a")).returncode == 0
    node.run("ip", "route", "del", "default", where=node.pod("a"))
    said = json.loads(node.netlab("check", net, "a", node.path("a")).stdout)
    assert said["exit_status"] == 1 and "route default" in said["error"]
    assert node.netlab("gc", net, "--keep", "c:eth0").returncode == 0
    assert len(node.left()[0]) == 1 and node.left()[2] == ["10.9.0.4"]
    assert node.ping("c", "10.9.0.1")
    netns.delete(node.pod("c"))
    assert node.netlab("del", net, "c", str(netns.path(f"{NAME}.c"))).returncode == 0
    assert node.left() == ([], [], [])


def test_flannel_and_calico_reach_the_node_and_each_other(node: Node) -> None:
    env = node.root / "run/flannel/subnet.env"
    env.parent.mkdir(parents=True)
    env.write_text(
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    )
    objects = node.root / "etc/calico/objects"
    objects.mkdir(parents=True)
    (objects / "objects.yaml").write_text(
        "apiVersion: crd.projectcalico.org/v1\nkind: IPPool\nmetadata: {name: pods}\n"
        "spec: {cidr: 10.250.0.0/16, ipipMode: Never}\n---\n"
        "apiVersion: crd.projectcalico.org/v1\nkind: Node\nmetadata: {name: n1}\n"
    )
    # proxy ARP answers for 169.254.1.1 only on a node that has a way to it, as a default route is
    node.uplink()
    flannel = {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}}
    nets = {
        "f": {"cniVersion": "0.3.1", "name": "cbr0", "plugins": [flannel, PORTMAP]},
        "k": {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "calico", "nodename": "n1"}]},
    }
    got = {}
    for kind, net in nets.items():
        for number in "12":
            got[kind + number] = node.cnitool("ADD", net, kind + number, node.bin)["ips"][0]["address"]
    assert got == {"f1": "10.244.3.2/24", "f2": "10.244.3.3/24", "k1": "10.250.0.0/32", "k2": "10.250.0.1/32"}
    assert node.ping("f1", "10.244.3.3") and node.ping("k1", "10.250.0.1")
    assert node.ping("k2", "10.244.3.2") and node.ping("f2", "10.250.0.0")
    for kind, net in nets.items():
        for number in "12":
            node.cnitool("DEL", net, kind + number, node.bin)
    assert node.left() == ([], [], [])


@pytest.mark.not_in_vm("starts of Python by the dozen: the kernel has no part in what it asks")
def test_killed_anywhere_nothing_leaks(node: Node) -> None:
    """ADD and DEL of a few containers, some killed in the middle; a DEL is owed for each ADD, as a kubelet pays it."""
    chance = random.Random(7)
    net = lan(node, version="1.1.0")
    config = {**net["plugins"][0], "name": "lan", "cniVersion": "1.1.0"}
    attached: set[str] = set()
    killed = 0
    for _ in range(25):
        name = chance.choice("abcd")
        command = "DEL" if name in attached else "ADD"
        env = {
            **os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": name, "CNI_IFNAME": "eth0",
            "CNI_NETNS": node.path(name), "CNI_PATH": str(node.bin), "NETLAB_CNI_ROOT": str(node.root),
        }  # fmt: skip
        with netns.entered(node.name):
            process = subprocess.Popen(
                [node.bin / "bridge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
            )
        assert process.stdin and process.stdout and process.stderr
        with process:
            process.stdin.write(json.dumps(config).encode())
            process.stdin.close()
            if chance.random() < 0.5:
                # killed after a while, unless it is done before
                watched = os.pidfd_open(process.pid)
                if not select.select([watched], [], [], chance.uniform(0.05, 0.35))[0]:
                    process.kill()
                    killed += 1
                os.close(watched)
            process.stdout.read()
            process.stderr.read()
            process.wait()
        if process.returncode == 0 and command == "ADD":
            attached.add(name)
        elif process.returncode != 0 or command == "DEL":
            node.plugin(node.bin / "bridge", "DEL", config, name)
            attached.discard(name)
        assert len(node.left()[0]) == len(attached) == len(node.left()[2])
    for name in attached:
        node.plugin(node.bin / "bridge", "DEL", config, name)
    assert killed > 3
    assert node.left() == ([], [], [])
    assert not list((node.root / "var/lib/cni/netlab/lan").glob("*:*"))


def test_the_rules_are_of_the_nodes_own_iptables(node: Node) -> None:
    net = lan(node, six=False)
    assert node.netlab("add", net, "a", node.path("a")).returncode == 0
    assert "CNI-" in node.run(f"iptables-{iptables_variant()}-save", "-t", "nat").stdout
    assert node.netlab("del", net, "a", node.path("a")).returncode == 0
