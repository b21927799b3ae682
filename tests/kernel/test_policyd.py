"""The policy agent as a process, in a real kernel: what it isolates, when, and what it survives."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle import worlds
from oracle.policies import Cluster
from podnet import Net, pods_of
from proxying import Known, Manifests, Proxy, get, until, without_extension, words

from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("a Python process for each test: an emulator takes minutes; what it writes is tested there"),
]
HEALTH = 9099
PODS = worlds.nine()
BASE = [*(worlds.node(name) for name in worlds.NODES), *worlds.namespaces()]
IPS = {f"{p['metadata']['namespace']}-{p['metadata']['name']}": p["status"]["podIP"] for p in PODS}
Object = dict[str, Any]


class Policyd(Proxy):
    """`netlab policyd` in a namespace, with everything that `Proxy` can do."""

    def __init__(self, where: str, node: str, manifests: Manifests, home: Path, *options: str) -> None:
        super().__init__(where, node, manifests, home)
        # one file for both: who comes next has to find it
        self.argv = [
            *self.argv[:3], "policyd", "--manifests", str(manifests.folder), "--node-name", node, "--claims",
            str(self.claims), "--healthz-port", str(HEALTH), "--bridged", *options,
        ]  # fmt: skip

    def metric_of(self, line: str) -> float:
        page = get(self.where, "/metrics", HEALTH)[2]
        found = re.search(rf"^{re.escape(line)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0


def policy(space: str, name: str = "p", **spec: Any) -> Object:
    meta = {"namespace": space, "name": name}
    return {"kind": "NetworkPolicy", "metadata": meta, "spec": {"podSelector": {}, **spec}}


DENY = {"policyTypes": ["Ingress", "Egress"]}


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made = Net(dict(worlds.NODE_IPS), pods_of(PODS), routed=False, variant="nft")
    with made.up():
        yield made


@pytest.fixture(params=["legacy", "nft"])
def agent(request: pytest.FixtureRequest, net: Net, tmp_path: Path) -> Iterator[Policyd]:
    """On n1, with all pods and no policy. Afterwards n1 is as it was."""
    manifests = Manifests(tmp_path / "manifests")
    manifests.put("base", BASE)
    manifests.put("pods", PODS)
    where = net.ns("n1")
    with Policyd(where, "n1", manifests, tmp_path, "--iptables", request.param, "--resync", "1") as made:
        yield made
    known = Known(made.claims, where, "policy")
    Kernel(LinuxBackend(iptables=request.param), known).apply(where, "policy", HostState())
    net.forget()
    for tool in ("iptables-legacy-save", "iptables-nft-save"):
        assert "NETPOL" not in words(where, [tool])
    assert "NETPOL" not in words(where, ["ipset", "list", "-n"])


def reached(net: Net, a: str, b: str, protocol: str = "tcp", port: int = 80) -> bool:
    (answer,) = net.ask([(a, IPS[b], protocol, port)])
    return isinstance(answer, tuple)


def test_it_follows_what_is_written(net: Net, agent: Policyd) -> None:
    """Incremental steps come to the same as the oracle says, change by change."""
    changes: list[list[Object]] = [
        [policy("x", **DENY)],
        [
            policy("x", **DENY),
            policy("x", "q", ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}]),
        ],
        [policy("x", "q", ingress=[{"ports": [{"port": 81}]}]), policy("y", egress=[{"to": [{"podSelector": {}}]}])],
        [policy("y", ingress=[{"from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.2.0/24"]}}]}])],
        [],
    ]
    local = [p.name for p in net.pods if p.node == "n1"]
    for policies in changes:
        agent.manifests.put("policies", policies)
        oracle = Cluster([*BASE, *PODS, *policies])
        # what the other nodes would have to hold back is not this agent's: pairs of n1's own pods only
        asked = [(a, IPS[b], proto, port) for a in local for b in local for proto, port in (("tcp", 80), ("tcp", 81))]
        wanted = [oracle.allowed(IPS[a], ip, proto, port, worlds.NODE_IPS) for a, ip, proto, port in asked]

        def right() -> bool:
            net.forget()
            return [isinstance(answer, tuple) for answer in net.ask(asked)] == wanted  # noqa: B023

        until(right, f"the matrix of {policies}")
    assert agent.metric_of("netlab_policy_failures_total") == 0


class Knocking:
    """Datagrams from one pod to another, one each millisecond; counts those that were answered."""

    def __init__(self, net: Net, a: str, b: str) -> None:
        with netns.entered(net.ns(a)):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.target = (IPS[b], 80)
        self.answered = self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            try:
                self.sock.sendto(b"?", self.target)
                self.sent += 1
                self.sock.recv(100)
                self.answered += 1
            except OSError:
                continue

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.sock.close()


def test_N19_a_new_pod_is_isolated_before_its_first_packet(net: Net, agent: Policyd) -> None:
    known = [p for p in PODS if (p["metadata"]["namespace"], p["metadata"]["name"]) != ("z", "a")]
    agent.manifests.put("pods", known)
    until(lambda: not reached(net, "y-a", "z-a"), "a pod that nobody knows to be held")
    assert not reached(net, "z-a", "y-a")
    net.forget()
    dropped = 'netlab_policy_dropped_packets_total{direction="ingress",family="4",namespace="z",pod="a"}'
    with Knocking(net, "y-a", "z-a") as inward, Knocking(net, "z-a", "x-a") as outward:
        for _ in range(5):
            # the pod comes, with a policy that isolates it, and goes
            agent.manifests.put("pods", PODS)
            agent.manifests.put("policies", [policy("z", **DENY)])
            until(lambda: agent.metric_of("netlab_policy_policies") == 1, "the policy")

            until(lambda: agent.metric_of(dropped) > 0, "its door to drop")
            agent.manifests.put("pods", known)
            until(lambda: agent.metric_of(dropped) == 0, "the pod to be gone")
        assert inward.sent > 100 and outward.sent > 100
    assert (inward.answered, outward.answered) == (0, 0)
    agent.manifests.put("policies", [])
    agent.manifests.put("pods", PODS)
    until(lambda: reached(net, "y-a", "z-a"), "a pod that is known, and not isolated")


def test_N20_who_gets_the_address_of_another_is_not_reached_by_his_flows(net: Net, agent: Policyd) -> None:
    """A client that has never stopped to send is not let in because a pod that is gone had let it in."""
    known = [p for p in PODS if (p["metadata"]["namespace"], p["metadata"]["name"]) != ("z", "a")]
    heir = worlds.pod("z", "heir", "n1", IPS["z-a"])
    agent.manifests.put("policies", [policy("z", podSelector={"matchLabels": {"pod": "heir"}}, **DENY)])
    until(lambda: agent.metric_of("netlab_policy_policies") == 1, "the policy")
    with Knocking(net, "y-a", "z-a") as client:
        until(lambda: client.answered > 10, "answers of the pod that there is")
        agent.manifests.put("pods", [*known, heir])
        dropped = 'netlab_policy_dropped_packets_total{direction="ingress",family="4",namespace="z",pod="heir"}'
        until(lambda: agent.metric_of(dropped) > 10, "the heir's door to drop")
        before = client.answered
        until(lambda: agent.metric_of(dropped) > 100, "more of them")
        assert client.answered == before
    agent.manifests.put("policies", [])
    agent.manifests.put("pods", PODS)


def test_counters_tell_which_rule_allowed_and_who_was_dropped(net: Net, agent: Policyd) -> None:
    agent.manifests.put("policies", [policy("x", ingress=[{"from": [{"podSelector": {}}]}, {"ports": [{"port": 81}]}])])
    until(lambda: not reached(net, "y-a", "x-a"), "the policy")
    net.forget()
    before = agent.metric_of(
        'netlab_policy_dropped_packets_total{direction="ingress",family="4",namespace="x",pod="a"}'
    )
    assert before >= 1
    for _ in range(3):
        assert reached(net, "y-a", "x-a", port=81)
    rule = 'netlab_policy_allowed_packets_total{direction="ingress",family="4",namespace="x",policy="p",rule="%d"}'
    assert (agent.metric_of(rule % 0), agent.metric_of(rule % 1)) == (0, 3)


def test_N13_answers_pass_and_connections_go_on(net: Net, agent: Policyd) -> None:
    agent.manifests.put("policies", [policy("x", policyTypes=["Ingress"])])
    until(lambda: not reached(net, "y-a", "x-a"), "the policy")
    assert reached(net, "x-a", "y-a"), "answers to a pod that nobody may call"


def test_what_somebody_spoils_is_mended(net: Net, agent: Policyd) -> None:
    agent.manifests.put("policies", [policy("x", **DENY)])
    until(lambda: not reached(net, "y-a", "x-a"), "the policy")
    tool = "iptables-legacy" if "legacy" in agent.argv else "iptables-nft"
    words(agent.where, [tool, "-F", "NETPOL-FORWARD"])
    net.forget()
    until(lambda: not reached(net, "y-a", "x-a"), "the chain to be there again")
    until(lambda: agent.metric_of("netlab_policy_repairs_total") >= 1, "a word of it")
    assert "mended: " in agent.said()


def test_a_successor_adopts_what_is_there(net: Net, agent: Policyd) -> None:
    agent.manifests.put("policies", [policy("x", **DENY)])
    until(lambda: not reached(net, "y-a", "x-a"), "the policy")
    save = "iptables-legacy-save" if "legacy" in agent.argv else "iptables-nft-save"

    def netpol() -> list[str]:
        return [line for line in words(agent.where, [save]).splitlines() if "NETPOL" in line]

    before = netpol()
    agent.end(signal.SIGKILL)
    assert netpol() == before, "pods stay as isolated as they were"
    # meanwhile somebody else is isolated, and one pod is gone
    agent.manifests.put("policies", [policy("x", **DENY), policy("y", **DENY)])
    with Knocking(net, "z-a", "y-a") as open_until_then:
        agent.start()
        until(lambda: not reached(net, "z-a", "y-a"), "the policy that came while it was away")
    assert open_until_then.answered > 0
    assert not reached(net, "y-a", "x-a") and reached(net, "z-a", "z-a")
    assert agent.end(signal.SIGTERM) == 0
    assert netpol()


def test_bad_input_names_the_object_and_leaves_the_others(net: Net, agent: Policyd) -> None:
    names = ["a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 61, "0", "a.b-c", "a-b.c"]
    policies = [policy("x", name, ingress=[{"from": [{"podSelector": {}}]}]) for name in names]
    agent.manifests.put("policies", policies)
    until(lambda: not reached(net, "y-a", "x-a"), "policies with every legal name")
    agent.manifests.put(
        "more", [policy("y", "bad", ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]), policy("z", **DENY)]
    )
    until(lambda: not reached(net, "y-a", "z-a"), "the policy beside the one that is wrong")
    assert "NetworkPolicy y/bad" in agent.said() and "10.0.0.0/33" in agent.said()
    assert reached(net, "z-a", "y-a") is False  # z may not send
    crowd = [worlds.pod("z", f"n{i}", "n3", f"10.200.{i // 250}.{i % 250 + 1}") for i in range(5000)]
    agent.manifests.put("crowd", crowd)
    agent.manifests.put(
        "policies",
        [
            policy(
                "x", ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "z"}}}]}]
            )
        ],
    )
    until(lambda: words(agent.where, ["ipset", "save"]).count("10.200.") == 5000, "a set of 5,000 addresses")
    assert not reached(net, "y-a", "x-a")


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_policy_that_this_machine_has_no_match_for_isolates_and_the_others_hold(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    monkeypatch.setenv("XTABLES_LIBDIR", str(without_extension("sctp", tmp_path)))
    manifests = Manifests(tmp_path / "manifests")
    everybody = [{"ports": [{"port": 80, "protocol": p}]} for p in ("SCTP", "TCP")]
    policies = [policy("x", ingress=everybody), policy("y", ingress=everybody[1:])]
    manifests.put("base", [*BASE, *PODS, *policies])
    where = net.ns("n1")
    try:
        with Policyd(where, "n1", manifests, tmp_path, "--iptables", variant) as agent:
            net.forget()
            assert re.search(r"NetworkPolicy x/p: the kernel refuses its rules: .*sctp", agent.said())
            assert not reached(net, "z-a", "x-a") and reached(net, "z-a", "y-a")
            assert not reached(net, "z-a", "y-a", port=81)
    finally:
        known = Known(tmp_path / "n1.claims", where, "policy")
        Kernel(LinuxBackend(iptables=variant), known).apply(where, "policy", HostState())
        net.forget()


def test_a_set_that_is_too_small_allows_nobody(net: Net, tmp_path: Path) -> None:
    manifests = Manifests(tmp_path / "manifests")
    manifests.put("base", [*BASE, *PODS])
    everybody = [{"from": [{"namespaceSelector": {}}]}]
    manifests.put("policies", [policy("x", ingress=everybody), policy("y", ingress=[{"ports": [{"port": 80}]}])])
    # alone in a namespace: nothing of it is left
    where = net.ns("small")
    os.close(netns.create(where))
    try:
        words(where, ["ip", "link", "set", "lo", "up"])
        with Policyd(where, "n1", manifests, tmp_path, "--set-size", "5") as small:
            assert "NetworkPolicy x/p: pods all of namespaces all: 9 entries, and a set has room for 5" in small.said()
            sets = words(where, ["ipset", "save"])
            assert "maxelem 5" in sets and sets.count("10.244.1.10") == 1, "only as a pod that is known"
            assert small.metric_of("netlab_policy_problems") == 1
            assert "--dport 80" in words(where, ["iptables-nft-save"]) + words(where, ["iptables-legacy-save"])
            assert get(where, "/readyz", HEALTH)[0] == 200
    finally:
        netns.delete(where)
