"""The shape of a controller, what it is handed, and what it may say of a key that it cannot settle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netlab.base.errors import NetlabError
from netlab.client.informer import Interest
from netlab.client.kinds import KEPT, Kinds
from netlab.client.resources import Resource, Served, key_of
from netlab.client.rest import ApiError, Object, RestClient
from netlab.controllers.certificates import Authority
from netlab.controllers.podranges import ClusterRange

NAMESPACES = Resource("v1", "namespaces")
SECRETS = Resource("v1", "secrets")
SERVICE_ACCOUNTS = Resource("v1", "serviceaccounts")
SERVICES = Resource("v1", "services")
PODS = Resource("v1", "pods")
NODES = Resource("v1", "nodes")
REPLICA_SETS = Resource("apps/v1", "replicasets")
#: seconds without a sign of life after which a node is not known to live
NODE_GRACE = 50.0

#: of a change (old, new), the keys that it is a reason to look at
Keys = Callable[[Object | None, Object | None], Iterable[str]]


def own_key(old: Object | None, new: Object | None) -> Iterable[str]:
    """The object's own."""
    obj = new if new is not None else old
    return () if obj is None else (key_of(obj),)


def namespace_key(old: Object | None, new: Object | None) -> Iterable[str]:
    """The name of the object's namespace."""
    obj = new if new is not None else old
    return () if obj is None else (str(obj["metadata"].get("namespace", "")),)


@dataclass(frozen=True, slots=True)
class Watch:
    """What a controller looks at, and which keys a change of it concerns."""

    interest: Interest
    keys: Keys = own_key


@dataclass(frozen=True, slots=True)
class WatchAll:
    """A watch of every object of every kind, by its metadata."""

    keys: Callable[[Served, Object | None, Object | None], Iterable[str]]


class Controller(Protocol):
    """One control loop."""

    def __init__(self, tools: Tools) -> None: ...

    @property
    def NAME(self) -> str: ...
    @property
    def WATCHES(self) -> Sequence[Watch | WatchAll]: ...

    async def reconcile(self, key: str) -> float | None:
        """Make it so; seconds after which to look again without a reason, None for never.

        `Hopeless`: only a change can help. ApiError, ApiUnavailable: try again with growing patience, as after anything
        else that is raised, which is a bug and is logged as one.
        """


class Hopeless(NetlabError):
    """Trying again would end the same way."""


class Store(Protocol):
    """The cache of an informer, as a controller sees it."""

    def get(self, key: str) -> Object | None: ...

    def find(self, index: str, value: str) -> list[Object]: ...

    def __iter__(self) -> Iterator[Object]: ...


class Says(Protocol):
    """An event recorder."""

    def normal(self, obj: Object, reason: str, message: str) -> None: ...

    def warning(self, obj: Object, reason: str, message: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a controller is made with. store: the cache of one of its WATCHES, indexed by `namespace` and `controller`;
    ca: certificates (PEM) by which pods know the API server; now: seconds since 1970, for what is written; pod_ranges:
    of what nodes get their parts; authority: signs what is approved; clock: seconds that only grow, for what is waited;
    node_grace: seconds without a sign of life that a node has."""

    client: RestClient
    store: Callable[[Interest], Store]
    kinds: Kinds
    says: Says
    ca: bytes = b""
    now: Callable[[], float] = field(default=time.time)
    pod_ranges: tuple[ClusterRange, ...] = ()
    authority: Authority | None = None
    clock: Callable[[], float] = field(default=time.monotonic)
    node_grace: float = NODE_GRACE


async def create_missing(client: RestClient, path: str, obj: Object) -> None:
    """Create an object, unless somebody else has, or its namespace is going or gone. ApiError, ApiUnavailable."""
    try:
        await client.create(path, obj)
    except ApiError as e:
        terminating = any(cause.get("reason") == "NamespaceTerminating" for cause in e.details.get("causes") or ())
        if e.reason not in ("AlreadyExists", "NotFound") and not terminating:
            raise


def _port(port: Object) -> Object:
    return {name: port[name] for name in ("name", "containerPort", "protocol") if name in port}


_POD_METADATA = (*KEPT, "labels", "creationTimestamp", "deletionGracePeriodSeconds")
_POD_SPEC = ("nodeName", "hostname", "subdomain", "hostNetwork", "affinity", "tolerations")
_POD_STATUS = ("phase", "podIP", "podIPs", "startTime")
#: annotations that say something to controllers: what a pod's end costs, which part of a Job it is
_POD_ANNOTATIONS = ("controller.kubernetes.io/pod-deletion-cost", "batch.kubernetes.io/job-completion-index")


def _ended(state: Object) -> Object:
    """How the containers of a pod ended that has failed: which of them, with what, and after how many starts."""
    kept: Object = {}
    for kind in ("containerStatuses", "initContainerStatuses"):
        listed = []
        for c in state.get(kind) or ():
            terminated = (c.get("state") or {}).get("terminated")
            if terminated is not None:
                code = {"terminated": {"exitCode": terminated.get("exitCode", 0)}}
                listed.append({"name": c.get("name", ""), "restartCount": c.get("restartCount", 0), "state": code})
        if listed:
            kept[kind] = listed
    return kept


def lean_pod(pod: Object) -> Object:
    """What controllers look at in a pod: there are many, and each is long."""
    meta, spec, state = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    containers = [{"ports": [_port(p) for p in c["ports"]]} for c in spec.get("containers") or () if c.get("ports")]
    given = meta.get("annotations") or {}
    annotations = {name: given[name] for name in _POD_ANNOTATIONS if name in given}
    claims = [{"persistentVolumeClaim": {"claimName": v["persistentVolumeClaim"]["claimName"]}}
              for v in spec.get("volumes") or () if v.get("persistentVolumeClaim")]  # fmt: skip
    restarts = sum(c.get("restartCount", 0) for c in state.get("containerStatuses") or ())
    ended = _ended(state) if state.get("phase") == "Failed" else {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            **{name: meta[name] for name in _POD_METADATA if name in meta},
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {
            **{name: spec[name] for name in _POD_SPEC if name in spec}, "containers": containers,
            **({"volumes": claims} if claims else {}),
        },
        "status": {
            **{name: state[name] for name in _POD_STATUS if name in state},
            **({"containerStatuses": [{"restartCount": restarts}]} if restarts else {}), **ended,
            "conditions": [
                {name: c[name] for name in ("type", "status", "lastTransitionTime") if name in c}
                for c in state.get("conditions") or ()
            ],
        },
    }  # fmt: skip


#: the pods as all controllers share them
LEAN_PODS = Interest(PODS, keep=lean_pod)
