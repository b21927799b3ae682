"""What a pod's claims leave over of the nodes: each has to be there and bound; its volume may be of some nodes only.

A claim that waits for its first consumer may be bound to any volume that fits: the node is chosen among those of such
volumes, the claim is told which (an annotation), and the pod waits until it is bound there. Nothing is provisioned.
Source: kubernetes pkg/scheduler/framework/plugins/{volumebinding,volumerestrictions}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netlab.scheduler.asks import NodeTerm, Object
from netlab.scheduler.filters import Reject
from netlab.scheduler.matching import SELECTED, fits, nodes_of
from netlab.scheduler.nodes import Facts, Snapshot
from netlab.scheduler.pods import Pod

PLUGIN = "VolumeBinding"
_CONFLICT = Reject(PLUGIN, ("node(s) didn't match PersistentVolume's node affinity",), True)
_NO_VOLUME = Reject(PLUGIN, ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",), True)
_NONE_TO_BIND = Reject(PLUGIN, ("node(s) didn't find available persistent volumes to bind",), True)
_ONE_POD = Reject(
    "VolumeRestrictions",
    ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",),
)

Find = Callable[[str], Object | None]


@dataclass(frozen=True, slots=True)
class Claims:
    """whole: why the pod can go nowhere; everywhere: why no node will do; affinities: of the volumes, all must fit.

    waiting: names of claims that are to be told the node; choices: for each of them the affinities of the volumes that
    it could have, one must fit, None fits everywhere; told: whether one has been told and is not bound yet.
    """

    whole: Reject | None = None
    everywhere: Reject | None = None
    affinities: tuple[tuple[NodeTerm, ...], ...] = ()
    waiting: tuple[str, ...] = ()
    choices: tuple[tuple[tuple[NodeTerm, ...] | None, ...], ...] = ()
    told: bool = False

    def reject(self, facts: Facts) -> Reject | None:
        """Why not there."""
        if self.everywhere is not None:
            return self.everywhere
        for terms in self.affinities:
            if not any(term.matches(facts.name, facts.labels) for term in terms):
                return _CONFLICT
        for choice in self.choices:
            if not any(t is None or any(term.matches(facts.name, facts.labels) for term in t) for t in choice):
                return _NONE_TO_BIND
        return None


def claims_of(
    pod: Pod, snapshot: Snapshot, *, claim: Find, volume: Find, storage: Find, volumes: Iterable[Object] = ()
) -> Claims:
    """What a pod's claims say. claim, volume, storage: the object of a key; volumes: all."""
    affinities, waiting, choices, told = [], [], [], False
    everywhere = None
    for name in pod.claims:
        found = claim(f"{pod.namespace}/{name}")
        if found is None:
            return Claims(Reject(PLUGIN, (f'persistentvolumeclaim "{name}" not found',), True))
        if found["metadata"].get("deletionTimestamp"):
            return Claims(Reject(PLUGIN, (f'persistentvolumeclaim "{name}" is being deleted',), True))
        spec = found.get("spec") or {}
        if not spec.get("volumeName"):
            if not _waits(spec, storage):
                return Claims(Reject(PLUGIN, ("pod has unbound immediate PersistentVolumeClaims",), True))
            if SELECTED in (found["metadata"].get("annotations") or {}):
                told = True
                continue
            waiting.append(name)
            choices.append(tuple(nodes_of(v) for v in volumes if fits(v, found)))
            continue
        if "ReadWriteOncePod" in (spec.get("accessModes") or ()) and _used(pod, name, snapshot):
            return Claims(_ONE_POD)
        there = volume(spec["volumeName"])
        if there is None:
            everywhere = _NO_VOLUME
            continue
        terms = nodes_of(there)
        if terms is not None:
            affinities.append(terms)
    return Claims(
        everywhere=everywhere, affinities=tuple(affinities), waiting=tuple(waiting), choices=tuple(choices), told=told
    )


def _waits(spec: Object, storage: Find) -> bool:
    found = storage(spec.get("storageClassName") or "")
    return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"


def _used(pod: Pod, name: str, snapshot: Snapshot) -> bool:
    return bool(snapshot.users.get(f"{pod.namespace}/{name}", set()) - {pod.key})
