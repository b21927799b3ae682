"""A pod as the scheduler knows it, pending or placed; and what of a pod object it needs to be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from netlab.api.selectors import LabelSelector, Requirement
from netlab.scheduler.asks import Ask, Object, ask_of, selector_of

ENDED = ("Succeeded", "Failed")
NEVER = "Never"
_WANTED = (
    "nodeName", "nodeSelector", "affinity", "tolerations", "overhead", "resources", "priority", "preemptionPolicy",
    "schedulerName", "schedulingGates", "topologySpreadConstraints",
)  # fmt: skip


class Group(Protocol):
    """Pods that no selector tells apart; one pod is such."""

    @property
    def namespace(self) -> str: ...
    @property
    def labels(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Other pods, by label and namespace, within a topology. namespaces: empty with no selector means one's own."""

    topology_key: str
    selector: LabelSelector | None
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: int = 0

    def matches(self, group: Group, labels_of: dict[str, dict[str, str]]) -> bool:
        """Whether pods of a namespace with these labels are meant. labels_of: those of namespaces."""
        if self.selector is None or not self.selector.matches(group.labels):
            return False
        if group.namespace in self.namespaces:
            return True
        chosen = self.namespace_selector
        return chosen is not None and chosen.matches(labels_of.get(group.namespace))


@dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint. hard: DoNotSchedule; honor_*: which nodes do not count at all."""

    max_skew: int
    topology_key: str
    hard: bool
    selector: LabelSelector | None
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(frozen=True, slots=True)
class Relations:
    """What a pod wants of other pods."""

    affinity: tuple[PodTerm, ...] = ()
    anti: tuple[PodTerm, ...] = ()
    likes: tuple[PodTerm, ...] = ()
    spread: tuple[Spread, ...] = ()


NONE = Relations()


@dataclass(frozen=True, slots=True)
class Pod:
    """node: where it is, "" if nowhere yet; nominated: where room is being made for it; siblings: the uid of the
    controller that it is one of many of; started: as the API writes it. Equal if they are scheduled alike."""

    key: str
    uid: str
    namespace: str
    ask: Ask
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    preempts: bool = True
    relations: Relations = NONE
    claims: tuple[str, ...] = ()
    gated: bool = False
    ending: bool = False
    node: str = ""
    siblings: str = ""
    nominated: str = field(default="", compare=False)
    started: str = field(default="", compare=False)
    obj: Object = field(default_factory=dict, compare=False, repr=False)


def lean(pod: Object) -> Object:
    """What is held of a pod object: there are many, and each is long."""
    meta, spec, state = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences", "creationTimestamp",
            "deletionTimestamp")  # fmt: skip
    told = {name: spec[name] for name in _WANTED if name in spec}
    for field_ in ("containers", "initContainers"):
        if spec.get(field_):
            told[field_] = [_container(c) for c in spec[field_]]
    volumes = [v for v in spec.get("volumes") or () if "persistentVolumeClaim" in v or "ephemeral" in v]
    if volumes:
        told["volumes"] = volumes
    conditions = [c for c in state.get("conditions") or () if c.get("type") == "PodScheduled"]
    status = {name: state[name] for name in ("phase", "nominatedNodeName", "startTime") if name in state}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": told, "status": {**status, "conditions": conditions},
    }  # fmt: skip


def _container(container: Object) -> Object:
    kept = ("resources", "ports", "image", "restartPolicy")
    return {name: container[name] for name in kept if container.get(name)}


def parse(obj: Object) -> Pod:
    """A pod object, whole or lean."""
    meta, spec, state = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    namespace, node = meta.get("namespace", ""), spec.get("nodeName", "")
    owner = next((o["uid"] for o in meta.get("ownerReferences") or () if o.get("controller")), "")
    labels = meta.get("labels") or {}
    return Pod(
        key=f"{namespace}/{meta['name']}", uid=meta.get("uid", ""), namespace=namespace,
        ask=ask_of(spec, placed=bool(node)), labels=labels, priority=int(spec.get("priority") or 0),
        preempts=spec.get("preemptionPolicy") != NEVER, relations=_relations(spec, namespace, labels),
        claims=tuple(_claims(spec, meta["name"])), gated=bool(spec.get("schedulingGates")),
        ending="deletionTimestamp" in meta, node=node, siblings=owner, nominated=state.get("nominatedNodeName", ""),
        started=state.get("startTime") or meta.get("creationTimestamp") or "", obj=obj,
    )  # fmt: skip


def _claims(spec: Object, pod: str) -> list[str]:
    found = []
    for volume in spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"].get("claimName", ""))
        elif volume.get("ephemeral"):
            found.append(f"{pod}-{volume.get('name', '')}")
    return found


def _relations(spec: Object, namespace: str, labels: dict[str, str]) -> Relations:
    affinity, spread = spec.get("affinity") or {}, spec.get("topologySpreadConstraints") or ()
    for_, against = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    if not for_ and not against and not spread:
        return NONE
    required, preferred = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
    likes = [_term(w["podAffinityTerm"], namespace, int(w["weight"])) for w in for_.get(preferred) or ()]
    likes += [_term(w["podAffinityTerm"], namespace, -int(w["weight"])) for w in against.get(preferred) or ()]
    return Relations(
        tuple(_term(t, namespace) for t in for_.get(required) or ()),
        tuple(_term(t, namespace) for t in against.get(required) or ()),
        tuple(likes),
        tuple(_spread(c, labels) for c in spread),
    )


def _term(term: Object, namespace: str, weight: int = 0) -> PodTerm:
    named, chosen = term.get("namespaces") or (), term.get("namespaceSelector")
    own = (namespace,) if not named and chosen is None else named
    return PodTerm(
        term.get("topologyKey", ""), selector_of(term.get("labelSelector")), frozenset(own),
        None if chosen is None else selector_of(chosen), weight,
    )  # fmt: skip


def _spread(c: dict[str, Any], labels: dict[str, str]) -> Spread:
    selector = selector_of(c.get("labelSelector"))
    if selector is not None:
        more = [Requirement(k, "=", frozenset({labels[k]})) for k in c.get("matchLabelKeys") or () if k in labels]
        selector = LabelSelector((*selector.requirements, *more))
    return Spread(
        int(c.get("maxSkew", 1)), c.get("topologyKey", ""), c.get("whenUnsatisfiable") != "ScheduleAnyway", selector,
        int(c.get("minDomains") or 1), c.get("nodeAffinityPolicy", "Honor") == "Honor",
        c.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )  # fmt: skip
