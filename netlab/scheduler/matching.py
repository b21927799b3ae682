"""Which volume a claim gets, and what is written of the two. Pure.

The smallest that is enough is taken, and one that names the claim before all others. Source: kubernetes
pkg/controller/volume/persistentvolume/index.go, component-helpers/storage/volume. Not done: provisioning, expansion,
VolumeAttributesClasses: those are for drivers, and there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from netlab.api import quantity
from netlab.api.selectors import SelectorError, from_object
from netlab.scheduler.asks import NodeTerm, Object, node_term

BOUND, BY_US = "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"
#: the node for which the scheduler wants a claim bound that waits for its first consumer
SELECTED = "volume.kubernetes.io/selected-node"
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def class_of(obj: Object) -> str:
    """The storage class of a claim or volume, "" for none."""
    old = (obj["metadata"].get("annotations") or {}).get(_OLD_CLASS)
    return str(old if old is not None else obj["spec"].get("storageClassName") or "")


def asked_for(claim: Object) -> Decimal:
    """How many bytes a claim wants."""
    return quantity.value(str(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")))


def capacity_of(volume: Object) -> Decimal:
    """How many bytes a volume has."""
    return quantity.value(str((volume["spec"].get("capacity") or {}).get("storage", "0")))


def names(volume: Object, claim: Object) -> bool:
    """Whether a volume is for this claim and no other."""
    ref, meta = volume["spec"].get("claimRef") or {}, claim["metadata"]
    same = (ref.get("namespace"), ref.get("name")) == (meta["namespace"], meta["name"])
    return bool(same and ref.get("uid") in (None, "", meta["uid"]))


def fits(volume: Object, claim: Object) -> bool:
    """Whether a claim could have a volume, wherever it may be used."""
    spec, wants = volume["spec"], claim["spec"]
    if "deletionTimestamp" in volume["metadata"] or (spec.get("claimRef") and not names(volume, claim)):
        return False
    if (spec.get("volumeMode") or "Filesystem") != (wants.get("volumeMode") or "Filesystem"):
        return False
    if class_of(volume) != class_of(claim) or capacity_of(volume) < asked_for(claim):
        return False
    if not set(wants.get("accessModes") or ()) <= set(spec.get("accessModes") or ()):
        return False
    if names(volume, claim):
        return True
    if (volume.get("status") or {}).get("phase") != "Available":
        return False
    if wants.get("selector") is None:
        return True
    try:
        selector = from_object(wants["selector"])
    except SelectorError:
        return False
    return selector is not None and selector.matches(volume["metadata"].get("labels"))


def nodes_of(volume: Object) -> tuple[NodeTerm, ...] | None:
    """On which nodes a volume can be used: where one of these holds; None for all."""
    required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    return None if required is None else tuple(node_term(t) for t in required.get("nodeSelectorTerms") or ())


def usable(volume: Object, node: str, labels: Mapping[str, str]) -> bool:
    """Whether a volume can be used on a node."""
    terms = nodes_of(volume)
    return terms is None or any(term.matches(node, labels) for term in terms)


def choose(claim: Object, volumes: Iterable[Object], node: Object | None = None) -> Object | None:
    """The volume for a claim. node: on which it is to be used, if that is known."""
    found = [volume for volume in volumes if fits(volume, claim)]
    if node is not None:
        meta = node["metadata"]
        found = [volume for volume in found if usable(volume, meta["name"], meta.get("labels") or {})]
    return min(
        found,
        key=lambda v: (not names(v, claim), capacity_of(v), v["metadata"]["name"]),
        default=None,
    )


def reference(claim: Object) -> Object:
    """As a volume's claimRef has it."""
    meta = claim["metadata"]
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": meta["namespace"], "name": meta["name"],
            "uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}  # fmt: skip


def waits(claim: Object, storage: Object | None) -> bool:
    """Whether a claim is bound only when the scheduler knows where it is used. storage: its class."""
    late = storage is not None and storage.get("volumeBindingMode") == "WaitForFirstConsumer"
    return late and SELECTED not in (claim["metadata"].get("annotations") or {})


def bound_status(claim: Object, volume: Object) -> Object:
    """The status of a claim that has a volume."""
    there = claim.get("status") or {}
    return {**there, "phase": "Bound", "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": volume["spec"].get("capacity") or {}}  # fmt: skip


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that a pod uses."""
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")]
