"""Faults under load: what is not hit goes on, what is hit comes back, everything converges, and nothing is left behind.

One cluster over etcd for the module. While something is harmed, connections go through a Service from two nodes, and
pods come and go; afterwards `converges` compares what is on the nodes with what the API knows.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import clusterup
import pytest
from clusterup import Cluster, netlab
from faultworld import (
    PODS,
    SERVICES,
    Load,
    converges,
    deployed,
    inventory,
    leaks,
    pod,
    rules,
    under_load,
    until,
)
from patience import patience

from netlab.client.kubeconfig import load as kubeconfig
from netlab.client.rest import ApiError, RestClient
from netlab.kernel import cgroups, processes, supervise

#: no two runs of the tests share it
NAME = f"cf{os.getpid()}"
#: how many pods come and go while their kubelets are killed
MANY = 100
NODES = ("control-plane", "node1", "node2")

pytestmark = clusterup.NEEDS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, a Deployment of three and its Service; afterwards the machine must be as it was."""
    place = tmp_path_factory.mktemp("faults")

    async def begin(found: Cluster) -> None:
        async with talking(found) as client:
            await deployed(found, client)

    with clusterup.leaving_nothing(NAME, place), clusterup.cluster(NAME, place, "--store", "etcd") as found:
        asyncio.run(begin(found))
        yield found


@asynccontextmanager
async def talking(cluster: Cluster) -> AsyncIterator[RestClient]:
    client = cluster.client()
    try:
        yield client
    finally:
        await client.aclose()


def harmed(cluster: Cluster, *places: str) -> Callable[[Callable[[RestClient, Load], Awaitable[None]]], None]:
    """Run a test under load from these nodes; afterwards all has to converge."""

    def run(test: Callable[[RestClient, Load], Awaitable[None]]) -> None:
        async def work() -> None:
            async with talking(cluster) as client:
                async with under_load(cluster, client, *places) as load:
                    await more(cluster, load)
                    await test(client, load)
                await converges(cluster, client)

        asyncio.run(work())

    return run


async def more(cluster: Cluster, load: Load, pods: int = 3, answers: int = 10) -> None:
    """The load goes on: so many pods more, and answers."""
    came, served = load.came + pods, load.served + answers

    async def goes() -> bool:
        return load.came >= came and load.served >= served

    await until(cluster, "the load goes on", goes)


def again(cluster: Cluster, name: str, before: processes.Identity) -> Callable[[], Awaitable[bool]]:
    """Whether another process does the work of one that was killed, and the supervisor says so."""

    async def holds() -> bool:
        found = cluster.process(name)
        return bool(found["ready"] and found["restarts"] and found["pid"] not in (None, before.pid))

    return holds


def test_every_daemon_is_killed_in_turn(cluster: Cluster) -> None:
    """The agents are kubelet, flanneld, proxy and policies; the control plane's is the name server as well."""

    async def test(client: RestClient, load: Load) -> None:
        for name in ("etcd", "server", "agent"):
            await until_back(f"control-plane/{name}")
        await until_back("node1/agent")
        # all at once, too
        before = {f"{node}/agent": cluster.kill(f"{node}/agent") for node in ("node1", "node2")}
        before["control-plane/server"] = cluster.kill("control-plane/server")
        for name, one in before.items():
            await until(cluster, f"{name} is back", again(cluster, name, one))
        await more(cluster, load)
        assert load.failures() == []

        async def answers() -> bool:
            words = (sys.executable, "-m", "netlab.cli.main", "dns", "lookup", "--server", "10.96.0.10",
                     "web.default.svc.cluster.local")  # fmt: skip
            said = await asyncio.to_thread(netlab, "cluster", "exec", "--cluster", NAME, "node2", "--", *words)
            return address in said

        address = (await client.get(SERVICES.path("default", "web")))["spec"]["clusterIP"]
        await until(cluster, "names are answered", answers)

    async def until_back(name: str) -> None:
        one = cluster.kill(name)
        await until(cluster, f"{name} is back", again(cluster, name, one))

    before = pids(cluster)
    harmed(cluster, "node1", "node2")(test)
    assert pids(cluster) == before, "no container was begun anew"


def pids(cluster: Cluster) -> dict[str, int]:
    """The containers of the Deployment, and the first process of each."""
    found = {}
    for node in cluster.nodes():
        for directory in (cluster.own(node, "/var/lib/netlab") / "containers").glob("*"):
            state = json.loads((directory / "state.json").read_text())
            if state["labels"]["io.kubernetes.pod.name"].startswith("web-"):
                found[directory.name] = state["init"][0]
    return found


def test_what_holds_a_container_is_killed(cluster: Cluster) -> None:
    """Its first process: it is begun again. The sandbox: the pod is wired anew. Its monitor: it goes on."""

    def of(role: str) -> tuple[str, str, Path]:
        """A pod of the Deployment on node1 or node2: its name, its node, the directory of its container of that role."""
        for node in ("node1", "node2"):
            for directory in sorted((cluster.own(node, "/var/lib/netlab") / "containers").glob("*")):
                labels = json.loads((directory / "state.json").read_text())["labels"]
                name = labels["io.kubernetes.pod.name"]
                if name.startswith("web-") and labels["io.kubernetes.container.name"] == role:
                    return name, node, directory
        raise AssertionError("the Deployment runs on no node")

    def kill(node: str, group: str) -> None:
        for number in cgroups.members(f"/netlab/{NAME}/{node}/{group}"):
            one = processes.identify(number)
            assert one is not None and processes.send(one, 9)

    async def test(client: RestClient, load: Load) -> None:
        async def whole(name: str, *, restarts: int) -> bool:
            state = (await client.get(PODS.path("default", name)))["status"]
            container = state["containerStatuses"][0]
            return bool(container["ready"] and container["restartCount"] == restarts)

        async def restarts(name: str) -> int:
            count: int = (await client.get(PODS.path("default", name)))["status"]["containerStatuses"][0][
                "restartCount"
            ]
            return count

        name, node, directory = of("web")
        count = await restarts(name)
        kill(node, f"{directory.name}.monitor")
        kill(node, json.loads((directory / "state.json").read_text())["cgroup"].removeprefix(f"/netlab/{NAME}/{node}/"))
        await until(cluster, f"{name} is begun again", lambda: whole(name, restarts=count + 1))
        name, node, directory = of("POD")
        count = await restarts(name)
        address = (await client.get(PODS.path("default", name)))["status"]["podIP"]
        kill(node, json.loads((directory / "state.json").read_text())["cgroup"].removeprefix(f"/netlab/{NAME}/{node}/"))
        await until(cluster, f"{name} has another sandbox", lambda: whole(name, restarts=count + 1))
        assert (await client.get(PODS.path("default", name)))["status"]["podIP"] != address
        await more(cluster, load)

    harmed(cluster, "control-plane")(test)


def test_a_node_crashes_and_comes_back(cluster: Cluster) -> None:
    """Its pods are its own again, on its disk; the others have not noticed."""

    async def test(client: RestClient, load: Load) -> None:
        others = {n: cluster.process(f"{n}/init")["pid"] for n in ("control-plane", "node1")}
        await asyncio.to_thread(netlab, "cluster", "node", "crash", "node2", "--cluster", NAME)
        assert sorted(cluster.nodes()) == sorted(others)
        # pods that are given to it meanwhile wait for it
        await client.create(PODS.path("default"), pod("waits", node="node2"))
        await more(cluster, load, answers=0)
        await asyncio.to_thread(netlab, "cluster", "node", "start", "node2", "--cluster", NAME)

        async def runs() -> bool:
            return bool((await client.get(PODS.path("default", "waits")))["status"]["phase"] == "Running")

        await until(cluster, "what waited runs", runs)
        assert {n: cluster.process(f"{n}/init")["pid"] for n in others} == others

    harmed(cluster, "control-plane")(test)


def test_a_cable_is_pulled(cluster: Cluster) -> None:
    """What runs there goes on; what is to change waits, and is done as soon as the cable is back."""

    def cable(state: str) -> None:
        subprocess.run(["ip", "-n", f"{NAME}.lan", "link", "set", "node1", state], check=True)

    async def test(client: RestClient, load: Load) -> None:
        async def phase(wanted: str) -> bool:
            return bool((await client.get(PODS.path("default", "waits")))["status"]["phase"] == wanted)

        try:
            cable("down")
            await client.create(PODS.path("default"), pod("waits", node="node1"))
            await more(cluster, load, pods=6, answers=0)
            assert await phase("Pending")
        finally:
            cable("up")
        await until(cluster, "what waited runs", lambda: phase("Running"))

    before = pids(cluster)
    harmed(cluster, "node2")(test)
    assert pids(cluster) == before, "no container was begun anew"


def test_many_pods_come_and_go_and_their_kubelets_are_killed(cluster: Cluster) -> None:
    """Pods, addresses, namespaces, mounts, groups, cables, rules: as many afterwards as before."""

    def counts() -> dict[str, dict[str, int]]:
        return {
            node: {**{kind: len(names) for kind, names in inventory(cluster, node).items()},
                   "rules": len(rules(cluster, node))}
            for node in cluster.nodes()
        }  # fmt: skip

    async def test() -> None:
        async with talking(cluster) as client:
            await converges(cluster, client)
            before = counts()
            names = [f"load-many-{n}" for n in range(MANY)]
            for n, name in enumerate(names):
                await client.create(PODS.path("default"), pod(name, node=f"node{n % 2 + 1}", seconds=0))
            # in the middle of making, of running, of taking away
            await until(cluster, "some run", lambda: running(client, MANY // 4))
            one = cluster.kill("node1/agent")
            await until(cluster, "more run", lambda: running(client, MANY // 2))
            other = cluster.kill("node2/agent")
            for name in names[::2]:
                await client.delete(PODS.path("default", name))
            await until(cluster, "node1's agent is back", again(cluster, "node1/agent", one))
            await until(cluster, "node2's agent is back", again(cluster, "node2/agent", other))
            for name in names[1::2]:
                await client.delete(PODS.path("default", name))
            cluster.kill("node2/agent")
            await converges(cluster, client, seconds=240)

            async def as_before() -> bool:
                now = counts()
                assert now == before, (now, before)
                return True

            # rules follow the pods a moment later
            await until(cluster, "as much is there as before", as_before)

    async def running(client: RestClient, count: int) -> bool:
        listed = (await client.list(PODS.path("default"), label_selector="of=load"))["items"]
        return sum(p["status"].get("phase") == "Running" for p in listed) >= count

    asyncio.run(test())


def test_the_machine_loses_power_and_up_brings_all_back(cluster: Cluster) -> None:
    """The supervisor is killed, and with it every process of every node, in the middle of the load."""

    async def test(client: RestClient, load: Load) -> None:
        there = supervise.supervisor(cluster.run)
        assert there is not None and processes.send(there, 9)
        inits = [cluster.runs(f"{node}/init") for node in NODES]
        assert all(processes.ended(one, patience(60)) for one in (there, *inits))
        said = json.loads(await asyncio.to_thread(netlab, "cluster", "up", NAME, "--store", "etcd", "--json"))
        assert not said["fresh"]
        await more(cluster, load, answers=0)

    harmed(cluster, "control-plane")(test)


def test_what_is_left_is_seen(cluster: Cluster) -> None:
    """The judge of all this: it tells of what belongs to no pod."""

    async def test() -> list[str]:
        async with talking(cluster) as client:
            return await leaks(cluster, client)

    book = cluster.own("node1", "/var/lib/cni") / "networks/cbr0/10.244.255.9"
    book.write_text("nobody\r\neth0")
    link = ["ip", "-n", f"{NAME}.node1", "link"]
    subprocess.run([*link, "add", "veth-nobody", "type", "veth", "peer", "name", "nobody"], check=True)
    try:
        found = asyncio.run(test())
        assert any("addresses: 10.244.255.9" in line for line in found), found
        assert any("links:" in line for line in found), found
    finally:
        book.unlink()
        subprocess.run([*link, "del", "veth-nobody"], check=True)
    assert asyncio.run(test()) == []


def test_a_full_disk_is_told_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Of the server's store, a small file system of its own; what is there is read all the time."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=12m tmpfs "$1" && shift && exec "$@"'
    argv = [sys.executable, "-m", "netlab.cli.main", "server", "--data-dir", str(disk / "data"), "--port", "0",
            "--no-scheduler", "--kubeconfig", str(tmp_path / "config")]  # fmt: skip
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(disk), *argv], stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + patience(60)
        while b"controllers run" not in log.read_bytes():
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        asyncio.run(_fill(tmp_path / "config", Path(f"/proc/{server.pid}/root{disk}/ballast")))
        assert server.poll() is None, log.read_text()
    finally:
        server.terminate()
        server.wait(patience(30))
    assert "Traceback" not in log.read_text(), log.read_text()


async def _fill(config: Path, ballast: Path) -> None:
    client = RestClient(kubeconfig(config), timeout=patience(30))
    maps = "/api/v1/namespaces/default/configmaps"

    async def write(name: str) -> None:
        await client.create(maps, {"metadata": {"name": name}, "data": {"x": "x" * 50_000}})

    try:
        await write("before")
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError:
                pass
        told, count = "", 0
        while not told and count < 200:  # the log has a page or two that are its own already
            try:
                await write(f"full-{count}")
                count += 1
            except ApiError as e:
                told = str(e)
        assert "disk is full" in told
        assert (await client.get(f"{maps}/before"))["data"]
        ballast.unlink()
        end = time.monotonic() + patience(60)
        while True:
            try:
                await write("after")
                break
            except ApiError:
                assert time.monotonic() < end
                await asyncio.sleep(0.1)
        names = {obj["metadata"]["name"] for obj in (await client.list(maps))["items"]}
        assert {"before", "after"} <= names and f"full-{count}" not in names
    finally:
        await client.aclose()
