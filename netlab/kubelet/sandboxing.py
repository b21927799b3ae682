"""The sandbox of a pod: volumes first, then a network namespace that CNI wires, then what holds it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from ipaddress import ip_address

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.base.aio import in_thread
from netlab.base.errors import NetlabError
from netlab.kubelet import pods, seen
from netlab.kubelet.engine import labels_of
from netlab.kubelet.making import Missing
from netlab.kubelet.needs import NetworkError
from netlab.kubelet.seen import POD, Box
from netlab.kubelet.tools import Tools
from netlab.runtime.containers import Status
from netlab.runtime.spec import HOST

IPS, NETNS = "io.kubernetes.pod.ips", "io.kubernetes.pod.netns"
FAILED = "Failed to create pod sandbox: rpc error: code = Unknown desc = "
NOT_READY = (
    "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: "
)


class NoSandbox(NetlabError):
    """reason: of the event."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Held:
    """A sandbox, and where its network is."""

    box: Box
    netns: str

    @classmethod
    def of(cls, status: Status) -> Held:
        """One that was made before, by what it is labelled with."""
        ips = tuple(filter(None, status.labels.get(IPS, "").split(",")))
        attempt = int(status.labels.get(seen.ATTEMPT, "0"))
        box = Box(id=status.id, running=status.state == "running", attempt=attempt, ips=ips)
        return cls(box, status.labels.get(NETNS, HOST))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of the pod."""
        return tuple(map(ip_address, self.box.ips))


async def make(tools: Tools, pod: Json, id: str, attempt: int) -> Held:
    """NoSandbox, and then nothing of it is left."""
    netns: str = HOST
    ips: tuple[str, ...] = ()
    try:
        if not pods.host_network(pod):
            problem = tools.network.problem()
            if problem is not None:
                raise NoSandbox("NetworkNotReady", NOT_READY + problem)
            netns, found = await in_thread(tools.network.attach, pod, id)
            ips = tuple(map(str, found))
        labels = labels_of(pod, POD, attempt, **{IPS: ",".join(ips), NETNS: netns})
        sandbox = await in_thread(lambda: tools.making.sandbox(pod, netns=netns))
        sandbox = replace(sandbox, labels={**sandbox.labels, **labels})
        status = await tools.engine.sandbox(id, sandbox, tools.log_directory(pod) / "sandbox.log")
    except NetlabError as e:
        with contextlib.suppress(NetlabError):  # what went wrong first is what should be heard; the end tries again
            await drop(tools, id)
        if isinstance(e, NoSandbox):
            raise
        if isinstance(e, Missing):
            raise NoSandbox(e.reason, e.message) from e
        what = f'failed to setup network for sandbox "{id}": ' if isinstance(e, NetworkError) else ""
        raise NoSandbox("FailedCreatePodSandBox", f"{FAILED}{what}{e.message}") from e
    return Held.of(status)


async def drop(tools: Tools, id: str) -> None:
    """Nothing is left of it; success if there is nothing. NetlabError."""
    await in_thread(tools.network.detach, id)
    await tools.engine.remove([id])
