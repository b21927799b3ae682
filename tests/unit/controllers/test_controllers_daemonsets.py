"""DaemonSets: a pod on every node that will have it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import World, in_world, until
from workloads import kubelet, pods_of, template

from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers.daemonsets import DaemonSets, for_node, node_of, outdated, pod_spec, wants, work_for
from netlab.scheduler.asks import ask_of
from netlab.scheduler.nodes import Facts, facts

NODES, SETS = Resource("v1", "nodes"), Resource("apps/v1", "daemonsets")
REVISIONS = Resource("apps/v1", "controllerrevisions")
STAMP = "2026-01-01T00:00:00Z"


def a_node(name: str, *taints: tuple[str, str], **labels: str) -> Facts:
    given = [{"key": key, "effect": effect} for key, effect in taints]
    return facts({"metadata": {"name": name, "labels": labels}, "spec": {"taints": given}})


def a_pod(name: str, node: str, code: str = "new", *, ready: bool = True, phase: str = "Running") -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": STAMP}
    return {"metadata": {"name": name, "namespace": "default", "labels": {"controller-revision-hash": code}},
            "spec": {"nodeName": node}, "status": {"phase": phase, "conditions": [condition]}}  # fmt: skip


def names(pods: list[Object]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def test_which_nodes() -> None:
    ask = ask_of(pod_spec({"containers": [], "nodeSelector": {"os": "linux"}}))
    assert wants(ask, a_node("n", os="linux")) == (True, True)
    assert wants(ask, a_node("n")) == (False, False)
    assert wants(ask, a_node("n", ("node.kubernetes.io/unreachable", "NoExecute"), os="linux")) == (True, True)
    assert wants(ask, a_node("n", ("dedicated", "NoSchedule"), os="linux")) == (False, True)
    assert wants(ask, a_node("n", ("dedicated", "NoExecute"), os="linux")) == (False, False)
    assert node_of({"spec": for_node({"containers": []}, "here")}) == "here"


def test_what_is_to_be_done() -> None:
    ask = ask_of({"containers": []})
    nodes = [a_node("a"), a_node("b"), a_node("c"), a_node("d", ("x", "NoExecute"))]
    pods = {
        "b": [a_pod("b1", "b", ready=False), a_pod("b2", "b")], "c": [a_pod("c1", "c", phase="Failed")],
        "d": [a_pod("d1", "d")], "gone": [a_pod("g1", "gone")],
    }  # fmt: skip
    work = work_for(ask, nodes, pods)
    assert (work.make, names(work.delete), names(work.failed)) == (["a"], ["b1", "d1", "g1"], ["c1"])


def test_old_pods_go_a_few_at_a_time_and_the_broken_at_once() -> None:
    pods = {n: [a_pod(n, n, "old")] for n in "abc"} | {"d": [a_pod("d", "d", "old", ready=False)]}
    assert names(outdated(pods, "abcd", "new", 1, 2e9, 0)) == ["d"]
    assert names(outdated(pods, "abcd", "new", 2, 2e9, 0)) == ["d", "a"]
    assert outdated({"a": [a_pod("a", "a")]}, "a", "new", 1, 2e9, 0) == []


def test_a_daemon_comes_with_the_nodes_and_rolls() -> None:
    async def test(w: World) -> None:
        def where(pods: list[Object]) -> list[str]:
            return sorted(node_of(pod) for pod in pods)

        async def on(nodes: list[str], image: str) -> None:
            async def there() -> Any:
                pods = await pods_of(w)
                ds = await w.get(SETS, "agent")
                state = (ds or {}).get("status") or {}
                right = all(p["spec"]["containers"][0]["image"] == image for p in pods)
                return right and where(pods) == nodes and state.get("numberAvailable") == len(nodes)

            await until(there)

        async with kubelet(w):
            await w.client.create(NODES.path(), {"metadata": {"name": "a"}})
            spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent:1", app="agent")}
            await w.make(SETS, "agent", spec=spec)
            await on(["a"], "agent:1")
            await w.client.create(NODES.path(), {"metadata": {"name": "b"}})
            await on(["a", "b"], "agent:1")
            change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "agent:2"}]}}}}
            await w.client.patch(SETS.path("default", "agent"), change)
            await on(["a", "b"], "agent:2")
            listed = (await w.client.list(REVISIONS.path("default")))["items"]
            assert sorted(r["revision"] for r in listed) == [1, 2]
            taint = {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}
            await w.client.patch(NODES.path("", "b"), taint)
            await on(["a"], "agent:2")

    in_world(test, (DaemonSets,))
