"""The beginning of a container: its image, its value, the container, its process, and the hook that follows.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (startContainer).
"""

from __future__ import annotations

from dataclasses import replace

from netlab.api import Json
from netlab.base.aio import in_thread
from netlab.base.errors import NetlabError
from netlab.kubelet import pods, seen
from netlab.kubelet.engine import instance_of, labels_of
from netlab.kubelet.imaging import NoImage
from netlab.kubelet.making import Missing
from netlab.kubelet.pods import Spec
from netlab.kubelet.sandboxing import Held
from netlab.kubelet.seen import Instance, Trouble
from netlab.kubelet.tools import Tools
from netlab.runtime.images.store import Image
from netlab.runtime.spec import Container

#: what containerd says of a container that could not be run
START_ERROR, START_STATUS = "StartError", 128
RUNC = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
#: seconds until it is tried again to make what something is missing for
AGAIN = 10.0


class NotStarted(NetlabError):
    """trouble: why there is none now; instance: what is left to be told of one that could not be run, if it came so
    far."""

    def __init__(self, trouble: Trouble, instance: Instance | None = None) -> None:
        super().__init__(trouble.message)
        self.trouble, self.instance = trouble, instance


async def image_of(tools: Tools, pod: Json, spec: Spec) -> Image:
    """Its image, which may have to be fetched. NotStarted."""
    try:
        return await tools.images.get(pods.uid(pod), spec.container, tools.teller(pod, spec.name))
    except NoImage as e:
        raise NotStarted(e.trouble) from e


async def start(tools: Tools, pod: Json, spec: Spec, held: Held, id: str, attempt: int, image: Image) -> Instance:
    """A container that runs. NotStarted."""
    tell = tools.teller(pod, spec.name)
    try:
        await _create(tools, pod, spec, held, id, attempt, image)
        tell("Created", f"Created container: {spec.name}", False)
        status = await tools.engine.start(id)
    except Missing as e:
        tell("Failed", f"Error: {e.message}", True)
        raise NotStarted(Trouble(e.reason, e.message, tools.clock.now() + AGAIN)) from e
    except NetlabError as e:
        raise NotStarted(
            Trouble("RunContainerError", e.message), await _failed(tools, pod, spec, e, id, attempt)
        ) from e
    tell("Started", f"Started container {spec.name}", False)
    # one that has ended already is told of by whoever follows its end, with all that it had to say
    return replace(instance_of(status), state="running", finished=0, exit_code=0, oom_killed=False)


async def _create(tools: Tools, pod: Json, spec: Spec, held: Held, id: str, attempt: int, image: Image) -> None:
    sandbox = await in_thread(lambda: tools.making.sandbox(pod, netns=held.netns))
    joined = await tools.engine.joined(held.box.id, sandbox)
    more = {
        seen.HASH: pods.fingerprint(spec.container), seen.SANDBOX: held.box.id, seen.IMAGE: _image_id(image),
    }  # fmt: skip
    ips = tools.host_ips if pods.host_network(pod) else held.addresses

    def value() -> Container:
        made = tools.making.container(pod, spec.container, image=image, namespaces=joined, ips=ips, attempt=attempt)
        return replace(made, labels={**made.labels, **labels_of(pod, spec.name, attempt, **more)})

    await tools.engine.create(id, value, tools.log_directory(pod) / spec.name / f"{attempt}.log")


def _image_id(image: Image) -> str:
    name = image.name.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return f"{head if colon and '/' not in tag else name}@{image.digest}"


async def _failed(tools: Tools, pod: Json, spec: Spec, error: NetlabError, id: str, attempt: int) -> Instance:
    """What could not be run, as one that ended at once."""
    message = error.message
    if message.startswith("container "):
        message = f"{RUNC}{message.partition(': ')[2].removeprefix('runc create failed: ')}: unknown"
    tools.says(pod, "Failed", f"Error: {message}", container=spec.name, warning=True)
    await tools.engine.remove([id])
    clock = tools.clock
    now = clock.wall()
    return Instance(
        id=id, name=spec.name, attempt=attempt, state="exited", created=now, finished=now, over=clock.now(),
        exit_code=START_STATUS, reason=START_ERROR, message=message, image=spec.container.get("image", ""),
    )  # fmt: skip
