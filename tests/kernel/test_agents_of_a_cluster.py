"""The agents of a node with an API server: what it says is in the kernel, and stays there while it is away."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle import worlds
from podnet import Net, pods_of
from proxying import PATIENCE, Known, Manifests, Proxy, firewall, get, until
from servicejudge import endpoints, service

from netlab.client.kubeconfig import load
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient
from netlab.daemons.apiserver import issue_kubeconfig
from netlab.dns import asking
from netlab.dns.search import Resolver
from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("an API server and agents as processes: an emulator takes minutes"),
]
NODES, SERVICES = Resource("v1", "nodes"), Resource("v1", "services")
SLICES, NAMESPACES = Resource("discovery.k8s.io/v1", "endpointslices"), Resource("v1", "namespaces")
PODS, POLICIES = Resource("v1", "pods"), Resource("networking.k8s.io/v1", "networkpolicies")
VIP = "10.96.0.20"
CLIENT = ("x-a", VIP, "tcp", 80)
IPS = {p["metadata"]["name"]: p["status"]["podIP"] for p in worlds.nine() if p["metadata"]["namespace"] == "x"}
DENY = {
    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "x", "name": "deny"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}  # fmt: skip


class Server:
    """`netlab apiserver` in a namespace, on its loopback."""

    def __init__(self, where: str, home: Path) -> None:
        self.where, self.home, self.data = where, home, home / "data"
        self.log = home / "apiserver.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "netlab.cli.main", "apiserver", "--data-dir", str(self.data), "--port", "16443"]
        with self.log.open("ab") as log, netns.entered(self.where):
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        until(self._answers, "the API server")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        if not (self.data / "admin.conf").exists():
            return False
        try:
            self.do(lambda client: client.get("/api/v1/namespaces/default"))
        except (ApiError, ApiUnavailable):
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def config_of(self, user: str) -> Path:
        """A kubeconfig for an agent."""
        file = self.home / f"{user.replace(':', '-')}.conf"
        file.write_bytes(issue_kubeconfig(self.data, user, ()))
        return file

    def do(self, work: Callable[[RestClient], Coroutine[Any, Any, Any]]) -> Any:
        """As the administrator."""

        async def run() -> Any:
            client = RestClient(load(self.data / "admin.conf"))
            try:
                return await work(client)
            finally:
                await client.aclose()

        with netns.entered(self.where):
            return asyncio.run(run())

    def make(self, resource: Resource, *listed: Object) -> None:
        """Create objects, with their status."""

        async def work(client: RestClient) -> None:
            for data in listed:
                meta = data["metadata"]
                made = await client.create(resource.path(meta.get("namespace", "")), data)
                if "status" in data:
                    path = resource.path(meta.get("namespace", ""), meta["name"], "status")
                    await client.replace(path, {**made, "status": data["status"]})

        self.do(work)

    def patch(self, resource: Resource, name: str, change: Object, namespace: str = "x") -> None:
        self.do(lambda client: client.patch(resource.path(namespace, name), change))

    def delete(self, resource: Resource, name: str, namespace: str = "x") -> None:
        self.do(lambda client: client.delete(resource.path(namespace, name)))


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=False, variant="nft")
    with made.up():
        yield made


@pytest.fixture
def server(net: Net, tmp_path: Path) -> Iterator[Server]:
    made = Server(net.ns("n1"), tmp_path)
    made.start()
    try:
        made.make(NAMESPACES, *worlds.namespaces())
        made.make(NODES, *(worlds.node(name) for name in worlds.NODES))
        yield made
    finally:
        made.kill()


class Agent(Proxy):
    """An agent of n1 that follows the API server as a user of its own."""

    def __init__(self, server: Server, verb: str, user: str, *options: str) -> None:
        super().__init__(server.where, "n1", Manifests(server.home / "none"), server.home)
        self.log, self.claims, self.owner = server.home / f"{verb}.log", server.home / f"{verb}.claims", verb
        self.argv = [
            *self.argv[:3], verb, "--kubeconfig", str(server.config_of(user)), "--node-name", "n1", "--claims",
            str(self.claims), "--iptables", "nft", *options,
        ]  # fmt: skip


@pytest.fixture
def clean(net: Net) -> Iterator[Callable[[Agent, str], None]]:
    """Notes agents whose rules are to be gone in the end."""
    noted: list[tuple[Agent, str]] = []
    before = firewall(net.ns("n1"))
    yield lambda agent, owner: noted.append((agent, owner))
    for agent, owner in noted:
        kernel = Kernel(LinuxBackend(iptables="nft"), Known(agent.claims, agent.where, owner))
        kernel.apply(agent.where, owner, HostState())
    net.forget()
    assert firewall(net.ns("n1")) == before


def answers(net: Net, client: tuple[str, str, str, int], tries: int = 1) -> set[Any]:
    return {a[0] if isinstance(a, tuple) else a for a in net.ask([client] * tries)}


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_proxy_serves_what_an_api_server_says_and_goes_on_while_it_is_away(
    net: Net, server: Server, clean: Callable[[Agent, str], None], mode: str
) -> None:
    server.make(SERVICES, service(selector=None))
    server.make(SLICES, endpoints("b"))
    options = ("--mode", mode, "--min-sync-period", "0")
    with Agent(server, "proxy", "system:kube-proxy", *options) as agent:
        clean(agent, "proxy")
        until(lambda: answers(net, CLIENT) == {"x-b"}, "the endpoint")
        server.patch(SLICES, "web-p", {"endpoints": endpoints("c")["endpoints"]})
        until(lambda: answers(net, CLIENT) == {"x-c"}, "the other endpoint")
        # its node's pods are those of the Node: who comes from elsewhere is masqueraded, who is one is not
        assert {a[1] for a in net.ask([CLIENT])} == {IPS["a"]}
        server.kill()
        until(lambda: "is tried again" in agent.said(), "a word of the server")
        assert answers(net, CLIENT, tries=5) == {"x-c"}
        agent.end()
        agent.start(wait=False)
        until(lambda: agent.said().count("is tried again") > 1, "its successor to look for the server")
        assert answers(net, CLIENT, tries=5) == {"x-c"}
        server.start()
        server.patch(SLICES, "web-p", {"endpoints": endpoints("b")["endpoints"]})
        until(lambda: answers(net, CLIENT) == {"x-b"}, "what has changed")
        server.delete(SERVICES, "web")
        until(lambda: answers(net, CLIENT) <= {"refused", "nothing", "unreachable"}, "nobody at the address")


def test_a_policy_agent_isolates_as_an_api_server_says(
    net: Net, server: Server, clean: Callable[[Agent, str], None]
) -> None:
    server.make(PODS, *(bare(p) for p in worlds.nine()))
    probe = ("n1", IPS["a"], "tcp", 80)
    other = ("y-a", IPS["a"], "tcp", 80)
    with Agent(server, "policyd", "system:netlab-policyd", "--bridged", "--healthz-port", "9099") as agent:
        clean(agent, "policy")
        until(lambda: answers(net, other) == {"x-a"}, "an answer")
        server.make(POLICIES, DENY)
        until(lambda: answers(net, other) != {"x-a"}, "isolation")
        assert answers(net, probe) == {"x-a"}  # a node reaches its pods
        server.kill()
        net.forget()
        assert answers(net, other) != {"x-a"}
        server.start()
        peers = [{"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}]
        server.patch(POLICIES, "deny", {"spec": {"ingress": peers}})
        until(lambda: answers(net, other) == {"x-a"}, "an answer to those who are let in")
        page = get(agent.where, "/metrics", 9099)[2]
        assert re.search(r"^netlab_policy_policies 1\.0$", page, re.MULTILINE)


def test_one_process_is_all_of_them(net: Net, server: Server, clean: Callable[[Agent, str], None]) -> None:
    """They share informers, none of them hears signals or tells systemd anything, and all end with their process."""
    server.make(PODS, *(bare(p) for p in worlds.nine()))
    server.make(SERVICES, service(selector=None))
    server.make(SLICES, endpoints("a"))
    script = Path(__file__).with_name("agents_in_one.py")
    argv = [sys.executable, str(script), str(server.data / "admin.conf"), "n1", str(server.home)]
    with (server.home / "one.log").open("wb") as log, netns.entered(server.where):
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            assert process.stdin and process.stdout
            assert process.stdout.readline() == "ready\n", (server.home / "one.log").read_text()
            for verb, owner in (("proxy", "proxy"), ("policyd", "policy")):
                clean(Agent(server, verb, "nobody"), owner)
            other = ("y-a", VIP, "tcp", 80)
            assert answers(net, other) == {"x-a"}
            server.make(POLICIES, DENY)
            until(lambda: answers(net, other) != {"x-a"}, "isolation")
            (found,) = asked(server.where, "web.x.svc.cluster.local")
            assert [record.data for record in found.answers[0].records] == [VIP]
            process.stdin.write("end\n")
            process.stdin.flush()
            assert process.wait(PATIENCE) == 0, (server.home / "one.log").read_text()
        finally:
            process.kill()


def asked(where: str, name: str) -> list[asking.Found]:
    with netns.entered(where):
        return asking.by_wire(("127.0.0.1", 53), name, "A", Resolver())


def bare(pod: Object) -> Object:
    """A pod as an API server takes it."""
    spec = {"nodeName": pod["spec"]["nodeName"], "containers": [{"name": "c", "image": "none"}]}
    return {**pod, "spec": spec}
