"""What the kubelet has to say, as events: of a pod, of one of its containers, of the node."""

from __future__ import annotations

from netlab.api import Json
from netlab.client.recorder import NORMAL, WARNING, Recorder
from netlab.kubelet import pods

#: where a container of each kind stands in a pod
_FIELDS = {"init": "initContainers", "sidecar": "initContainers", "main": "containers",
           "ephemeral": "ephemeralContainers"}  # fmt: skip


class Events:
    """See `needs.Says`."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, pod: Json, reason: str, message: str, *, container: str = "", warning: bool = False) -> None:
        field = ""
        if container:
            spec = pods.spec_of(pod, container)
            field = f"spec.{_FIELDS[spec.kind if spec else 'main']}{{{container}}}"
        whole = pod if "kind" in pod else {"apiVersion": "v1", "kind": "Pod", **pod}
        self._recorder.say(whole, WARNING if warning else NORMAL, reason, message, field=field)
