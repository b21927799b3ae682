"""Where pods may go, and the words for where they may not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from making import Object, World, apart, node, parsed, pod, taint, term

from netlab.scheduler import nodes
from netlab.scheduler.asks import ask_of
from netlab.scheduler.filters import Reject
from netlab.scheduler.volumes import Claims, claims_of


def required(*terms: Object, fields: bool = False) -> Object:
    name = "matchFields" if fields else "matchExpressions"
    chosen = {"nodeSelectorTerms": [{name: list(terms)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": chosen}}


def test_what_a_pod_asks_for() -> None:
    containers = [{"resources": {"requests": {"cpu": "100m"}}}, {"resources": {"requests": {"memory": "1Gi"}}}]
    init = [
        {"resources": {"requests": {"cpu": "50m"}}, "restartPolicy": "Always"},
        {"resources": {"requests": {"cpu": "1"}}},
    ]
    ask = ask_of({"containers": containers, "initContainers": init, "overhead": {"cpu": "5m"}})
    # the init container runs beside the sidecar, and that is more than all that runs later
    assert dict(ask.requests) == {"cpu": 1055, "memory": 1 << 30, "pods": 1}
    assert ask_of({"containers": [{}, {}]}).compared == (200, 400 << 20)


@pytest.mark.parametrize(
    ("there", "wanted", "why"),
    [
        (node("n", cordoned=True), pod("p"), "1 node(s) were unschedulable"),
        (node("n", taints=[taint("k", "v")]), pod("p"), "1 node(s) had untolerated taint {k: v}"),
        (node("n", taints=[taint("k", effect="NoExecute")]), pod("p"), "1 node(s) had untolerated taint {k: }"),
        (node("n"), pod("p", nodeSelector={"disk": "ssd"}), "1 node(s) didn't match Pod's node affinity/selector"),
        (node("n"), pod("p", affinity=required(term("metadata.name", "In", "m"), fields=True)),
         "1 node(s) didn't match Pod's node affinity/selector"),
        (node("n", cpu="1"), pod("p", requests={"cpu": "1001m"}), "1 Insufficient cpu"),
        (node("n", cpu="1", memory="1Gi"), pod("p", requests={"cpu": "2", "memory": "2Gi"}),
         "1 Insufficient cpu, 1 Insufficient memory"),
        (node("n", pods="0"), pod("p"), "1 Too many pods"),
        (node("n"), pod("p", requests={"nvidia.com/gpu": "1"}), "1 Insufficient nvidia.com/gpu"),
    ],
)  # fmt: skip
def test_one_node_that_will_not_do(there: Object, wanted: Object, why: str) -> None:
    assert World(there).why(wanted) == f"0/1 nodes are available: {why}."


def test_reasons_are_counted_and_sorted() -> None:
    control = node("c", taints=[taint("node-role.kubernetes.io/control-plane")])
    w = World(control, node("a", cpu="1"), node("b", cpu="1"))
    assert w.why(pod("p", requests={"cpu": "2"})) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
        "2 Insufficient cpu."
    )
    assert World().why(pod("p")) == "no nodes available to schedule pods"


def test_who_tolerates_and_who_is_meant() -> None:
    w = World(node("n", taints=[taint("k", "v")], labels={"cores": "8"}))
    equal = {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}
    for toleration in (equal, {"operator": "Exists"}, {"key": "k", "operator": "Exists"}):
        assert w.decide(pod("p", tolerations=[toleration])) == "n"
    assert "untolerated" in w.why(pod("p", tolerations=[{**equal, "value": "other"}]))
    easy = {"tolerations": [{"operator": "Exists"}]}
    assert w.decide(pod("p", affinity=required(term("cores", "Gt", "4")), **easy)) == "n"
    assert "affinity" in w.why(pod("p", affinity=required(term("cores", "Lt", "8")), **easy))
    assert w.decide(pod("p", affinity=required(term("metadata.name", "In", "n"), fields=True), **easy)) == "n"
    assert "affinity" in w.why(pod("p", affinity=required(), **easy))  # an empty term means nothing


def test_ports_of_the_node_are_held_by_one() -> None:
    w = World(node("n"))
    w.put(pod("a", host_port=80))
    assert w.why(pod("b", host_port=80)).endswith("1 node(s) didn't have free ports for the requested pod ports.")
    assert w.put(pod("c", host_port=81)) == "n"
    w.snapshot.remove("default/a")
    assert w.decide(pod("b", host_port=80)) == "n"


def test_pods_that_keep_apart_or_together() -> None:
    w = World(node("a", labels={"zone": "1"}), node("b", labels={"zone": "1"}), node("c", labels={"zone": "2"}))
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart("zone", app="x")]}}
    first = w.put(pod("x1", labels={"app": "x"}, affinity=anti))
    second = w.put(pod("x2", labels={"app": "x"}, affinity=anti))
    assert {first, second} in ({"a", "c"}, {"b", "c"})
    assert w.why(pod("x3", labels={"app": "x"}, affinity=anti)) == (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    )
    assert w.why(pod("plain", labels={"app": "x"})) == (
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."
    )
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart("zone", app="y")]}}
    assert "3 node(s) didn't match pod affinity rules" in w.why(pod("z", affinity=near))
    home = w.put(pod("y1", labels={"app": "y"}, affinity=near))  # the first of its kind may go anywhere
    zones = {"a": "1", "b": "1", "c": "2"}
    for number in range(5):
        assert zones[w.put(pod(f"z{number}", affinity=near))] == zones[home]


def test_pods_are_spread() -> None:
    w = World(
        node("a", labels={"zone": "1"}), node("b", labels={"zone": "1"}), node("c", labels={"zone": "2"}), node("d")
    )
    even = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "x"}}}  # fmt: skip
    zones = {"a": "1", "b": "1", "c": "2"}
    where = [zones[w.put(pod(f"x{n}", labels={"app": "x"}, topologySpreadConstraints=[even]))] for n in range(6)]
    assert sorted(where) == ["1", "1", "1", "2", "2", "2"]
    w.snapshot.set_node(nodes.facts(node("c", labels={"zone": "2"}, cordoned=True)))
    w.put(pod("x6", labels={"app": "x"}, topologySpreadConstraints=[even]))
    assert w.why(pod("x7", labels={"app": "x"}, topologySpreadConstraints=[even])) == (
        "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), "
        "1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints."
    )


def test_what_is_better() -> None:
    w = World(node("a"), node("b", taints=[taint("k", effect="PreferNoSchedule")]))
    w.put(pod("big", requests={"cpu": "1"}), on="a")
    assert w.decide(pod("p")) == "a"  # a wish of the node weighs more than some room
    w = World(node("a"), node("b", labels={"disk": "ssd"}))
    preference = {"weight": 1, "preference": {"matchExpressions": [term("disk", "In", "ssd")]}}
    liking = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
    assert {w.put(pod(f"p{n}", affinity=liking)) for n in range(10)} == {"b"}
    w = World(*(node(name) for name in "abc"))
    replicas = [pod(str(n)) for n in range(6)]
    for replica in replicas:
        replica["metadata"]["ownerReferences"] = [{"uid": "rs", "controller": True}]
    w.put(pod("big", requests={"cpu": "2"}), on="a")
    assert sorted(w.put(replica) for replica in replicas) == ["a", "a", "b", "b", "c", "c"]
    w = World(node("a"), node("b"))
    w.put(pod("friend", labels={"app": "x"}), on="b")
    soft = [{"weight": 100, "podAffinityTerm": apart(app="x")}]
    like = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": soft}}
    dislike = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": soft}}
    assert w.decide(pod("p", affinity=like)) == "b" and w.decide(pod("p", affinity=dislike)) == "a"


def test_nodes_come_change_and_go() -> None:
    w = World(node("a"))
    assert w.put(pod("p", requests={"cpu": "3"})) == "a"
    assert not w.snapshot.set_node(nodes.facts(node("a")))  # a heartbeat
    assert "Insufficient cpu" in w.why(pod("q", requests={"cpu": "3"}))
    w.snapshot.set_node(nodes.facts(node("a", cpu="8")))
    assert w.decide(pod("q", requests={"cpu": "3"})) == "a"
    w.snapshot.remove_node("a")
    assert w.why(pod("q", requests={"cpu": "3"})) == "no nodes available to schedule pods"
    w.snapshot.set_node(nodes.facts(node("b")))
    assert w.decide(pod("q", requests={"cpu": "3"})) == "b"
    w.snapshot.set_node(nodes.facts(node("a")))  # its pods have not gone: it is not empty
    w.snapshot.remove_node("b")
    assert "Insufficient cpu" in w.why(pod("q", requests={"cpu": "3"}))


def test_claims() -> None:
    objects: dict[str, Object] = {}
    w = World(node("a", labels={"zone": "1"}), node("b"))
    wants = pod("p", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])

    def claims() -> Claims:
        return claims_of(parsed(wants), w.snapshot, claim=objects.get, volume=objects.get, storage=objects.get)

    assert w.why(wants, claims()) == '0/2 nodes are available: persistentvolumeclaim "data" not found.'
    objects["default/data"] = {"metadata": {}, "spec": {}}
    assert w.why(wants, claims()) == "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    objects["late"] = {"volumeBindingMode": "WaitForFirstConsumer"}
    objects["default/data"]["spec"]["storageClassName"] = "late"
    assert "2 node(s) didn't find available persistent volumes to bind" in w.why(wants, claims())
    objects["default/data"]["spec"]["volumeName"] = "pv"
    objects["pv"] = {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [term("zone", "In", "1")]}]}}}}  # fmt: skip
    assert claims().affinities and w.decide(wants, claims()) == "a"
    objects["default/data"]["spec"]["accessModes"] = ["ReadWriteOncePod"]
    w.put(pod("other", volumes=wants["spec"]["volumes"]), on="a")
    assert isinstance(claims().whole, Reject)
