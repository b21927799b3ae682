"""Pods and what is known of them, for decisions."""

from __future__ import annotations

from typing import Any

from netlab.kubelet.pods import fingerprint
from netlab.kubelet.seen import Box, Instance, Seen, State

NOW = 1_700_000_000.0


def container(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "nginx", **more}


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), status: Any = None, **spec: Any) -> Any:
    whole: dict[str, Any] = {"containers": list(containers) or [container()], **spec}
    if init:
        whole["initContainers"] = list(init)
    meta = {"name": "p", "namespace": "default", "uid": "u1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": whole, "status": status or {}}


def running(name: str = "c", attempt: int = 0, **more: Any) -> Instance:
    mark = fingerprint({"name": name, "image": "nginx"})
    given = {"started": NOW - 5, "sandbox": "s", "fingerprint": mark, **more}
    return Instance(id=f"{name}{attempt}", name=name, attempt=attempt, **given)


def exited(name: str = "c", attempt: int = 0, code: int = 0, **more: Any) -> Instance:
    given = {"finished": NOW - 1, "state": "exited", "exit_code": code, **more}
    return running(name, attempt, **given)


BOX = Box(id="s", ips=("10.0.0.5",))


def state(*instances: Instance, box: Box | None = BOX, **more: Any) -> State:
    found: dict[str, tuple[Instance, ...]] = {}
    for instance in instances:
        found[instance.name] = (*found.get(instance.name, ()), instance)
    return State(seen=Seen(sandbox=box, instances=found), **more)
