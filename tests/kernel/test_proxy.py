"""The proxy as a process, in a real kernel, in both variants of iptables and in nftables."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from oracle import worlds
from podnet import Net, pods_of
from proxying import (
    HEALTH,
    PATIENCE,
    Known,
    Manifests,
    Proxy,
    firewall,
    get,
    listening,
    taking,
    until,
    without_extension,
    words,
)
from servicejudge import BALANCER, NODE_PORT, endpoints, service

from netlab.kernel import conntrack, netns
from netlab.kernel.apply import Kernel
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState
from netlab.model.flows import Flow

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("a Python process for each test: an emulator takes minutes; tests/vm has a proxy of its own"),
]
MODES = [("legacy", "iptables"), ("nft", "iptables"), ("nft", "nftables")]
VIP = "10.96.0.20"
#: tries after which one of three endpoints is missed with a chance of one in a million
TRIES = 36
#: a port at which no pod of a test's network answers by itself
HELD = 8888
NODES = [worlds.node(name) for name in worlds.NODES]
UDP = {"ports": [{"name": "p", "port": 8053, "protocol": "UDP", "nodePort": 30053}], "type": "NodePort"}


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=False, variant="nft")
    with made.up():
        yield made


@pytest.fixture(params=MODES, ids="-".join)
def proxy(request: pytest.FixtureRequest, net: Net, tmp_path: Path) -> Iterator[Proxy]:
    """On n1, with nothing to serve yet. Afterwards n1 is as it was."""
    variant, mode = request.param
    manifests = Manifests(tmp_path / "manifests")
    manifests.put("nodes", NODES)
    where = net.ns("n1")
    before = firewall(where)
    with Proxy(where, "n1", manifests, tmp_path, "--mode", mode, "--iptables", variant) as made:
        yield made
    Kernel(LinuxBackend(iptables=variant), Known(made.claims, where)).apply(where, "proxy", HostState())
    net.forget()
    assert firewall(where) == before


def answers(net: Net, *requests: tuple[str, str, str, int], tries: int = 1) -> set[Any]:
    """Who answers, or how it fails."""
    return {a[0] if isinstance(a, tuple) else a for a in net.ask([r for r in requests for _ in range(tries)])}


def web(*letters: str, **spec: Any) -> list[dict[str, Any]]:
    return [service(**spec), *([endpoints(*letters)] if letters else [])]


def test_S44_S45_it_serves_and_follows(net: Net, proxy: Proxy) -> None:
    client = ("x-a", VIP, "tcp", 80)
    proxy.manifests.put("web", web("a", "b", "c"))
    until(lambda: answers(net, client, tries=TRIES) == {"x-a", "x-b", "x-c"}, "all three endpoints")
    proxy.manifests.put("web", web("b"))
    until(lambda: answers(net, client, tries=TRIES) == {"x-b"}, "the only endpoint that is left")
    proxy.manifests.put("web", web())
    until(lambda: answers(net, client) == {"refused"}, "a refusal, since nobody serves")
    proxy.manifests.put("web", web("b", **NODE_PORT))
    until(lambda: answers(net, ("ext", worlds.NODE_IPS["n1"], "tcp", 30080)) == {"x-b"}, "the node port")
    proxy.manifests.put("web", [])
    until(lambda: answers(net, ("ext", worlds.NODE_IPS["n1"], "tcp", 30080)) == {"refused"}, "nobody there")
    proxy.manifests.put("web", web("c", **NODE_PORT))
    until(lambda: answers(net, ("ext", worlds.NODE_IPS["n1"], "tcp", 30080)) == {"x-c"}, "the same node port again")
    assert proxy.metric("kubeproxy_sync_partial_proxy_rules_duration_seconds_count") >= 4
    assert proxy.metric("kubeproxy_sync_proxy_rules_failures_total") == 0


def test_S44_who_is_connected_to_an_endpoint_that_is_taken_out_stays_so(net: Net, proxy: Proxy) -> None:
    def put(letter: str) -> None:
        listed = [service(ports=[{"name": "p", "port": 80, "targetPort": HELD}]), endpoints(letter, number=HELD)]
        proxy.manifests.put("web", listed)

    def reached(letter: str) -> bool:
        """Whether a new connection comes to that pod."""
        with netns.entered(net.ns("x-a")), contextlib.suppress(OSError):
            socket.create_connection((VIP, 80), timeout=1).close()
        try:
            listeners[letter].accept()[0].close()
        except BlockingIOError:
            return False
        return True

    with taking(net.ns("x-b"), HELD) as old, taking(net.ns("x-c"), HELD) as new:
        listeners = {"b": old, "c": new}
        for listener in listeners.values():
            listener.setblocking(False)
        put("b")
        until(lambda: reached("b"), "the endpoint")
        old.setblocking(True)
        with netns.entered(net.ns("x-a")):
            client = socket.create_connection((VIP, 80), timeout=PATIENCE)
        with client, old.accept()[0] as server:
            old.setblocking(False)
            server.settimeout(PATIENCE)
            put("c")
            until(lambda: reached("c"), "the other endpoint")
            client.sendall(b"still here?")
            assert server.recv(100) == b"still here?"
            server.sendall(b"yes")
            assert client.recv(100) == b"yes"


def test_S18_a_node_port_is_nobody_s_socket_and_everybody_s_who_asks_by_it(net: Net, proxy: Proxy) -> None:
    node_port = ("ext", worlds.NODE_IPS["n1"], "tcp", 30080)
    proxy.manifests.put("web", web("b", **NODE_PORT))
    until(lambda: answers(net, node_port) == {"x-b"}, "the node port")
    assert ":30080" not in words(net.ns("n1"), ["ss", "-Hlnt"])
    # whoever listens there is not reached
    with taking(net.ns("n1"), 30080):
        assert answers(net, node_port, tries=5) == {"x-b"}


def test_S46_its_successor_adopts_what_is_there_and_nothing_fails(net: Net, proxy: Proxy) -> None:
    client = ("x-a", VIP, "tcp", 80)
    proxy.manifests.put("web", web("b"))
    until(lambda: answers(net, client) == {"x-b"}, "the endpoint")
    rules = firewall(net.ns("n1"))
    proxy.end(signal.SIGKILL)
    assert answers(net, client) == {"x-b"}
    proxy.manifests.put("web", web("c"))
    proxy.start(wait=False)
    until(lambda: (answer := answers(net, client)) == {"x-c"} or answer - {"x-b"}, "the new endpoint")
    assert answers(net, client) == {"x-c"}
    until(lambda: proxy.get("/readyz")[0] == 200, "the successor to be ready")
    proxy.manifests.put("web", web("b"))
    until(lambda: firewall(net.ns("n1")) == rules, "the rules as they were")


def test_S92_what_somebody_spoils_is_mended_within_the_resync_period(net: Net, proxy: Proxy) -> None:
    client = ("x-a", VIP, "tcp", 80)
    proxy.manifests.put("web", web("b"))
    until(lambda: answers(net, client) == {"x-b"}, "the endpoint")
    proxy.end()
    proxy.argv += ["--sync-period", "0.2"]
    proxy.start()
    spoil(net.ns("n1"), proxy.argv[proxy.argv.index("--iptables") + 1], "nftables" in proxy.argv)
    until(lambda: "mended: " in proxy.said(), "a word of what was mended")
    until(lambda: answers(net, client) == {"x-b"}, "the endpoint again")
    assert proxy.metric("kubeproxy_sync_proxy_rules_repairs_total") >= 1


def spoil(where: str, variant: str, nftables: bool) -> None:
    if nftables:
        words(where, ["nft", "flush", "chain", "ip", "kube-proxy", "services"])
    else:
        words(where, [f"iptables-{variant}", "-t", "nat", "-F", "KUBE-SERVICES"])


def test_what_is_claimed_is_all_that_a_look_for_drift_needs(net: Net, proxy: Proxy) -> None:
    proxy.manifests.put("web", web("a", "b"))
    until(lambda: "x-b" in answers(net, ("x-a", VIP, "tcp", 80), tries=TRIES), "the endpoints")
    proxy.manifests.put("web", web("b", "c", **NODE_PORT))
    until(lambda: "x-c" in answers(net, ("x-a", VIP, "tcp", 80), tries=TRIES), "the change")
    where, variant = net.ns("n1"), proxy.argv[proxy.argv.index("--iptables") + 1]

    def missing() -> object:
        known = Known(proxy.claims, where)
        return Kernel(LinuxBackend(iptables=variant), known).plan_all("proxy", known.load("proxy").states)

    until(lambda: missing() == {}, "claims that are the kernel's")  # they are written once more after a change
    spoil(where, variant, "nftables" in proxy.argv)
    assert missing()


def test_S110_S111_S114_a_udp_client_that_keeps_its_port_follows(net: Net, proxy: Proxy) -> None:
    def dns(*letters: str) -> list[dict[str, Any]]:
        return [service(**UDP), *([endpoints(*letters, proto="UDP", number=8053)] if letters else [])]

    with netns.entered(net.ns("x-a")):
        inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.entered(net.ns("ext")):
        outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside, outside:
        inside.bind(("", 40053))
        outside.bind(("203.0.113.9", 40053))
        for client in (inside, outside):
            client.settimeout(0.05)

        def answerer(client: socket.socket, address: tuple[str, int]) -> str:
            try:
                client.sendto(b"?", address)
                data, sender = client.recvfrom(100)
            except OSError:
                return "nobody"
            # what is on its way while the flow is forgotten comes back as it is, and no connected socket would take it
            return data.decode().split()[0] if sender == address else "a stray"

        ways = [(inside, (VIP, 8053)), (outside, (worlds.NODE_IPS["n1"], 30053))]
        # before there is such a Service, too: the flow then leads nowhere (S116)
        assert [answerer(*way) for way in ways] == ["nobody", "nobody"]
        for letters in (("b",), ("c",), (), ("b",), ("c",)):
            proxy.manifests.put("dns", dns(*letters))
            wanted = [f"x-{letters[0]}" if letters else "nobody"] * 2
            until(lambda wanted=wanted: [answerer(*way) for way in ways] == wanted, f"{wanted} to answer")
    assert proxy.metric("kubeproxy_conntrack_deleted_entries_total") >= 4


def test_S40_a_client_that_was_silent_for_long_enough_is_free(net: Net, proxy: Proxy) -> None:
    client, seconds = ("x-a", VIP, "tcp", 80), 1
    sticky = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}
    proxy.manifests.put("web", web("a", "b", "c", **sticky))
    until(lambda: next(iter(answers(net, client))).startswith("x-"), "an answer")
    found: set[str] = set()
    # each time with two chances of three for another one
    for _ in range(30):
        found |= answers(net, client)
        if len(found) > 1:
            break
        threading.Event().wait(seconds + 0.2)  # the kernel's clock, which nobody can ask
    assert len(found) > 1


def test_S115_a_connection_that_has_ended_by_itself_is_no_error(net: Net) -> None:
    client, vip = ip_address("10.244.1.10"), ip_address(VIP)
    flow = Flow("udp", client, 5000, vip, 53, ip_address("10.244.1.11"), 53)
    assert conntrack.forget(net.ns("n1"), [flow]) == 0
    assert conntrack.forget(net.ns("n1"), []) == 0


def test_S39_S42_S43_a_client_sticks_to_its_endpoint_as_long_as_it_is_there(net: Net, proxy: Proxy) -> None:
    client = ("x-a", VIP, "tcp", 80)
    proxy.manifests.put("web", web("a", "b", "c"))
    until(lambda: len(answers(net, client, tries=TRIES)) == 3, "all three endpoints")
    proxy.manifests.put("web", web("a", "b", "c", sessionAffinity="ClientIP"))
    until(
        lambda: len(found := answers(net, client, tries=20)) == 1 and next(iter(found)).startswith("x-"), "one endpoint"
    )
    found = answers(net, client, tries=20)
    (sticky,) = found
    others = [letter for letter in "abc" if letter != sticky[-1]]
    proxy.manifests.put("web", web(*others, sessionAffinity="ClientIP"))
    until(lambda: sticky not in answers(net, client), "another endpoint")
    assert len(answers(net, client, tries=20)) == 1
    proxy.manifests.put("web", web("a", "b", "c"))
    until(lambda: len(answers(net, client, tries=TRIES)) == 3, "all three endpoints again")


def test_S117_S118_S119_health_checks_of_a_balancer(net: Net, proxy: Proxy) -> None:
    where, local = net.ns("n1"), {**BALANCER, "externalTrafficPolicy": "Local"}
    assert worlds.NODES
    proxy.manifests.put("web", web("a", **local, healthCheckNodePort=32000))
    until(lambda: listening(where, 32000), "the health check")
    status, headers, body = get(where, "/anything", 32000)
    on_n1 = next(p for p in worlds.nine() if p["metadata"]["name"] == "a" and p["metadata"]["namespace"] == "x")
    count = int(on_n1["spec"]["nodeName"] == "n1")
    assert (status, json.loads(body)["localEndpoints"]) == (200 if count else 503, count)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Load-Balancing-Endpoint-Weight"] == str(count)
    assert json.loads(body) == {
        "service": {"namespace": "x", "name": "web"}, "localEndpoints": count, "serviceProxyHealthy": True,
    }  # fmt: skip
    # on every address of the node, through the firewall's rule for it
    assert get(net.ns("ext"), "/", 32000, worlds.NODE_IPS["n1"])[0] == status
    terminating = endpoints("a", ready=False, serving=True, terminating=True)
    proxy.manifests.put("web", [service(**local, healthCheckNodePort=32000), terminating])
    until(lambda: get(where, "/", 32000)[0] == 503, "draining")
    proxy.manifests.put("web", web("a", **local, healthCheckNodePort=32001))
    until(lambda: listening(where, 32001) and not listening(where, 32000), "another port")
    proxy.manifests.put("web", web("a", **BALANCER))
    until(lambda: not listening(where, 32001), "no health check")


def test_S120_health_of_the_proxy_itself(net: Net, proxy: Proxy) -> None:
    status, headers, body = proxy.get("/healthz")
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert set(json.loads(body)) == {"lastUpdated", "currentTime", "nodeEligible"}
    leaving = [{**NODES[0], "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}]
    proxy.manifests.put("nodes", [*leaving, *NODES[1:]])
    until(lambda: proxy.get("/healthz")[0] == 503, "a node that is about to leave")
    assert proxy.get("/livez")[0] == 200
    assert json.loads(proxy.get("/healthz")[2])["nodeEligible"] is False


def test_mistakes_are_told_and_everything_else_is_served(net: Net, proxy: Proxy) -> None:
    client = ("x-a", VIP, "tcp", 80)
    other = [service("other", clusterIP="10.96.0.21", **NODE_PORT), endpoints("c", name="other")]
    proxy.manifests.put("a-slices", [endpoints("b")])
    proxy.manifests.put("a-web", [service(**NODE_PORT)])
    until(lambda: answers(net, client) == {"x-b"}, "the endpoint")
    proxy.manifests.put("b-other", other)
    until(lambda: answers(net, ("x-a", "10.96.0.21", "tcp", 80)) == {"x-c"}, "the other Service")
    node_port = ("ext", worlds.NODE_IPS["n1"], "tcp", 30080)
    assert answers(net, node_port, tries=TRIES) == {"x-b"}
    assert "Service x/other: node port 30080/tcp is Service x/web" in proxy.said()
    proxy.manifests.text("a-web", "kind: Service\nmetadata: {name: web, namespace: x}\nspec: {ports: [{port: many}]}\n")
    until(lambda: "a-web.yaml:3" in proxy.said(), "a word of the mistake")
    assert answers(net, client) == {"x-b"}
    proxy.manifests.put("a-web", [])
    until(lambda: answers(net, node_port, tries=TRIES) == {"x-c"}, "the port to be the other's")


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_what_this_machine_has_no_match_for_is_left_out_and_the_rest_served(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """iptables without its extension `recent`, which session affinity is made of: the real tool, and its own words."""
    monkeypatch.setenv("XTABLES_LIBDIR", str(without_extension("recent", tmp_path)))
    where, manifests = net.ns("n1"), Manifests(tmp_path / "manifests")
    manifests.put("nodes", NODES)
    sticky = [
        service("sticky", clusterIP="10.96.0.22", sessionAffinity="ClientIP"), endpoints("b", name="sticky"),
    ]  # fmt: skip
    manifests.put("web", [*web("b"), *sticky])
    with Proxy(where, "n1", manifests, tmp_path, "--iptables", variant, "--sync-period", "1") as proxy:
        assert re.search(r"Service x/sticky is left out, for the kernel refuses it: .*recent", proxy.said())
        assert answers(net, ("x-a", VIP, "tcp", 80)) == {"x-b"}
        # others are followed as ever, and it is taken when it asks for what there is
        manifests.put("web", [*web("c"), *sticky])
        until(lambda: answers(net, ("x-a", VIP, "tcp", 80)) == {"x-c"}, "the other endpoint")
        sticky[0]["spec"].pop("sessionAffinity")
        manifests.put("web", [*web("c"), *sticky])
        until(lambda: answers(net, ("x-a", "10.96.0.22", "tcp", 80)) == {"x-b"}, "the Service that was left out")
    Kernel(LinuxBackend(iptables=variant), Known(proxy.claims, where)).apply(where, "proxy", HostState())
    net.forget()


def test_a_second_proxy_for_a_node_is_refused(net: Net, proxy: Proxy, tmp_path: Path) -> None:
    second = Proxy(proxy.where, "n1", proxy.manifests, tmp_path)
    second.start(wait=False)
    assert second.process is not None and second.process.wait(30) == 2
    assert "another proxy" in second.said()
    assert listening(proxy.where, HEALTH)
