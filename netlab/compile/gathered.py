"""A cluster's objects as they come and go one by one, for those who must not look at all of them for each change.

What says the same as before stays the very object that it was: who keeps what he made of it need not look twice. It
does no I/O. A change costs what it touches, and one pass over the references of its kind when all are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netlab.compile.endpoints import implied_slices
from netlab.compile.objects import EndpointSlice, Name, Node, Objects, Pod, Ref, Service, Value

#: a Service with its slices
Served = tuple[Service, tuple[EndpointSlice, ...]]
#: namespace, label, value
_Label = tuple[str, str, str]


class Gathered:
    """implied: Services with a selector and no slices have those that the controller of a cluster would make of the
    pods, and every node that pods are bound to exists: nobody writes that into manifests.

    Endpoints stand for a Service's slices where nobody made any, as the mirroring controller would have it.
    """

    def __init__(self, *, implied: bool = False) -> None:
        self._implied = implied
        self._values: dict[str, dict[Name, Any]] = {}
        #: whole kinds in the order of their names, until something of the kind changes
        self._wholes: dict[str, tuple[Any, ...]] = {}
        self._slices: dict[Name, dict[Name, EndpointSlice]] = {}
        self._made: dict[Name, tuple[EndpointSlice, ...]] = {}
        #: every Service with its slices
        self.served: dict[Name, Served] = {}
        self._pods: dict[_Label, dict[Name, Pod]] = {}
        self._choosers: dict[_Label, set[Name]] = {}
        self._nodes: dict[str, Node] = {}

    def take(self, changes: Mapping[Ref, Value | None]) -> dict[Name, Served | None]:
        """Know these from now on, None for what is gone. The Services that are others by that, with their slices."""
        touched: set[Name] = set()
        for ref, value in changes.items():
            kind, key = ref.kind, (ref.namespace, ref.name)
            there = self._values.setdefault(kind, {})
            old = there.get(key)
            if old == value:
                continue
            if value is None:
                del there[key]
            else:
                there[key] = value
            self._wholes.pop(kind, None)
            touched.update(self._touched(kind, key, old, value))
        changed: dict[Name, Served | None] = {}
        for name in touched:
            old_served, served = self.served.get(name), self._serve(name)
            if served == old_served:
                continue
            changed[name] = served
            if served is None:
                del self.served[name]
            else:
                self.served[name] = served
        return changed

    def node(self, name: str) -> Node | None:
        """The node of this name."""
        found = self._nodes.get(name)
        if found is None and self._implied and any(pod.node == name for pod in self._all("Pod")):
            return Node(name)
        return found

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those that somebody wrote, by name; the same tuple as long as none of them changes."""
        return self._all("Node")

    def objects(self) -> Objects:
        """Everything."""
        nodes = self.nodes
        if self._implied:
            known = {node.name for node in nodes}
            bound = sorted({pod.node for pod in self._all("Pod") if pod.node} - known)
            nodes = (*nodes, *(Node(name) for name in bound))
        return Objects(
            services=self._all("Service"), slices=self._all_slices(), pods=self._all("Pod"),
            namespaces=self._all("Namespace"), nodes=nodes, policies=self._all("NetworkPolicy"),
        )  # fmt: skip

    def _all(self, kind: str) -> tuple[Any, ...]:
        found = self._wholes.get(kind)
        if found is None:
            values = self._values.get(kind, {})
            found = self._wholes[kind] = tuple(values[key] for key in sorted(values))
        return found

    def _all_slices(self) -> tuple[EndpointSlice, ...]:
        if not self._made and not self._values.get("Endpoints"):
            return self._all("EndpointSlice")
        found = list(self._all("EndpointSlice"))
        for key, mirrored in self._values.get("Endpoints", {}).items():
            if key not in self._slices:
                found += mirrored
        for made in self._made.values():
            found += made
        return tuple(sorted(found, key=lambda one: (one.namespace, one.name)))

    # -- Services and their slices

    def _touched(self, kind: str, key: Name, old: Any, new: Any) -> Iterable[Name]:
        """Take note of a change in the indices. The Services that it may matter to."""
        match kind:
            case "Service":
                self._index_chooser(key, old, new)
                return (key,)
            case "EndpointSlice":
                return self._index_slice(key, old, new)
            case "Endpoints":
                return (key,)
            case "Pod" if self._implied:
                return self._index_pod(key, old, new)
            case "Node":
                return self._index_node(old, new)
        return ()

    def _index_slice(self, key: Name, old: EndpointSlice | None, new: EndpointSlice | None) -> set[Name]:
        touched: set[Name] = set()
        if old is not None:
            service = (old.namespace, old.service)
            touched.add(service)
            of_service = self._slices[service]
            del of_service[key]
            if not of_service:
                del self._slices[service]
        if new is not None:
            service = (new.namespace, new.service)
            touched.add(service)
            self._slices.setdefault(service, {})[key] = new
        return touched

    def _index_chooser(self, key: Name, old: Service | None, new: Service | None) -> None:
        for service in (old, new):
            if self._implied and service is not None and service.selector:
                label = _first_label(service)
                if service is new:
                    self._choosers.setdefault(label, set()).add(key)
                else:
                    self._choosers[label].discard(key)

    def _index_pod(self, key: Name, old: Pod | None, new: Pod | None) -> set[Name]:
        touched: set[Name] = set()
        for pod in (old, new):
            if pod is None:
                continue
            for name, value in pod.labels.items():
                label = (pod.namespace, name, value)
                touched |= self._choosers.get(label, set())
                if pod is new:
                    self._pods.setdefault(label, {})[key] = pod
                else:
                    self._pods[label].pop(key, None)
        return touched

    def _index_node(self, old: Node | None, new: Node | None) -> Iterable[Name]:
        if new is not None:
            self._nodes[new.name] = new
        elif old is not None:
            del self._nodes[old.name]
        # of a node, endpoints have the zone
        return set(self._made) if (old.zone if old else "") != (new.zone if new else "") else ()

    def _serve(self, name: Name) -> Served | None:
        service: Service | None = self._values.get("Service", {}).get(name)
        own = self._slices.get(name)
        found = tuple(own[key] for key in sorted(own)) if own else self._values.get("Endpoints", {}).get(name, ())
        self._made.pop(name, None)
        if service is not None and not found and self._implied and service.selector:
            pods = self._pods.get(_first_label(service), {})
            found = implied_slices(service, pods.values(), self._nodes)
            if found:
                self._made[name] = found
        return None if service is None else (service, found)


def _first_label(service: Service) -> _Label:
    """The label by which a Service and its pods find each other."""
    assert service.selector
    name = min(service.selector)
    return service.namespace, name, service.selector[name]
