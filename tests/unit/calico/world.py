"""Objects for tests, as files would have them."""

from __future__ import annotations

from typing import Any

from netlab.calico.fields import Given
from netlab.calico.objects import Node, Objects, read

API = "crd.projectcalico.org/v1"


def item(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def given(*data: dict[str, Any]) -> list[Given]:
    def placed(i: int) -> Given:
        return Given(data[i], lambda where: f"file:{i}:{'.'.join(map(str, where))}")

    return [placed(i) for i in range(len(data))]


def objects(*data: dict[str, Any]) -> Objects:
    return read(given(*data))


def pool(cidr: str = "10.244.0.0/24", name: str = "pool", **spec: Any) -> dict[str, Any]:
    return item("IPPool", name, cidr=cidr, **spec)


def node(
    name: str, ipv4: str = "", ipv6: str = "", *, labels: dict[str, str] | None = None, **bgp: Any
) -> dict[str, Any]:
    said = {**({"ipv4Address": ipv4} if ipv4 else {}), **({"ipv6Address": ipv6} if ipv6 else {}), **bgp}
    made = item("Node", name, bgp=said)
    made["metadata"]["labels"] = labels or {}
    return made


NODES = [node(f"node{i}", f"10.168.0.{i + 1}/24", f"fd00:10:168::{i + 1}/64") for i in (1, 2, 3)]


def plain(name: str, **labels: str) -> Node:
    return Node(name=name, labels=labels)
