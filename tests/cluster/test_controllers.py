"""Controllers as processes of their own: one of two leads, the other takes over, and a server that dies is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from netlab.client.kubeconfig import load
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient

#: seconds until a wait is given up
DEADLINE = 60.0
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager"
NAMESPACES, ACCOUNTS = Resource("v1", "namespaces"), Resource("v1", "serviceaccounts")


class Programs:
    """netlab's processes of one test, and what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *argv: object) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", "netlab.cli.main", *map(str, argv)], stdout=log, stderr=subprocess.STDOUT
            )
        self._running.append(program)
        return program

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        for program in self._running:
            if program.poll() is None:
                program.kill()
            program.wait()


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for a condition; what it gave. A server that is away, or says no, is asked again."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(ApiError, ApiUnavailable):
                if found := await condition():
                    return found
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[Programs, RestClient, Callable[[], subprocess.Popen[bytes]]]]:
    """An API server without controllers, over a store that survives it; its client, and how to start it again."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    programs = Programs(folder)

    def start() -> subprocess.Popen[bytes]:
        return programs.start("server", "apiserver", "--data-dir", folder / "data", "--port", port)

    try:
        start()
        admin = folder / "data" / "admin.conf"

        async def there() -> bool:
            return admin.exists()

        await until(there)
        client = RestClient(load(admin))
        try:
            yield programs, client, start
        finally:
            await client.aclose()
    finally:
        programs.close()


async def account(client: RestClient, namespace: str) -> Object:
    """The account that a controller makes in a new namespace."""
    await until(lambda: client.create(NAMESPACES.path(), {"metadata": {"name": namespace}}))
    found: Object = await until(lambda: client.get(ACCOUNTS.path(namespace, "default")))
    return found


def test_one_leads_and_another_takes_over(tmp_path: Path) -> None:
    async def test() -> None:
        async with cluster(tmp_path) as (programs, client, _):
            config = tmp_path / "data" / "admin.conf"
            running = {name: programs.start(name, "controllers", "--kubeconfig", config) for name in ("one", "two")}

            async def holder() -> str:
                return str((await client.get(LEASE))["spec"].get("holderIdentity", ""))

            first = await until(holder)
            await account(client, "shop")
            leader = next(name for name, p in running.items() if first.endswith(f"_{p.pid}"))
            other = next(name for name in running if name != leader)
            assert "controllers run" not in programs.said(other)
            running[leader].send_signal(signal.SIGTERM)
            await account(client, "another")
            assert (await holder()).endswith(f"_{running[other].pid}")
            assert running[leader].wait(DEADLINE) == 0
            assert (await client.get(LEASE))["spec"]["leaseTransitions"] >= 1
            assert all("Traceback" not in programs.said(name) for name in running)

    asyncio.run(test())


def test_a_server_that_dies_is_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with cluster(tmp_path) as (programs, client, start):
            config = tmp_path / "data" / "admin.conf"
            loops = programs.start("loops", "controllers", "--kubeconfig", config, "--no-leader-elect")
            await account(client, "shop")
            server = programs._running[0]
            server.kill()
            server.wait()
            start()
            await account(client, "another")
            # what was begun before goes on: the namespace ends
            await client.delete(NAMESPACES.path(name="shop"))

            async def gone() -> bool:
                names = [n["metadata"]["name"] for n in (await client.list(NAMESPACES.path()))["items"]]
                return "shop" not in names

            await until(gone)
            assert loops.poll() is None
            loops.send_signal(signal.SIGTERM)
            assert loops.wait(DEADLINE) == 0
            assert "Traceback" not in programs.said("loops")

    asyncio.run(test())
