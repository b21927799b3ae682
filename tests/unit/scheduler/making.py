"""Objects for tests of the scheduler, short to write."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from netlab.scheduler import nodes, pods
from netlab.scheduler.decide import Decider, Unfit
from netlab.scheduler.pods import Pod
from netlab.scheduler.volumes import Claims

Object = dict[str, Any]


def node(name: str, *, labels: dict[str, str] | None = None, taints: list[Object] | None = None, cordoned: bool = False,
         **has: str) -> Object:  # fmt: skip
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110", **has}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": taints or [], **({"unschedulable": True} if cordoned else {})},
        "status": {"allocatable": allocatable},
    }  # fmt: skip


def pod(name: str, *, labels: dict[str, str] | None = None, requests: dict[str, str] | None = None,
        host_port: int = 0, **spec: Any) -> Object:  # fmt: skip
    container: Object = {"name": "c", "image": "x", "resources": {"requests": requests or {}}}
    if host_port:
        container["ports"] = [{"containerPort": host_port, "hostPort": host_port}]
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels or {}},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip


def taint(key: str, value: str = "", effect: str = "NoSchedule") -> Object:
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def term(key: str, operator: str, *values: str) -> Object:
    return {"key": key, "operator": operator, "values": list(values)}


def apart(key: str = "kubernetes.io/hostname", **labels: str) -> Object:
    """A pod (anti-)affinity term."""
    return {"topologyKey": key, "labelSelector": {"matchLabels": labels}}


class World:
    """A snapshot and who decides by it."""

    def __init__(self, *nodes_: Object) -> None:
        self.snapshot = nodes.Snapshot()
        self.decider = Decider(self.snapshot, chance=random.Random(1))
        for n in nodes_:
            self.snapshot.set_node(nodes.facts(n))

    def decide(self, obj: Object, claims: Claims | None = None) -> str | Unfit:
        return self.decider.decide(pods.parse(obj), claims or Claims())

    def put(self, obj: Object, on: str = "") -> str:
        """Place a pod where it goes, or on a node."""
        parsed = pods.parse(obj)
        found = on or self.decide(obj)
        assert isinstance(found, str), found.message()
        self.snapshot.place(replace(parsed, node=found))
        return found

    def why(self, obj: Object, claims: Claims | None = None) -> str:
        found = self.decide(obj, claims)
        assert isinstance(found, Unfit), found
        return found.message()


def parsed(obj: Object) -> Pod:
    return pods.parse(obj)
