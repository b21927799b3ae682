"""Objects that come and go one by one are the same as if they had come at once, and Services have the slices they imply."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netlab.compile.gathered import Gathered
from netlab.compile.objects import Name, Ref, Value
from netlab.compile.parse import ref, value

Data = dict[str, Any]


def service(name: str, **selector: str) -> Data:
    spec = {"clusterIP": "10.96.0.1", "ports": [{"port": 80}], **({"selector": selector} if selector else {})}
    return {"kind": "Service", "metadata": {"namespace": "x", "name": name}, "spec": spec}


def pod(name: str, ip: str, node: str = "n1", **labels: str) -> Data:
    meta = {"namespace": "x", "name": name, "labels": labels}
    return {"kind": "Pod", "metadata": meta, "spec": {"nodeName": node}, "status": {"podIP": ip, "phase": "Running"}}


def endpoint_slice(name: str, of: str, *ips: str) -> Data:
    meta = {"namespace": "x", "name": name, "labels": {"kubernetes.io/service-name": of}}
    return {
        "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "ports": [{"name": "", "port": 80}],
        "endpoints": [{"addresses": [ip]} for ip in ips],
    }  # fmt: skip


def endpoints(name: str, *ips: str) -> Data:
    subset = {"addresses": [{"ip": ip} for ip in ips], "ports": [{"port": 80}]}
    return {"kind": "Endpoints", "metadata": {"namespace": "x", "name": name}, "subsets": [subset]}


def node(name: str, zone: str = "") -> Data:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}}


class Cluster:
    """What is there, and somebody who hears of each change."""

    def __init__(self, *, implied: bool = True) -> None:
        self.implied, self.gathered = implied, Gathered(implied=implied)
        self.there: dict[Ref, Value | None] = {}

    def put(self, *listed: Data) -> dict[Name, list[str] | None]:
        """By Service that is another now, its endpoints."""
        return self._tell({ref(data): value(data) for data in listed})

    def gone(self, *listed: Data) -> dict[Name, list[str] | None]:
        return self._tell({ref(data): None for data in listed})

    def _tell(self, changes: dict[Ref, Value | None]) -> dict[Name, list[str] | None]:
        self.there |= changes
        found = self.gathered.take(changes)
        whole = Gathered(implied=self.implied)
        whole.take(self.there)
        assert whole.objects() == self.gathered.objects()
        assert whole.served == self.gathered.served
        return {
            name: sorted(e.address for one in served[1] for e in one.endpoints) if served else None
            for name, served in found.items()
        }


A, WEB = ("x", "a"), service("a", app="w")


def test_S54_pods_that_a_selector_finds_are_endpoints_until_somebody_writes_slices() -> None:
    cluster = Cluster()
    assert cluster.put(WEB, pod("p", "10.0.0.1", app="w"), pod("q", "10.0.0.2", app="v")) == {A: ["10.0.0.1"]}
    assert cluster.put(pod("q", "10.0.0.2", app="w")) == {A: ["10.0.0.1", "10.0.0.2"]}
    assert cluster.put(endpoint_slice("mine", "a", "10.0.0.9")) == {A: ["10.0.0.9"]}
    assert cluster.put(pod("p", "10.0.0.7", app="w")) == {}
    assert cluster.gone(endpoint_slice("mine", "a")) == {A: ["10.0.0.2", "10.0.0.7"]}
    assert cluster.gone(WEB) == {A: None}
    assert cluster.gone(WEB) == {}


def test_endpoints_stand_for_slices_that_nobody_made() -> None:
    cluster = Cluster()
    assert cluster.put(service("a"), endpoints("a", "10.0.0.5")) == {A: ["10.0.0.5"]}
    assert cluster.put(endpoint_slice("mine", "a", "10.0.0.9")) == {A: ["10.0.0.9"]}
    assert cluster.gone(endpoint_slice("mine", "a"), endpoints("a")) == {A: []}


def test_of_an_api_server_nothing_is_implied() -> None:
    cluster = Cluster(implied=False)
    assert cluster.put(WEB, pod("p", "10.0.0.1", app="w")) == {A: []}
    assert cluster.gathered.objects().nodes == () and cluster.gathered.node("n1") is None
    assert cluster.put(endpoint_slice("mine", "a", "10.0.0.9")) == {A: ["10.0.0.9"]}


def test_a_slice_that_changes_hands_matters_to_both() -> None:
    cluster = Cluster()
    cluster.put(service("a"), service("b"), endpoint_slice("s", "a", "10.0.0.1"))
    assert cluster.put(endpoint_slice("s", "b", "10.0.0.1")) == {A: [], ("x", "b"): ["10.0.0.1"]}


def test_a_node_that_pods_are_bound_to_is_there_and_its_zone_is_that_of_its_endpoints() -> None:
    cluster = Cluster()
    cluster.put(WEB, pod("p", "10.0.0.1", app="w"))
    assert [n.name for n in cluster.gathered.objects().nodes] == ["n1"]
    found = cluster.gathered.node("n1")
    assert found is not None and found.zone == ""
    cluster.put(node("n1", "east"))
    found = cluster.gathered.node("n1")
    assert found is not None and found.zone == "east"


def test_what_says_the_same_stays_the_same_object_and_is_no_change() -> None:
    cluster = Cluster()
    cluster.put(WEB, node("n1"))
    before, nodes = cluster.gathered.objects(), cluster.gathered.nodes
    assert cluster.put(service("a", app="w"), node("n1")) == {}
    assert cluster.gathered.objects().services[0] is before.services[0]
    assert cluster.gathered.nodes is nodes


LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["w", "v"]), max_size=2)
LETTERS, NODES, LAST = st.sampled_from("ab"), st.sampled_from(["n1", "n2"]), st.integers(1, 3)
SOME = st.one_of(
    st.builds(lambda name, labels: service(name, **labels), LETTERS, LABELS),
    st.builds(lambda name, n, on, labels: pod(name, f"10.0.0.{n}", on, **labels), LETTERS, LAST, NODES, LABELS),
    st.builds(lambda name, of, n: endpoint_slice(name, of, f"10.1.0.{n}"), LETTERS, LETTERS, LAST),
    st.builds(lambda name, n: endpoints(name, f"10.2.0.{n}"), LETTERS, LAST),
    st.builds(node, NODES, st.sampled_from(["", "east"])),
)


@given(st.lists(st.tuples(SOME, st.booleans()), max_size=30), st.booleans())
def test_one_by_one_is_as_all_at_once(steps: list[tuple[Data, bool]], implied: bool) -> None:
    cluster = Cluster(implied=implied)
    for data, there in steps:
        cluster.put(data) if there else cluster.gone(data)
