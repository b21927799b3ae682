"""A cluster by the commands that a person types: nodes made of namespaces, pods on them, and the machine afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import clusterup
import pytest
from clustermatrix import KINDS
from clusterup import Cluster, netlab
from nodemachine import Node
from patience import patience

from netlab.kernel import cgroups, netns

#: no two runs of the tests share it
NAME = f"ct{os.getpid()}"
NODES = ["control-plane", "node1", "node2"]

pytestmark = clusterup.NEEDS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, for the module; afterwards the machine must be as it was."""
    place = tmp_path_factory.mktemp("cluster")
    with clusterup.leaving_nothing(NAME, place), clusterup.cluster(NAME, place) as found:
        yield found


def ready(cluster: Cluster) -> dict[str, str]:
    return {
        node["metadata"]["name"]: condition["status"]
        for node in cluster.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }


def test_what_is_left_is_seen_and_what_others_make_is_not(tmp_path: Path) -> None:
    """The judge of the module's end."""
    name = f"{NAME}-judged"
    for made, seen in ((f"{name}-other.node1", False), (f"{name}.node1", True)):
        try:
            expected = pytest.raises(AssertionError, match=rf"\+{made}") if seen else contextlib.nullcontext()
            with expected, clusterup.leaving_nothing(name, tmp_path):
                os.close(netns.create(made))
        finally:
            netns.delete(made)


def test_all_nodes_are_ready_at_once(cluster: Cluster) -> None:
    assert ready(cluster) == dict.fromkeys(NODES, "True")
    listed = json.loads(netlab("cluster", "list", "--json"))
    assert NAME in [row["name"] for row in listed]
    assert all(node["on"] and node["ready"] for node in json.loads(netlab("cluster", "status", NAME, "--json")))


def test_a_node_is_a_machine_of_its_own(cluster: Cluster) -> None:
    assert cluster.exec("node1", "hostname").strip() == "node1"
    assert "10.168.0.3/24" in cluster.exec("node1", "ip", "-br", "addr", "show", "eth0")
    assert cluster.exec("node1", "ls", "/etc/cni/net.d").strip() == "10-flannel.conflist"
    # its own processes, the first of which is its power switch
    assert cluster.exec("node1", "cat", "/proc/1/comm").strip() == "sh"
    cluster.exec("node1", "sh", "-c", "echo here >/etc/of-node1")
    assert not Path("/etc/of-node1").exists()
    cluster.exec("node2", "test", "-e", "/etc/of-node1", status=1)
    assert f"{NAME}.node1" in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert cluster.exec("node1", "sh", "-c", "exit 7", status=7) == ""


def test_a_service_answers_from_every_node(cluster: Cluster) -> None:
    cluster.kubectl("create", "deployment", "web", "--image=nginx:1.9.1", "--replicas=3")
    cluster.kubectl("expose", "deployment", "web", "--port=80")
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={patience(120):.0f}s")
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    for node in NODES:
        cluster.until(
            f"the Service answers {node}",
            lambda node=node: "nginx:1.9.1" in cluster.exec(node, "sh", "-c", f"curl -sm 3 http://{address}/ || true"),
        )
        pods = [pod["status"]["podIP"] for pod in cluster.get("pods", "-l", "app=web")["items"]]
        for pod in pods:
            assert "nginx:1.9.1" in cluster.exec(node, "curl", "-sm", "5", f"http://{pod}/")
    asked = cluster.exec("node2", sys.executable, "-m", "netlab.cli.main", "dns", "lookup", "--server", "10.96.0.10",
                         "web.default.svc.cluster.local")  # fmt: skip
    assert address in asked


def test_everybody_reaches_whom_they_should(cluster: Cluster) -> None:
    cells = json.loads(netlab("cluster", "check", NAME, "--json"))
    assert {cell["outcome"] for cell in cells} == {"passed"}
    assert {cell["kind"] for cell in cells} == KINDS
    # and nothing is left of it
    assert "netlab-check" not in [ns["metadata"]["name"] for ns in cluster.get("namespaces")["items"]]


def test_who_does_not_is_named(cluster: Cluster) -> None:
    """A firewall on node1 that nobody knows of: what it drops, and nothing else, fails with what was seen."""
    rules = "table ip stranger { chain f { type filter hook forward priority -300; tcp dport 8080 drop; }; }"
    subprocess.run(["ip", "netns", "exec", f"{NAME}.node1", "nft", rules], check=True)
    try:
        told = netlab("cluster", "check", NAME, "--only", "pod-pod", "--within", "5", "--json", status=1)
    finally:
        subprocess.run(["ip", "netns", "exec", f"{NAME}.node1", "nft", "delete table ip stranger"], check=True)
    failed = {(cell["from"], cell["to"]): cell["detail"] for cell in json.loads(told) if cell["outcome"] == "failed"}
    assert failed and all("web-node1" in pair for pair in failed)
    assert all("port 8080: silent" in detail for detail in failed.values())


def test_a_plug_is_pulled_and_put_back(cluster: Cluster) -> None:
    netlab("cluster", "node", "crash", "node2", "--cluster", NAME)
    assert f"{NAME}.node2" not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    status = {node["name"]: node for node in json.loads(netlab("cluster", "status", NAME, "--json"))}
    assert not status["node2"]["on"] and status["node1"]["on"]
    netlab("cluster", "exec", "--cluster", NAME, "node2", "--", "true", status=3)
    netlab("cluster", "node", "start", "node2", "--cluster", NAME)
    assert ready(cluster)["node2"] == "True"
    # what it had written is on its disk, and its pods come back
    cluster.exec("node2", "test", "-s", "/etc/kubernetes/kubelet.conf")
    cluster.until("all pods run", lambda: _running(cluster) == 3)


def _running(cluster: Cluster) -> int:
    pods = cluster.get("pods", "-l", "app=web")["items"]
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())) for pod in pods
    )


def test_a_node_comes_and_goes(cluster: Cluster) -> None:
    added = json.loads(netlab("cluster", "node", "add", "--cluster", NAME, "--json"))
    assert added["node"] == "node3" and ready(cluster)["node3"] == "True"
    netlab("cluster", "node", "stop", "node3", "--cluster", NAME)
    netlab("cluster", "node", "remove", "node3", "--cluster", NAME)
    assert "node3" not in ready(cluster)
    netlab("cluster", "node", "remove", "control-plane", "--cluster", NAME, status=2)


def test_another_machine_becomes_a_node_by_a_token(cluster: Cluster, tmp_path: Path) -> None:
    """A tree of its own beside the cluster's, with a cable to its wire: what it knows is what `cluster token` prints."""
    told = json.loads(netlab("cluster", "token", NAME, "--json"))
    own = ("/etc/kubernetes", "/etc/cni/net.d", "/var/lib/netlab", "/var/lib/kubelet", "/var/lib/cni", "/var/log")
    machine = Node(tmp_path, own=own, binds=[(str(cluster.images), "/var/lib/netlab/images")])
    argv = [sys.executable, "-m", "netlab.cli.main", "agent", "--this-machine", "--node-name", "extra"]
    join = ["--join", told["server"], "--token", told["token"], "--ca-hash"]
    try:
        _plugged(machine)
        # somebody who answers in the cluster's place is found out
        machine.run({"name": "agent", "argv": [*argv, *join, f"sha256:{'0' * 64}"], "restart": "never"})
        machine.until(lambda: "the authority of" in machine.log("agent"))
        machine.run({"name": "agent", "argv": [*argv, *join, told["ca_hash"]], "notify": True})
        machine.until(lambda: machine.state("agent").get("ready"))
        cluster.until("it is Ready", lambda: ready(cluster).get("extra") == "True")
        spec = {"nodeName": "extra", "containers": [{"name": "web", "image": "nginx:1.9.1"}]}
        cluster.kubectl("run", "there", "--image=nginx:1.9.1", f"--overrides={json.dumps({'spec': spec})}")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/there", f"--timeout={patience(120):.0f}s")
        address = cluster.get("pod", "there")["status"]["podIP"]
        assert "nginx:1.9.1" in cluster.exec("node1", "curl", "-sm", "10", f"http://{address}/")
        assert cluster.kubectl("exec", "there", "--", "hostname").strip() == "there"
        # it needs no token any more
        machine.run({"name": "agent", "argv": argv, "notify": True})
        machine.until(lambda: machine.state("agent").get("ready"))
        cluster.kubectl("delete", "pod", "there", "--grace-period=1")
    finally:
        machine.remove()
        cgroups.clear("/netlab.extra", patience(30))
        cluster.kubectl("delete", "node", "extra", "--ignore-not-found")


def _plugged(machine: Node) -> None:
    """A cable from the cluster's switch, and an address of its wire."""
    os.close(netns.create(machine.name))
    for words in (
        f"-n {NAME}.lan link add extra type veth peer name eth0 netns {machine.name}",
        f"-n {NAME}.lan link set extra master lan up",
        f"-n {machine.name} link set lo up",
        f"-n {machine.name} addr add 10.168.0.200/24 dev eth0",
        f"-n {machine.name} link set eth0 up",
        f"-n {machine.name} route add default via 10.168.0.1",
    ):
        subprocess.run(["ip", *words.split()], check=True)


def test_up_again_brings_back_what_is_off(cluster: Cluster) -> None:
    netlab("cluster", "node", "stop", "node1", "--cluster", NAME)
    said = json.loads(netlab("cluster", "up", NAME, "--json"))
    assert not said["fresh"]
    assert all(node["on"] for node in json.loads(netlab("cluster", "status", NAME, "--json")))
    netlab("cluster", "up", NAME, "--proxy", "nftables", status=2)


def test_a_cluster_is_no_lab(cluster: Cluster) -> None:
    netlab("lab", "down", NAME, status=2)
    assert NAME not in netlab("lab", "status")


def test_the_api_server_comes_back_with_its_address(cluster: Cluster) -> None:
    """What is killed is started again, and clients on this machine find it where it was."""
    table = {node["name"]: node for node in json.loads(netlab("cluster", "status", NAME, "--json"))}
    before = table["control-plane"]["processes"]["server"]["pid"]
    os.kill(before, 9)
    cluster.until("another server", lambda: cluster.process("control-plane/server")["pid"] not in (None, before))
    assert ready(cluster)["control-plane"] == "True"
