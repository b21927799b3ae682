"""Images for containers: what is here is taken, what is not is fetched if that is allowed; who fails waits ever longer.

Source: kubernetes pkg/kubelet/images/image_manager.go, puller.go; reasons and messages are the original's, errors of a
registry as containerd words them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from netlab.api import Json
from netlab.base.aio import aside, in_thread
from netlab.base.errors import InputError, NetlabError
from netlab.kubelet import backoff
from netlab.kubelet.backoff import Delay
from netlab.kubelet.needs import Clock
from netlab.kubelet.seen import Trouble
from netlab.runtime.images.pull import pull
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import Image, ImageError, ImageNotFound, Store

ERR_PULL, BACK_OFF, NEVER, INVALID = "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"
#: seconds after a failure until it is told that there is a wait
SOON = 1.0

#: (reason, message, warning): an event about the container
Tell = Callable[[str, str, bool], None]


class NoImage(NetlabError):
    """trouble: why there is none, and when to come again."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class Images:
    """The images of one node. pulls: whether what is not here may be fetched; insecure: from whomever."""

    def __init__(self, store: Store, clock: Clock, *, pulls: bool = False, insecure: bool = False) -> None:
        self.store, self._clock, self._pulls, self._insecure = store, clock, pulls, insecure
        #: one is fetched at a time: what several pods wait for is fetched once
        self._fetching = asyncio.Lock()
        self._delays: dict[str, Delay] = {}
        self._failures: dict[str, str] = {}

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        for key in [k for k in self._delays if k.startswith(f"{uid} ")]:
            del self._delays[key]
            self._failures.pop(key, None)

    async def get(self, uid: str, container: Json, tell: Tell) -> Image:
        """The image of a container of a pod. NoImage."""
        name, policy = container.get("image", ""), container.get("imagePullPolicy", "IfNotPresent")
        try:
            reference = Reference.parse(name)
        except InputError as e:
            told = f'Failed to apply default image tag "{name}": {e.message}'
            tell("InspectFailed", told, True)
            raise self._failed(INVALID, told, tell, backoff.FIRST) from e
        try:
            here: Image | None = await in_thread(self.store.get, name)
        except ImageNotFound:
            here = None
        except ImageError as e:
            raise self._failed("ImageInspectError", e.message, tell, backoff.FIRST) from e
        if here is not None and (policy != "Always" or here.built or not self._pulls):
            tell("Pulled", f'Container image "{name}" already present on machine', False)
            return here
        if policy == "Never":
            told = f'Container image "{name}" is not present with pull policy of Never'
            tell(NEVER, told, True)
            raise self._failed(NEVER, told, tell, backoff.FIRST)
        return await self._pull(f"{uid} {name}", name, reference, policy, tell)

    def _failed(self, reason: str, message: str, tell: Tell, seconds: float) -> NoImage:
        tell("Failed", f"Error: {reason}", True)
        return NoImage(Trouble(reason, message, self._clock.now() + seconds))

    async def _pull(self, key: str, name: str, reference: Reference, policy: str, tell: Tell) -> Image:
        now, delay = self._clock.now(), self._delays.get(key)
        if delay is not None and now < delay.since + delay.seconds:
            told = f'Back-off pulling image "{name}"'
            tell("BackOff", told, False)
            failure = self._failures.get(key, "")
            told += f": {ERR_PULL}: {failure}" if failure else ""
            raise self._failed(BACK_OFF, told, tell, delay.since + delay.seconds - now)
        tell("Pulling", f'Pulling image "{name}"', False)
        try:
            image = await self._fetched(name, reference, again=policy == "Always")
        except NetlabError as e:
            self._delays[key] = backoff.following(delay, now, self._clock.now())
            self._failures[key] = e.message
            tell("Failed", f'Failed to pull image "{name}": {e.message}', True)
            raise self._failed(ERR_PULL, e.message, tell, SOON) from e
        took = self._clock.now() - now
        self._delays.pop(key, None)
        tell("Pulled", f'Successfully pulled image "{name}" in {took:.3f}s ({took:.3f}s including waiting). '
             f"Image size: {image.size} bytes.", False)  # fmt: skip
        return image

    async def _fetched(self, name: str, reference: Reference, *, again: bool) -> Image:
        """again: even if it has come meanwhile."""
        if self._pulls:
            # a pod that has to go does not wait for it: it is fetched all the same
            task = asyncio.ensure_future(self._fetch(name, again=again))
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
            return await asyncio.shield(task)
        # a node that fetches nothing has no other registry than its store
        raise ImageNotFound(
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{reference}": failed to resolve '
            f'reference "{reference}": {reference}: not found'
        )

    async def _fetch(self, name: str, *, again: bool) -> Image:
        async with self._fetching:
            if not again:
                with contextlib.suppress(ImageNotFound):
                    return await in_thread(self.store.get, name)
            return await aside(lambda: pull(self.store, name, insecure=self._insecure))
