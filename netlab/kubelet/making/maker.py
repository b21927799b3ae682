"""The making of pods of one node: what the modules beside this decide, done. What blocks is done in threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.base.aio import in_thread
from netlab.base.errors import KernelError
from netlab.kernel import mounts
from netlab.kubelet.making import env, links, names, resolving, resources, security
from netlab.kubelet.making.binding import Binder
from netlab.kubelet.making.expansion import expand, from_mappings
from netlab.kubelet.making.tokens import Tokens
from netlab.kubelet.making.volumes import OBJECTS, Volumes, failed, kind_of
from netlab.kubelet.making.world import Missing, NodeFacts, Reason, Tell, World, containers
from netlab.runtime.images.store import Image
from netlab.runtime.machine import machine
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import HOST, Container, Mount

_SHM = Path("/dev/shm")
_SHM_SIZE = "65536k"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _quiet(pod: Json, reason: str, message: str) -> None:
    """Nobody wants to know."""


@contextmanager
def _refused(reason: Reason) -> Iterator[None]:
    """What the kernel refuses, be it for want of space, is missing as anything else is."""
    try:
        yield
    except OSError as e:
        raise Missing(reason, f"{e.filename or ''}: {e.strerror}".removeprefix(": ")) from e
    except KernelError as e:
        raise Missing(reason, e.message) from e


class Making:
    """root: /var/lib/kubelet. Nothing is kept in memory but tokens: whoever opens the same directory after a restart
    finds what was made, and `prepare` makes what is missing. Two calls for one pod must not overlap."""

    def __init__(self, root: Path, world: World, node: NodeFacts, *, tell: Tell = _quiet) -> None:
        self.root, self.world, self.node, self.tell = root, world, node, tell
        self._volumes = Volumes(root / "pods", world, node)
        self._tokens = Tokens(world.token)

    # -- volumes

    async def prepare(self, pod: Json) -> None:
        """Its directories and volumes, made and filled; any number of times. Missing (FailedMount): of the first that
        could not be made; the others are."""
        await in_thread(self._directories, pod)
        await self._each(pod, pod["spec"].get("volumes") or ())

    async def refresh(self, pod: Json) -> None:
        """configMap, secret, downwardAPI and projected volumes and tokens as they should be now. Missing (FailedMount):
        what is there stays as it was, the others are new."""
        await self._each(pod, [v for v in pod["spec"].get("volumes") or () if kind_of(v) in OBJECTS])

    async def _each(self, pod: Json, volumes: Sequence[Json]) -> None:
        first: Missing | None = None
        for volume in volumes:
            try:
                tokens = {
                    number: await self._tokens.get(pod, source["serviceAccountToken"])
                    for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
                    if source.get("serviceAccountToken") is not None
                }
                with _refused("FailedMount"):
                    await in_thread(self._volumes.make, pod, volume, tokens)
            except Missing as e:
                first = first or failed(volume["name"], e)
        if first is not None:
            raise first

    @_refused("FailedMount")
    def _directories(self, pod: Json) -> None:
        directory = self._directory(pod)
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)  # other users of the machine have no business here
        for part in ("volumes", "containers"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        if not pod["spec"].get("hostIPC"):
            shm = directory / "shm"
            shm.mkdir(exist_ok=True)
            if not shm.is_mount():
                mounts.tmpfs(shm, f"size={_SHM_SIZE},mode=1777")

    # -- the sandbox

    @_refused("FailedCreatePodSandBox")
    def sandbox(self, pod: Json, *, netns: str) -> Sandbox:
        """What holds the pod; netns is disregarded for a pod on the host's network. Writes files: call it in a thread.
        Missing (FailedCreatePodSandBox)."""
        spec = pod["spec"]
        if spec.get("hostUsers") is False:
            raise Missing("FailedCreatePodSandBox", "user namespaces are not supported here: leave hostUsers out")
        named = self._named(pod)
        self._files(pod, named)
        return Sandbox(
            hostname=named.kernel, netns=HOST if spec.get("hostNetwork") else netns,
            shared_pid=bool(spec.get("shareProcessNamespace")), host_pid=bool(spec.get("hostPID")),
            host_ipc=bool(spec.get("hostIPC")), sysctls=security.sysctls(pod), labels=_labels(pod),
            cgroup=resources.group(pod), limits=resources.pod_limits(spec, self.node.pids),
            privileged=any((c.get("securityContext") or {}).get("privileged") for c in containers(pod)),
        )  # fmt: skip

    def _named(self, pod: Json) -> names.Name:
        if pod["spec"].get("hostNetwork"):
            return names.Name(self.node.name, "", self.node.name)
        return names.name(pod, self.node.domain)

    def _files(self, pod: Json, named: names.Name) -> None:
        """The files that are the same for all of its containers; what is wrong with them is told when they change."""
        directory = self._directory(pod)
        host = resolving.Resolv.parse(_text(self.node.resolv_conf))
        wrong: list[tuple[str, str]] = []
        found = resolving.resolv(
            pod, host, dns=self.node.dns, domain=self.node.domain, tell=lambda *said: wrong.append(said)
        )
        if _overwrite(directory / "resolv.conf", str(found)):
            for reason, message in wrong:
                self.tell(pod, reason, message)
        _overwrite(directory / "hostname", f"{named.kernel}\n")

    # -- containers

    @_refused("CreateContainerError")
    def container(
        self, pod: Json, container: Json, *, image: Image, namespaces: Mapping[str, str], ips: Sequence[Address],
        attempt: int,
    ) -> Container:  # fmt: skip
        """One of its containers, of any sort; after `prepare` and `sandbox`. Missing. Writes files: use a thread.

        image: as `images.ensuring.ensure` has it; namespaces: as `runtime.sandbox.namespaces`; ips: of the pod, the
        first is its podIP; attempt: how often it was started before.
        """
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        security.must_not_be_root(pod, container, str(image.process.get("User") or ""))
        told = links.variables(
            namespace, self.world.services(namespace), self.world.services("default"),
            linked=spec.get("enableServiceLinks") is not False,
        )  # fmt: skip
        variables = env.variables(
            pod, container, self.world, self.node, ips=ips, links=told,
            tell=lambda reason, message: self.tell(pod, reason, message),
        )  # fmt: skip
        value = from_mappings(variables)
        named = self._named(pod)
        binder = Binder(self._volumes, pod, container, variables)
        here = machine(devices=False)
        allowed = security.security(
            pod, container, here, memory=self.node.memory, profile=self._profile,
            architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        )  # fmt: skip
        if allowed.apparmor and not here.apparmor:
            word = f"this kernel has no AppArmor: the profile {allowed.apparmor} of {container['name']} is not in force"
            self.tell(pod, "AppArmorIgnored", word)
        return Container(
            image=container["image"],
            command=_expanded(container.get("command"), value), args=_expanded(container.get("args"), value),
            env=variables, cwd=container.get("workingDir") or "", user=security.user(pod, container),
            hostname=named.kernel, namespaces=namespaces,
            mounts=(*binder.mounts(), *self._own_mounts(pod, container, named, ips, attempt)),
            limits=resources.limits(container),
            read_only=bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem")),
            labels={
                **_labels(pod), "io.kubernetes.container.name": container["name"],
                "io.kubernetes.container.attempt": str(attempt),
            },
            security=allowed,
            tty=bool(container.get("tty")), stdin=bool(container.get("stdin")),
            stdin_once=bool(container.get("stdinOnce")), cgroup=resources.group(pod),
        )  # fmt: skip

    def _own_mounts(
        self, pod: Json, container: Json, named: names.Name, ips: Sequence[Address], attempt: int
    ) -> list[Mount]:
        """What the kubelet has in every container, but for what the container has something else at."""
        directory, aliases = self._directory(pod), pod["spec"].get("hostAliases") or ()
        self._files(pod, named)
        if pod["spec"].get("hostNetwork"):
            hosts = names.hosts_of_host(_text(self.node.hosts), aliases)
        else:
            hosts = names.hosts(named, ips, aliases)
        _overwrite(directory / "etc-hosts", hosts)
        found = {
            "/etc/hosts": directory / "etc-hosts", "/etc/resolv.conf": directory / "resolv.conf",
            "/etc/hostname": directory / "hostname",
            str(_SHM): _SHM if pod["spec"].get("hostIPC") else directory / "shm",
        }  # fmt: skip
        message = container.get("terminationMessagePath")
        if message:
            log = self.termination_log(pod["metadata"]["uid"], container["name"], attempt)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
            log.chmod(0o666)  # whoever the container runs as
            found[message] = log
        taken = {mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts") or ()}
        return [Mount(str(source), target) for target, source in found.items() if target not in taken]

    def termination_log(self, uid: str, container: str, attempt: int) -> Path:
        """Where the termination message of a container lies, seen from here."""
        return self._volumes.of(uid) / "containers" / container / str(attempt)

    def _profile(self, name: str) -> Any:
        """A seccomp filter out of ROOT/seccomp. KeyError."""
        path = self.root / "seccomp" / name
        if not path.resolve().is_relative_to((self.root / "seccomp").resolve()):
            raise KeyError(name)
        try:
            return orjson.loads(path.read_bytes())
        except OSError as e:
            raise KeyError(name) from e

    # -- the rest of its life

    def overfull(self, pod: Json) -> list[str]:
        """What a pod has to be evicted for, in Kubernetes' words: emptyDirs that are larger than their sizeLimit.
        Walks through all files: call it in a thread, and seldom."""
        return self._volumes.overfull(pod)

    def release(self, uid: str) -> None:
        """Nothing is left of the pod: unmounted, removed. Success if there is nothing. Blocks: call it in a thread.
        KernelError."""
        self._volumes.release(uid)
        self._tokens.forget(uid)

    def known(self) -> set[str]:
        """The UIDs of pods of which there is something below root."""
        with suppress(FileNotFoundError):
            return {entry.name for entry in os.scandir(self.root / "pods")}
        return set()

    def _directory(self, pod: Json) -> Path:
        return self._volumes.of(pod["metadata"]["uid"])


def _labels(pod: Json) -> dict[str, str]:
    """By which a kubelet that was restarted knows its containers."""
    meta = pod["metadata"]
    return {f"io.kubernetes.pod.{key}": meta[key] for key in ("namespace", "name", "uid")}


def _expanded(words: Sequence[str] | None, value: Any) -> tuple[str, ...] | None:
    return None if not words else tuple(expand(word, value) for word in words)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _overwrite(path: Path, text: str) -> bool:
    """Change what is in a file that is mounted somewhere: another file of its name would not be seen there. False if
    nothing changes."""
    if path.exists() and _text(path) == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return True
