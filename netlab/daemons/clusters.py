"""The composition root of `netlab cluster`: this Linux machine, with all that clusters need of it, and the API."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import netlab
from netlab.base.errors import MachineError, NetlabError
from netlab.base.patience import patience
from netlab.cluster.machine import Process, Progress
from netlab.daemons.machine import LinuxMachine

if TYPE_CHECKING:
    from netlab.client.rest import RestClient

#: seconds that killed processes have to end
PATIENCE = 30.0
#: seconds between two looks at the nodes, and that one answer of the API may take: of one that may be gone, and of one
#: that begins on a busy machine
LOOK, ANSWER, BEGINNING = 0.05, 5.0, 60.0
#: how many ports are tried
_PORTS = 1000


class ClusterMachine(LinuxMachine):
    """See `netlab.cluster.machine.Machine`."""

    def boot(self) -> list[str]:
        from netlab.kernel.supervise import python

        return python("netlab.kernel.boot")

    def code(self) -> tuple[Path, ...]:
        needed = {Path(netlab.__file__).resolve().parents[1], Path(sys.prefix), Path(sys.base_prefix)}
        root = Path("/").stat().st_dev
        # a node has a /run and a /tmp of its own, and sees no other file system of the machine than the root's
        hidden = [p for p in needed if p.parts[1:2] in (("tmp",), ("run",)) or p.stat().st_dev != root]
        return tuple(sorted(hidden))

    def missing(self, programs: Sequence[str]) -> None:
        from netlab.kernel.commands import PACKAGES

        lacking = [program for program in programs if shutil.which(program) is None]
        if lacking:
            packages = " ".join(PACKAGES.get(program, program) for program in lacking)
            raise MachineError(
                f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not installed",
                hint=f"apt-get install {packages}",
            )

    def free_port(self, first: int, taken: Collection[int]) -> int:
        for port in range(first, first + _PORTS):
            if port in taken:
                continue
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    sock.bind(("127.0.0.1", port))
                    return port
        raise MachineError(f"no port from {first} to {first + _PORTS - 1} of 127.0.0.1 is free")

    def images(self, root: Path, tell: Callable[[str], None]) -> None:
        from netlab.runtime.images import build
        from netlab.runtime.images.store import Store

        store = Store(root)
        root.mkdir(parents=True, exist_ok=True)
        lacking = build.lacking(store)
        if lacking:
            build.build(store, lacking, tell=tell)

    def kill(self, process: Process, *, seconds: float) -> bool:
        import signal

        from netlab.kernel import processes

        identity = processes.Identity(*process)
        if not processes.send(identity, signal.SIGKILL):
            return False
        if not processes.ended(identity, seconds):
            raise NetlabError(f"process {identity.pid} was killed and does not end")
        return True

    def clear_cgroup(self, group: str) -> None:
        from netlab.kernel import cgroups

        cgroups.clear(group, PATIENCE)

    def enter(self, process: Process, argv: Sequence[str], *, cgroup: str) -> NoReturn:
        from netlab.kernel import cgroups, commands, processes

        cgroups.join(cgroup)
        sys.exit(commands.run_inside(processes.Identity(*process), argv))

    # -- the API

    def settle(
        self, kubeconfig: Path, objects: Sequence[Mapping[str, Any]], nodes: Collection[str], *, limit: float,
        progress: Progress,
    ) -> None:  # fmt: skip
        from netlab.daemons.creating import create

        async def work() -> None:
            async with api_client(kubeconfig, timeout=BEGINNING) as client:
                await asyncio.gather(create(client, objects, limit=limit), _until_ready(client, nodes, limit, progress))

        asyncio.run(work())

    def create(self, kubeconfig: Path, objects: Sequence[Mapping[str, Any]]) -> None:
        from netlab.daemons.creating import create

        async def work() -> None:
            async with api_client(kubeconfig) as client:
                await create(client, objects)

        asyncio.run(work())

    def forget_node(self, kubeconfig: Path, node: str) -> None:
        from netlab.client.rest import ApiError, ApiUnavailable, path

        async def work() -> None:
            async with api_client(kubeconfig) as client:
                with contextlib.suppress(ApiUnavailable):
                    try:
                        await client.delete(path("v1", "nodes", name=node))
                    except ApiError as e:
                        if e.code != 404:
                            raise

        asyncio.run(work())

    def nodes(self, kubeconfig: Path) -> dict[str, dict[str, Any]]:
        from netlab.client.rest import ApiError, ApiUnavailable, path

        async def work() -> dict[str, dict[str, Any]]:
            async with api_client(kubeconfig) as client:
                try:
                    listed = await client.list(path("v1", "nodes"))
                except (ApiError, ApiUnavailable):
                    return {}
                return {node["metadata"]["name"]: node for node in listed["items"]}

        return asyncio.run(work())


@contextlib.asynccontextmanager
async def api_client(kubeconfig: Path, *, timeout: float = ANSWER) -> AsyncIterator[RestClient]:
    """The administrator, for as long as the body takes."""
    from netlab.client.kubeconfig import load
    from netlab.client.rest import RestClient

    client = RestClient(load(kubeconfig), timeout=patience(timeout), user_agent="netlab-cluster")
    try:
        yield client
    finally:
        await client.aclose()


async def _until_ready(client: RestClient, nodes: Collection[str], limit: float, progress: Progress) -> None:
    from netlab.client.rest import ApiUnavailable, path

    end = time.monotonic() + limit
    while True:
        left = dict.fromkeys(nodes, "is not in the API")
        with contextlib.suppress(ApiUnavailable):
            for node in (await client.list(path("v1", "nodes")))["items"]:
                left.pop(node["metadata"]["name"], None)
                why = not_ready(node)
                if why is not None and node["metadata"]["name"] in nodes:
                    left[node["metadata"]["name"]] = why
        if not left:
            return
        progress("waiting for nodes", len(left))
        if time.monotonic() > end:
            name, why = sorted(left.items())[0]
            raise NetlabError(f"node {name} is not Ready after {limit:g} s: it {why}")
        await asyncio.sleep(LOOK)


def not_ready(node: Mapping[str, Any]) -> str | None:
    """Why a Node object is not Ready, or None."""
    conditions = {c["type"]: c for c in (node.get("status") or {}).get("conditions") or ()}
    ready = conditions.get("Ready")
    if ready is None:
        return "has not said how it is"
    if ready.get("status") != "True":
        return f"says: {ready.get('message') or ready.get('reason')}"
    return None
