"""Labs on clusters: what lab.yaml may say, what names stand for, and what objects are compared with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netlab.base.errors import ConflictError, InputError
from netlab.cluster.options import options
from netlab.lab.checks.clusters import ClusterContext, Name
from netlab.lab.checks.objects import find, fits, kubectl
from netlab.lab.checks.result import CannotProbe, NotYet
from netlab.lab.checks.routing import bgp
from netlab.lab.checkspec import BgpCheck, KubectlCheck, ObjectCheck
from netlab.lab.exercises.book import Book
from netlab.lab.journal import CLUSTER, LAB, Journal, running
from netlab.lab.labfile import Lab
from netlab.lab.machine import Spot

GOOD = """\
name: t
cluster: {nodes: 3}
checks:
  - object: {kind: Pod, name: web, has: {.status.phase: Running}}
"""


def lab(tmp_path: Path, text: str, **more: str) -> Lab:
    for name, content in {"lab.yaml": text, **more}.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    return Lab(tmp_path / "lab.yaml")


# -- the file


def test_a_lab_on_a_cluster_has_its_nodes_for_places(tmp_path: Path) -> None:
    found = lab(tmp_path, GOOD, **{"manifests/a.yaml": "{apiVersion: v1, kind: Pod, metadata: {name: web}}"})
    assert found.on_cluster
    assert found.topology.namespaces == ["t.lan", "t.control-plane", "t.node1", "t.node2"]
    assert [file.path for file in found.topology.files] == ["manifests/a.yaml"]
    with pytest.raises(InputError, match=r"made by its daemons and not by lab\.yaml"):
        _ = found.states
    # what it asks for is what `netlab cluster up` would be asked for
    spec = found.file.cluster
    assert spec is not None and options("t") == options("t", count=spec.nodes, **spec.model_dump(exclude={"nodes"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "nodes:\n  a: {}\n", ":5: a lab on a cluster has no nodes"),
        (GOOD.replace("{nodes: 3}", "{nodes: 0}"), "greater than or equal to 1"),
        (GOOD.replace("{nodes: 3}", "{proxy: nft}"), ":2: "),
        (GOOD.replace("{nodes: 3}", "{network: flannel-udp, ipv6: true}"), ":2: flannel-udp carries IPv4 only"),
        (
            GOOD.replace("3}", "3, outside: {node1: {address: 172.17.0.5}}}"),
            ":2: 'node1' is a name of the cluster's own",
        ),
        (
            GOOD.replace("3}", "3, outside: {clerk: {address: 172.17.0.0/16}}}"),
            "'172.17.0.0/16' is not an IPv4 address",
        ),
        (GOOD.replace("3}", "3, outside: {clerk: {address: 172.17.0.5, serve: [9/sctp]}}}"), "speaks tcp and udp"),
        (GOOD.replace("name: t", f"name: {'t' * 25}"), "at most 24"),
        (GOOD.replace("cluster: {nodes: 3}\n", ""), ":3: object asks a cluster, and this lab has none"),
        (GOOD.replace(".status.phase", "status.phase"), "'status.phase' is no JSONPath"),
        (GOOD.replace("has: {.status.phase: Running}", "count: 2"), "are for objects without a name"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        _ = lab(tmp_path, text).topology
    assert said in str(caught.value)


def test_a_manifest_that_is_no_object_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.yaml:2: this is no API object"):
        _ = lab(tmp_path, GOOD, **{"manifests/a.yaml": "---\nkind: Pod\n"}).topology


EXERCISE = """\
exercises:
  - {id: one, title: One, level: 1, about: it, task: do it, solution: so, breaks: [BREAK],
     checks: [{object: {kind: Pod, name: web}}]}
"""


@pytest.mark.parametrize(
    ("on", "what", "said"),
    [
        (GOOD, "{delete: {kind: Pod, name: web}}", None),
        (GOOD, "{power: {node: node2}}", None),
        (GOOD, "{power: {node: node7}}", "the lab has no node or container 'node7'"),
        (GOOD, "{run: {on: pod/default/web, command: [ip, link], undo: [ip, link]}}", None),
        (GOOD, "{link_down: {on: node1, dev: eth0}}", "link_down changes a network that a lab lays itself"),
        ("name: t\nnodes:\n  a: {}\n", "{delete: {kind: Pod, name: web}}", "delete is done to a cluster"),
    ],
)
def test_what_an_exercise_may_break(tmp_path: Path, on: str, what: str, said: str | None) -> None:
    made = lab(tmp_path, on, **{"exercise.yaml": EXERCISE.replace("BREAK", what)})
    if said is None:
        book = Book.of(made)
        assert len(book.edits(book.exercises[0])) == 1
        return
    with pytest.raises(InputError, match=said):
        Book.of(made)


# -- the state directory


def test_a_lab_on_a_cluster_is_a_lab_and_a_cluster(tmp_path: Path) -> None:
    for name, files in {"plain": (), "bare": (CLUSTER,), "both": (CLUSTER, LAB)}.items():
        (tmp_path / name).mkdir()
        for file in ("journal.json", *files):
            (tmp_path / name / file).write_text(
                '{"format": 1, "name": "x", "source": "", "digest": "", "claims": {}, "namespaces": []}'
            )
    assert running(tmp_path) == ["both", "plain"]
    assert running(tmp_path, kind="cluster") == ["bare", "both"]
    with pytest.raises(ConflictError, match="is a cluster that is up"):
        Journal("bare", run_dir=tmp_path).read()
    with pytest.raises(ConflictError, match="runs on a cluster, and this verb is about networks"):
        Journal("both", run_dir=tmp_path).read()


# -- names


def pod(name: str, ip: str, node: str = "node1", phase: str = "Running", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": labels, "uid": name}
    status = {"phase": phase, "podIPs": [{"ip": ip}] if ip else []}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}


OBJECTS: dict[str, list[dict[str, Any]]] = {
    "pods": [
        pod("old", "10.244.1.9", phase="Failed", app="web"),
        pod("late", "", node="", phase="Pending", app="web"),
        pod("web-1", "10.244.1.2", app="web"),
        pod("web-2", "10.244.2.2", node="node2", app="web"),
    ],
    "services": [
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIPs": ["10.96.1.1", "fd00::1"]}},
        {"metadata": {"name": "none", "namespace": "default"}, "spec": {"clusterIP": "None"}},
    ],
    "nodes": [{"metadata": {"name": f"node{i}"}, "spec": {"podCIDR": f"10.244.{i}.0/24"}} for i in (1, 2)],
}


class Fake:
    """A cluster of two nodes."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield

    async def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        return next((o for o in OBJECTS[kind] if o["metadata"]["name"] == name), None)

    async def all(self, kind: str, *, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        key, _, value = selector.partition("=")
        return [o for o in OBJECTS[kind] if not key or o["metadata"]["labels"].get(key) == value]

    def spot(self, pod: dict[str, Any]) -> Spot | None:
        node = pod["spec"]["nodeName"]
        return Spot(f"/netns/{pod['metadata']['name']}", node, f"veth-{pod['metadata']['name']}") if node else None

    def bgp(self, node: str) -> Path | None:
        return Path("/node1.sock") if node == "node1" else None

    def netns(self, node: str) -> str:
        return f"t.{node}"

    def addresses(self, node: str) -> list[Any]:
        return [ip_address({"lan": "10.168.0.1", "node1": "10.168.0.3", "node2": "10.168.0.4"}[node])]

    def kubectl(self, words: list[str], *, timeout: float) -> tuple[int, str]:
        return (0, "NAME READY\nweb-1 1/1\nweb-2 1/1\n") if words == ["get", "pods"] else (1, "error: no such thing\n")


def context() -> ClusterContext:
    machine = SimpleNamespace(namespaces=lambda: {"t.lan", "t.node1", "t.node2"})
    topology = SimpleNamespace(by_name=dict.fromkeys(("lan", "node1", "node2", "node3")))
    made = ClusterContext(cast(Any, machine), cast(Any, None), cast(Any, topology), cast(Any, Fake()))

    async def look() -> None:
        async with made.opened():
            await made.look("pod/")

    asyncio.run(look())
    return made


def test_names_of_places() -> None:
    assert Name.parse("pod/default/app.kubernetes.io/name=web") == Name("pod", "default", "app.kubernetes.io/name=web")
    assert Name.parse("node1") is None and Name.parse("10.0.0.0/8") is None
    c = context()
    assert c.netns("node1") == "t.node1"
    assert c.netns("pod/default/web-2") == "/netns/web-2"
    assert c.netns("pod/default/app=web") == "/netns/web-1", "the first that runs"
    assert c.netns("node-of/default/web-2") == "t.node2"
    assert c.taps("pod/default/web-2", "veth") == [("t.node2", "veth-web-2")]
    assert c.taps("node-of/default/web-2", "cni0") == [("t.node2", "cni0")]
    assert [str(a) for a in c.addresses("service/default/web")] == ["10.96.1.1", "fd00::1"]
    assert [str(a) for a in c.addresses("lan")] == ["10.168.0.1"]
    assert c.among(["pod/default/app=web"]) == ["web-1", "web-2", "late"]
    assert c.text("to {service/default/web}:80 of {podcidr/node2}, {x}") == "to 10.96.1.1:80 of 10.244.2.0/24, {x}"
    assert str(c.network("podcidr/node2")) == "10.244.2.0/24"
    assert str(c.network("pod/default/web-2")) == "10.244.2.2/32"
    assert str(c.network("pod/default/web-2/26")) == "10.244.2.0/26"
    assert c.where({"ip.dst": "pod/default/app=web", "ip6.dst": "service/default/web", "tcp.flags": "S", "ip.src": "node1"}) == {
        "ip.dst": ["10.244.1.2", "10.244.2.2"], "ip6.dst": "fd00::1", "tcp.flags": "S", "ip.src": "10.168.0.3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("node9", "there is no node 'node9'"),
        ("node3", "node node3 is off"),
        ("pod/default/old", "there is no pod default/old that lives"),
        ("pod/default/late", r"has no network \(Pending\)"),
        ("service/default/web", "is nowhere that could ask"),
        ("node-of/default/late", "is on a node yet"),
    ],
)
def test_a_place_that_is_none(place: str, said: str) -> None:
    with pytest.raises(CannotProbe, match=said):
        context().netns(place)


def test_a_session_is_asked_of_the_speaker_of_a_node() -> None:
    asked: list[Path] = []

    def answer(socket: Path, request: dict[str, Any]) -> Any:
        asked.append(socket)
        prefixes = ["10.244.2.0/26"] if request["verb"] == "rib" else []
        path = {"from": "Mesh_node2", "attributes": {"as_path": "", "next_hop": "10.168.0.4"}}
        return [{"prefix": p, "best": 1, "paths": [path]} for p in prefixes] or [{"state": "Established"}]

    c = context()
    cast(Any, c.machine).bgp = answer
    assert bgp(BgpCheck(on="node1", peer="10.168.0.4"), c) == "node1 and 10.168.0.4: Established"
    block = BgpCheck(on="node1", prefix="pod/default/web-2/26", best={"next_hop": "10.168.0.4", "as_path": []})
    assert bgp(block, c).startswith("node1 10.244.2.0/26 from Mesh_node2")
    assert bgp(BgpCheck(on="node1", prefix="pod/default/web-2", absent=True), c) == "node1 10.244.2.2/32: no path"
    assert set(asked) == {Path("/node1.sock")}
    with pytest.raises(CannotProbe, match="node2 runs no bgpd"):
        bgp(BgpCheck(on="node2", peer="10.168.0.3"), c)


def test_a_headless_service_has_no_address() -> None:
    with pytest.raises(CannotProbe, match="has no address of its own"):
        context().addresses("service/default/none")


# -- objects


@pytest.mark.parametrize(
    ("wanted", "values", "fitting"),
    [
        (3, [3], True), ("3", [3], True), (3, [], False), (True, [True], True), (None, [], True), (None, [0], False),
        ([1, 2], [1, 2], True), ([1, 2], [2, 1], False), ({"matches": "^10\\."}, ["10.1.1.1"], True),
        ({"matches": "a"}, [], False), ({"not": 3}, [], True), ({"not": 3}, [3], False), ({"least": 2}, [3], True),
        ({"least": 2}, [1], False), ({"most": 2}, ["x"], False),
    ],
)  # fmt: skip
def test_what_a_path_leads_to(wanted: Any, values: list[Any], fitting: bool) -> None:
    assert fits(wanted, values) is fitting


def ask(**said: Any) -> str:
    return asyncio.run(find(ObjectCheck(**said), context()))


def test_objects_by_name_and_by_label() -> None:
    assert (
        ask(kind="pods", name="web-1", has={".status.phase": "Running"}) == "pods web-1 is there, .status.phase Running"
    )
    assert ask(kind="pods", name="gone", absent=True) == "pods gone is not there"
    assert ask(kind="pods", selector="app=web", has={".status.phase": "Running"}, count=2).startswith(
        "2 pods app=web like that"
    )
    with pytest.raises(NotYet, match=r"web-1: \.spec\.nodeName is node1, not node2"):
        ask(kind="pods", name="web-1", has={".spec.nodeName": "node2"})
    with pytest.raises(NotYet, match=r"2 pods app=web like that, of 4.*; old: \.status\.phase is Failed, not Running"):
        ask(kind="pods", selector="app=web", has={".status.phase": "Running"})
    with pytest.raises(NotYet, match="there is old"):
        ask(kind="pods", selector="app=web", has={".status.phase": "Failed"}, absent=True)


def test_what_kubectl_prints() -> None:
    def run(**said: Any) -> str:
        return asyncio.run(kubectl(KubectlCheck(**said), context()))[0]

    assert run(run="get pods", lines=["^NAME", "web-2 +1/1"], absent=["0/1"]) == "kubectl get pods: 2 lines as expected"
    with pytest.raises(NotYet, match="no line matches '\\^NAME' after line 2"):
        run(run="get pods", lines=["web-1", "^NAME"])
    with pytest.raises(NotYet, match="status 1, not 0: error: no such thing"):
        run(run="get nothing")
    with pytest.raises(NotYet, match="'web-1 1/1' matches"):
        run(run="get pods", absent=["web-1"])
