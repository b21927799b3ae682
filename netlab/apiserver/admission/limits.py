"""LimitRanger: defaults and bounds of a namespace's containers, pods and claims.

Source: kubernetes plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from decimal import Decimal

from netlab.api import Json, status
from netlab.api.quantity import format_
from netlab.api.quantity import value as amount
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister


class LimitRanger(Plugin):
    """ranges: their cache."""

    def __init__(self, ranges: Lister) -> None:
        self.ranges = ranges

    async def mutate(self, a: Attributes) -> None:
        """Defaults of containers."""
        if a.group_kind != ("", "Pod") or a.operation != "CREATE" or a.subresource or a.obj is None:
            return
        if not len(self.ranges):
            return
        for item in self._items(a.namespace, "Container"):
            for key in ("containers", "initContainers"):
                for container in a.obj["spec"].get(key) or ():
                    _default(a.obj, container, item)

    async def validate(self, a: Attributes) -> None:
        """Bounds."""
        if a.obj is None or a.subresource or a.operation != "CREATE" or not len(self.ranges):
            return
        problems: list[str] = []
        if a.group_kind == ("", "Pod"):
            containers = a.obj["spec"].get("containers") or []
            for item in self._items(a.namespace, "Container"):
                for container in containers:
                    resources = container.get("resources") or {}
                    problems += _bounds(
                        "Container", resources.get("requests") or {}, resources.get("limits") or {}, item
                    )
            for item in self._items(a.namespace, "Pod"):
                problems += _bounds("Pod", _sum(containers, "requests"), _sum(containers, "limits"), item)
        elif a.group_kind == ("", "PersistentVolumeClaim"):
            requests = (a.obj["spec"].get("resources") or {}).get("requests") or {}
            for item in self._items(a.namespace, "PersistentVolumeClaim"):
                problems += _bounds("PersistentVolumeClaim", requests, {}, item, limited=False)
        if problems:
            r = a.kind.resource
            text = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
            raise status.forbidden(r.plural, r.group, a.obj["metadata"].get("name", ""), text)

    def _items(self, namespace: str, kind: str) -> list[Json]:
        return [
            item for r in self.ranges.all(namespace) for item in (r.get("spec") or {}).get("limits") or ()
            if item.get("type") == kind
        ]  # fmt: skip


def _default(pod: Json, container: Json, item: Json) -> None:
    resources = container.setdefault("resources", {})
    added: dict[str, list[str]] = {}
    for field, source in (("limits", "default"), ("requests", "defaultRequest")):
        for name, value in (item.get(source) or {}).items():
            there = resources.setdefault(field, {})
            if name not in there:
                there[name] = value
                added.setdefault(field.removesuffix("s"), []).append(name)
        if resources.get(field) == {}:
            del resources[field]
    if added:
        parts = [
            f"{', '.join(sorted(added[kind]))} {kind} for container {container['name']}"
            for kind in ("request", "limit")
            if kind in added
        ]
        notes = pod["metadata"].setdefault("annotations", {})
        key = "kubernetes.io/limit-ranger"
        before = notes.get(key)
        notes[key] = (f"{before}; " if before else "LimitRanger plugin set: ") + "; ".join(parts)


def _sum(containers: list[Json], field: str) -> dict[str, str]:
    total: dict[str, Decimal] = {}
    for container in containers:
        for name, value in ((container.get("resources") or {}).get(field) or {}).items():
            total[name] = total.get(name, Decimal(0)) + amount(value)
    return {name: format_(value, "Ki" if name == "memory" else "") for name, value in total.items()}


def _bounds(kind: str, requests: Json, limits: Json, item: Json, *, limited: bool = True) -> list[str]:
    found = []
    for name, low in sorted((item.get("min") or {}).items()):
        if name not in requests and name not in limits:
            found.append(f"minimum {name} usage per {kind} is {low}.  No request is specified")
        elif name in requests and amount(requests[name]) < amount(low):
            found.append(f"minimum {name} usage per {kind} is {low}, but request is {requests[name]}")
        elif name in limits and amount(limits[name]) < amount(low):
            found.append(f"minimum {name} usage per {kind} is {low}, but limit is {limits[name]}")
    for name, high in sorted((item.get("max") or {}).items()):
        if not limited:
            if name in requests and amount(requests[name]) > amount(high):
                found.append(f"maximum {name} usage per {kind} is {high}, but request is {requests[name]}")
        elif name not in limits:
            found.append(f"maximum {name} usage per {kind} is {high}.  No limit is specified")
        elif amount(limits[name]) > amount(high):
            found.append(f"maximum {name} usage per {kind} is {high}, but limit is {limits[name]}")
    for name, ratio in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        if name in limits and name in requests and amount(requests[name]):
            actual = amount(limits[name]) / amount(requests[name])
            if actual > amount(ratio):
                found.append(f"{name} max limit to request ratio per {kind} is {ratio}, but provided ratio is "
                             f"{float(actual):.6f}")  # fmt: skip
    return found
