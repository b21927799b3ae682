"""Real BGP peers in namespaces of their own: netlab's bgpd, BIRD, FRR and GoBGP on one switch.

Everything is made with a prefix of this process, and removed by the names that were recorded.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import yaml

from netlab.daemons.bgpcontrol import ask
from netlab.kernel import netns, processes
from netlab.kernel.apply import Kernel
from netlab.kernel.commands import run_in
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.processes import Identity
from netlab.model import Address, Bridge, HostState, Item, Link, Loopback, Veth

PATIENCE = 30.0
FRR = Path("/usr/lib/frr/bgpd")
MISSING = {
    "bird": None if shutil.which("bird") else "bird is not installed",
    "frr": None if FRR.exists() and shutil.which("vtysh") else "frr is not installed",
    "gobgp": None if shutil.which("gobgpd") else "gobgpd is not installed",
}
_numbers = itertools.count(1)


class World:
    """Nodes 1 … N on one switch: node i has 10.0.0.i/24 and fd00::i/64 on eth0."""

    def __init__(self, folder: Path, nodes: int = 2) -> None:
        self.folder, self.nodes = folder, nodes
        self.prefix = f"bg{os.getpid()}x{next(_numbers)}"
        self.made: list[str] = []
        self.running: dict[str, Identity] = {}

    def __enter__(self) -> World:
        switch = f"{self.prefix}.sw"
        lo: Item = Link(name="lo", kind=Loopback())
        states: dict[str, list[Item]] = {switch: [lo, Link(name="br0", kind=Bridge(), mac="02:00:00:00:00:01")]}
        for i in range(1, self.nodes + 1):
            states[switch].append(Link(name=f"p{i}", kind=Veth("eth0", self.ns(i)), master="br0"))
            v4, v6 = ip_interface(f"10.0.0.{i}/24"), ip_interface(f"fd00::{i:x}/64")
            states[self.ns(i)] = [
                lo, Link(name="eth0", kind=Veth(f"p{i}", switch)), Address(dev="eth0", address=v6),
                Address(dev="eth0", address=v4, broadcast=v4.network.broadcast_address),  # type: ignore[arg-type]
            ]  # fmt: skip
        self.made = list(states)
        Kernel(LinuxBackend(), MemoryLedger()).apply_all("t", {ns: HostState.of(s) for ns, s in states.items()})
        return self

    def __exit__(self, *_: object) -> None:
        try:
            processes.stop(self.running.values(), 1.0)
        finally:
            for name in self.made:
                netns.delete(name)

    def ns(self, i: int) -> str:
        return f"{self.prefix}.n{i}"

    def spawn(self, name: str, i: int, *argv: str) -> Identity:
        """A process in node i, known by a name."""
        pid = processes.spawn(argv, netns=self.ns(i), log=self.folder / f"{name}.log", cwd=self.folder)
        identity = processes.identify(pid)
        assert identity is not None
        self.running[name] = identity
        return identity

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """Signal a process and wait for its end."""
        identity = self.running.pop(name)
        processes.send(identity, number)
        assert processes.stop([identity], 5.0) == []

    def run(self, i: int, *argv: str, check: bool = True) -> str:
        return run_in(self.ns(i), argv, check=check).stdout

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    # -- ours

    def bgpd(self, config: dict[str, Any], i: int = 1, name: str = "bgpd") -> None:
        """netlab's bgpd in node i."""
        self.configure(config, name)
        self.spawn(
            name, i, sys.executable, "-m", "netlab.cli.main", "bgpd", "--config", f"{name}.yaml", "--socket",
            f"{name}.sock", "--event-log", f"{name}.jsonl",
        )  # fmt: skip
        self.until(lambda: (self.folder / f"{name}.sock").exists(), f"{name} to answer")

    def configure(self, config: dict[str, Any], name: str = "bgpd") -> None:
        router = {"as": 65001, "id": "10.0.0.1", "name": name} | config.pop("router", {})
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump({"router": router, **config}))

    def ask(self, verb: str, name: str = "bgpd", **request: Any) -> Any:
        return ask(self.folder / f"{name}.sock", {"verb": verb, **request})

    def state(self, peer: str, name: str = "bgpd") -> str:
        found = next(p for p in self.ask("summary", name)["peers"] if p["name"] == peer)
        return str(found["state"])

    def up(self, peer: str, name: str = "bgpd") -> None:
        self.until(lambda: self.state(peer, name) == "Established", f"{peer} to be established")

    def rib(self, name: str = "bgpd") -> dict[str, list[dict[str, Any]]]:
        return {r["prefix"]: r["paths"] for r in self.ask("rib", name)}

    def learnt(self, prefix: str, name: str = "bgpd") -> dict[str, Any]:
        """The attributes of the best path, once there is one."""
        self.until(lambda: prefix in self.rib(name), f"{prefix} in the RIB")
        return dict(self.rib(name)[prefix][0]["attributes"])

    def events(self, name: str = "bgpd") -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    def kernel(self, i: int, family: int = 4, protocol: str = "bgp") -> dict[str, str]:
        """Routes of that protocol: prefix to the rest of the line."""
        lines = self.run(i, "ip", f"-{family}", "route", "show", "proto", protocol).replace("\n\t", " ").splitlines()
        found = {}
        for line in lines:
            words = line.split()
            if words[0] in ("blackhole", "unreachable"):
                words = words[1:]
            found[words[0]] = line
        return found

    # -- the others

    def bird(self, config: str, i: int = 2, name: str = "bird", *options: str) -> None:
        (self.folder / f"{name}.conf").write_text(f"router id 10.0.0.{i};\nprotocol device {{}}\n{config}")
        argv = ("bird", "-f", "-c", f"{name}.conf", "-s", f"{name}.ctl", "-P", f"{name}.pid", *options)
        self.spawn(name, i, *argv)
        self.until(lambda: (self.folder / f"{name}.ctl").exists(), "BIRD to answer")

    def birdc(self, *words: str, name: str = "bird") -> str:
        return self.run(1, "birdc", "-s", str(self.folder / f"{name}.ctl"), *words, check=False)

    def frr(self, config: str, i: int = 2, name: str = "frr", *options: str) -> None:
        (self.folder / f"{name}.conf").write_text(config)
        sockets = self.folder / f"{name}.vty"
        sockets.mkdir(exist_ok=True)
        self.spawn(
            name, i, str(FRR), "-S", "-Z", "-n", "-f", str(self.folder / f"{name}.conf"), "-i",
            str(self.folder / f"{name}.pid"), "-P", "0", "--vty_socket", str(sockets), "--log", "stdout", *options,
        )  # fmt: skip
        self.until(lambda: (sockets / "bgpd.vty").exists(), "FRR to answer")

    def vtysh(self, *commands: str, name: str = "frr") -> str:
        words = [word for command in commands for word in ("-c", command)]
        return self.run(1, "vtysh", "--vty_socket", str(self.folder / f"{name}.vty"), "-d", "bgpd", *words, check=False)

    def gobgpd(self, config: str, i: int = 2, name: str = "gobgp") -> None:
        (self.folder / f"{name}.toml").write_text(config)
        argv = ("--api-hosts", "127.0.0.1:50051", "--pprof-disable", "--disable-stdlog")
        self.spawn(name, i, "gobgpd", "-f", f"{name}.toml", *argv)
        self.until(lambda: self.gobgp(i, "global", check=False).startswith("AS:"), "GoBGP to answer")

    def gobgp(self, i: int, *words: str, check: bool = True) -> str:
        return self.run(i, "gobgp", *words, check=check)

    def until(self, what: Callable[[], object], why: str, patience: float = PATIENCE) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + patience
        while not what():
            if time.monotonic() > deadline:
                logs = "\n".join(f"== {p.name}\n{p.read_text()[-1500:]}" for p in self.folder.glob("*.log"))
                raise AssertionError(f"waited too long for {why}\n{logs}\n{self.events()[-15:]}")
            time.sleep(0.02)  # between two looks, not for something to happen
