"""A proxy as a process in a namespace, for tests: manifests to follow, when it is ready, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from patience import patience, rest

from netlab.kernel import netns
from netlab.kernel.ledger import MemoryLedger, read_claims
from netlab.model.claims import Claims

PATIENCE = patience(30)  # seconds until a wait is given up
HEALTH = 10256


def until(holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Look again and again, until it holds or the time is over."""
    looked = time.monotonic()
    end = looked + seconds
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(rest(looked, 0.01))
        looked = time.monotonic()


class Manifests:
    """A folder of manifests, written as a careful program does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def put(self, name: str, objects: Iterable[dict[str, Any]]) -> None:
        self.text(name, json.dumps({"kind": "List", "items": list(objects)}))

    def text(self, name: str, text: str) -> None:
        beside = self.folder / f".{name}"
        beside.write_text(text)
        beside.replace(self.folder / f"{name}.yaml")


class Proxy:
    """`netlab proxy` in a namespace. Use as a context manager; `kill` and `start` in between."""

    def __init__(self, where: str, node: str, manifests: Manifests, home: Path, *options: str) -> None:
        self.where, self.manifests = where, manifests
        self.log = home / f"{node}.log"
        self.claims = home / f"{node}.claims"
        self.argv = [
            sys.executable, "-m", "netlab.cli.main", "proxy", "--manifests", str(manifests.folder), "--node-name", node,
            "--cluster-cidr", "10.244.0.0/16", "--claims", str(self.claims), "--min-sync-period", "0", *options,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        # the name of such a socket is short, which a test's folder is not
        home = Path(tempfile.mkdtemp(prefix="px"))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, self.log.open("ab") as log:
                told.bind(str(home / "n"))
                with netns.entered(self.where):
                    env = {**os.environ, "NOTIFY_SOCKET": str(home / "n")}
                    self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, env=env)
                told.settimeout(0.2)
                end = time.monotonic() + PATIENCE
                while wait:
                    try:
                        assert told.recv(100) == b"READY=1"
                        return
                    except TimeoutError:
                        assert self.process.poll() is None and time.monotonic() < end, self.said()
        finally:
            shutil.rmtree(home)

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def said(self) -> str:
        return self.log.read_text()

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.end(signal.SIGKILL)

    def get(self, path: str, port: int = HEALTH) -> tuple[int, dict[str, str], str]:
        return get(self.where, path, port)

    def metric(self, name: str) -> float:
        page = self.get("/metrics")[2]
        return float(next(line for line in page.splitlines() if line.startswith(f"{name} ")).split()[1])


def get(where: str, path: str, port: int, host: str = "127.0.0.1") -> tuple[int, dict[str, str], str]:
    """GET from inside a namespace: status, headers, body. OSError if nobody answers."""
    with netns.entered(where):
        connection = http.client.HTTPConnection(host, port, timeout=5)
        connection.connect()
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def listening(where: str, port: int) -> bool:
    """Whether somebody takes connections at a port of a namespace."""
    try:
        get(where, "/", port)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def taking(where: str, port: int) -> Iterator[socket.socket]:
    """Somebody who takes connections at a port of a namespace, and keeps them as long as the caller does."""
    with netns.entered(where):
        listener = socket.create_server(("", port))
    with listener:
        listener.settimeout(PATIENCE)
        yield listener


def pod(name: str, node: str, ip: str, **labels: str) -> dict[str, Any]:
    """A pod of namespace x that is ready."""
    meta = {"namespace": "x", "name": name, "labels": labels or {"app": "x"}}
    return {"kind": "Pod", "metadata": meta, "spec": {"nodeName": node}, "status": {"podIP": ip, "phase": "Running"}}


def words(where: str, argv: Sequence[str]) -> str:
    """A command's output, in a namespace."""
    with netns.entered(where):
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout


def without_extension(name: str, home: Path) -> Path:
    """For XTABLES_LIBDIR: all extensions of iptables that this machine has, but one."""
    folder = home / "xtables"
    folder.mkdir()
    (there,) = Path("/usr/lib").glob("*/xtables")
    for file in there.iterdir():
        if file.name != f"libxt_{name}.so":
            (folder / file.name).symlink_to(file)
    return folder


class Known(MemoryLedger):
    """What an agent has claimed in its namespace, for whoever looks at it or cleans up after it from elsewhere."""

    def __init__(self, claims: Path, where: str, owner: str = "proxy") -> None:
        super().__init__()
        there = read_claims(claims)[owner]
        self.save(owner, Claims({where: there.states[netns.HERE]}, {where: there.before.get(netns.HERE, {})}))


def firewall(where: str) -> list[str]:
    """All rules and chains but the empty tables that the tools leave."""
    tools = ["iptables-nft-save", "iptables-legacy-save"]
    lines = [line for tool in tools for line in words(where, [tool]).splitlines()]
    kept = [line for line in lines if line.startswith("-A") or (line.startswith(":") and " - " in line)]
    return kept + [line for line in words(where, ["nft", "list", "tables"]).splitlines() if "kube" in line]
