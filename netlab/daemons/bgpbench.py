"""`netlab bench bgp`: how fast a bgpd takes routes in, into its table and into the kernel, and what it costs.

Two namespaces, one cable. In the first a bgpd as a process of its own; in the second whoever announces: `bgpgen`, which
has its UPDATEs ready, or BIRD with as many static routes. Times run from the moment that the session stands.
Nothing is asserted: figures depend on the machine and on who else uses it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

from netlab.base.errors import KernelError, MachineError
from netlab.daemons.bench import terminable
from netlab.daemons.bgpcontrol import ask
from netlab.daemons.bgpgen import prefixes
from netlab.kernel import netns, processes
from netlab.kernel.processes import Identity
from netlab.model import Address, HostState, Link, Loopback, Veth

#: seconds until a phase is given up, and between two looks at the table
PATIENCE, LOOK = 180.0, 0.01
#: seconds that idle sessions are watched, and how many
IDLE_SECONDS, IDLE_SESSIONS = 10.0, 50
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender at one size. figures: name to samples, in seconds, bytes or per cent, as the name says."""

    source: str
    routes: int
    figures: dict[str, list[float]] = field(default_factory=dict)
    absent: str | None = None

    def as_json(self) -> dict[str, Any]:
        medians = {name: round(statistics.median(samples), 4) for name, samples in self.figures.items()}
        rounded = {name: [round(x, 4) for x in samples] for name, samples in self.figures.items()}
        return {
            "source": self.source, "routes": self.routes, "absent": self.absent, "median": medians, "samples": rounded
        }  # fmt: skip


def _spawn(*argv: str, where: str, log: Path) -> Identity:
    pid = processes.spawn(argv, netns=where, log=log)
    identity = processes.identify(pid)
    assert identity is not None
    return identity


def _cpu(identity: Identity) -> float:
    fields = Path(f"/proc/{identity.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _peak(identity: Identity) -> float:
    for line in Path(f"/proc/{identity.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    return 0.0


class Bench:
    """The two namespaces and what runs in them."""

    def __init__(self, folder: Path, *, sessions: int = 1) -> None:
        self.folder = folder
        self.near, self.far = f"bgb{os.getpid()}.speaker", f"bgb{os.getpid()}.source"
        self.socket = folder / "bgpd.sock"
        self._running: list[Identity] = []
        self._sessions = sessions

    def __enter__(self) -> Bench:
        from netlab.kernel.apply import Kernel
        from netlab.kernel.ledger import MemoryLedger
        from netlab.kernel.linux import LinuxBackend

        lo = Link(name="lo", kind=Loopback())
        far = [ip_interface(f"10.0.{(i + 2) >> 8}.{(i + 2) & 255}/16") for i in range(self._sessions)]
        states = {
            self.near: [Link(name="eth0", kind=Veth("eth0", self.far)), _address("10.0.0.1/16")],
            self.far: [Link(name="eth0", kind=Veth("eth0", self.near)), *(_address(str(a)) for a in far)],
        }
        Kernel(LinuxBackend(), MemoryLedger()).apply_all(
            "bench", {ns: HostState.of([lo, *items]) for ns, items in states.items()}
        )
        return self

    def __exit__(self, *_: object) -> None:
        processes.stop(self._running)
        for name in (self.near, self.far):
            netns.delete(name)

    def bgpd(self, *, install: bool) -> Identity:
        """Start it, and wait until it listens."""
        peers = [
            f"  - {{name: p{i}, address: 10.0.{(i + 2) >> 8}.{(i + 2) & 255}, as: 65002, passive: true, import: all, "
            f"export: none, graceful_restart: false}}"
            for i in range(self._sessions)
        ]
        config = self.folder / "bgpd.yaml"
        head = f"router: {{as: 65001, id: 10.0.0.1, kernel: {{install: {str(install).lower()}}}}}\npeers:\n"
        config.write_text(head + "\n".join(peers) + "\n")
        identity = self.start(
            sys.executable, "-m", "netlab.cli.main", "bgpd", "--config", str(config), "--socket", str(self.socket),
            where=self.near,
        )  # fmt: skip
        self.until(lambda: self.socket.exists(), identity)
        return identity

    def start(self, *argv: str, where: str) -> Identity:
        """A process in one of the namespaces, ended with the bench."""
        identity = _spawn(*argv, where=where, log=self.folder / "log")
        self._running.append(identity)
        return identity

    def stop(self, identity: Identity) -> None:
        """End it now."""
        processes.stop([identity])
        self._running.remove(identity)

    def generator(self, routes: int, *, hold_time: int = 90) -> Identity:
        """Our own source."""
        return self.start(
            sys.executable, "-m", "netlab.daemons.bgpgen", "--as", "65002", "--peer", "10.0.0.1", "--peer-as", "65001",
            "--address", "10.0.0.2", "--routes", str(routes), "--sessions", str(self._sessions),
            "--hold-time", str(hold_time), where=self.far,
        )  # fmt: skip

    def bird(self, routes: int) -> Identity:
        """BIRD with static routes."""
        lines = [f"route {n[1]}.{n[2]}.{n[3]}.0/24 blackhole;" for n in prefixes(routes)]
        config = self.folder / "bird.conf"
        config.write_text(
            "router id 10.0.0.2;\nprotocol device {}\nprotocol static { ipv4;\n" + "\n".join(lines) + "\n}\n"
            "protocol bgp x { local 10.0.0.2 as 65002; neighbor 10.0.0.1 as 65001; graceful restart off;\n"
            "connect delay time 1; error wait time 1,2; ipv4 { import none; export all; }; }\n"
        )
        control, pid = self.folder / "bird.ctl", self.folder / "bird.pid"
        return self.start("bird", "-f", "-c", str(config), "-s", str(control), "-P", str(pid), where=self.far)

    def summary(self) -> dict[str, Any]:
        """What the bgpd says."""
        found: dict[str, Any] = ask(self.socket, {"verb": "summary"})
        return found

    def until(self, what: Callable[[], bool], *alive: Identity) -> float:
        """Wait; the time of the clock when it was so. KernelError if it never is, or if one of `alive` has ended."""
        deadline = time.perf_counter() + PATIENCE
        while not what():
            dead = [i for i in alive if not processes.alive(i)]
            if time.perf_counter() > deadline or dead:
                said = (self.folder / "log").read_text()[-2000:]
                raise KernelError("a benchmark's process ended" if dead else "a benchmark came to no end", hint=said)
            time.sleep(LOOK)
        return time.perf_counter()

    def standing(self) -> float:
        """Seconds since the session came up, by the speaker's own clock: it may be too busy then to be asked."""
        return float(self.summary()["peers"][0]["since"])

    def established(self) -> bool:
        """Whether all sessions stand."""
        peers = self.summary()["peers"]
        return bool(sum(p["state"] == "Established" for p in peers) == self._sessions)


def _address(text: str) -> Address:
    return Address(dev="eth0", address=ip_interface(text), broadcast=ip_network("10.0.0.0/16").broadcast_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def _bench(sessions: int = 1) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="netlab-bench-") as folder, Bench(Path(folder), sessions=sessions) as b:
        yield b


def once(source: str, routes: int) -> dict[str, float]:
    """One turn: into the table alone, then in another process into the kernel too; then away again."""
    figures: dict[str, float] = {}
    with _bench() as b:
        daemon = b.bgpd(install=False)
        start = b.generator if source == "generator" else b.bird
        peer = start(routes)
        b.until(lambda: b.summary()["routes"]["ipv4"] >= routes, daemon, peer)
        figures["to the table, s"] = b.standing()
        figures["cpu to the table, s"] = _cpu(daemon)
        figures["peak of the table, bytes"] = _peak(daemon)
        b.stop(peer)
        b.stop(daemon)
        daemon = b.bgpd(install=True)
        peer = start(routes)
        b.until(lambda: b.summary()["kernel_routes"] >= routes, daemon, peer)
        figures["to the kernel, s"] = b.standing()
        figures["cpu to the kernel, s"] = _cpu(daemon)
        figures["peak with the kernel, bytes"] = _peak(daemon)
        if source == "generator":
            for _ in range(2):
                again = time.perf_counter()
                processes.send(peer, signal.SIGUSR1)
                b.until(lambda: b.summary()["kernel_routes"] == 0, daemon, peer)
                processes.send(peer, signal.SIGUSR2)
                b.until(lambda: b.summary()["kernel_routes"] >= routes, daemon, peer)
            figures["churn, routes per s"] = 2 * routes / (time.perf_counter() - again)
        gone = time.perf_counter()
        processes.send(peer, signal.SIGKILL)
        figures["peer killed, out of the kernel, s"] = b.until(lambda: b.summary()["kernel_routes"] == 0, daemon) - gone
        b.stop(peer)
    return figures


def idle(sessions: int = IDLE_SESSIONS) -> dict[str, float]:
    """CPU of a bgpd with sessions at rest, in per cent of one core. Hold time 30 s: a keepalive each 10 s."""
    with _bench(sessions) as b:
        daemon = b.bgpd(install=False)
        peer = b.generator(0, hold_time=30)
        b.until(b.established, daemon, peer)
        before, started = _cpu(daemon), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        spent = _cpu(daemon) - before
        return {f"{sessions} sessions at rest, % of a core": 100 * spent / (time.perf_counter() - started)}


def run(
    sizes: Sequence[int],
    repeat: int,
    *,
    bird: bool = True,
    tell: Callable[[str, int], None] = lambda _what, _n: None,
) -> list[Measurement]:
    """Measure, and leave nothing behind. tell: what comes next, and how many turns have just been done."""
    netns.require_root()
    if in_use := [n for n in netns.names() if n.startswith(f"bgb{os.getpid()}.")]:
        raise MachineError(f"namespaces {', '.join(in_use)} are in the way")
    with terminable():
        return _all(sizes, repeat, bird, tell)


def _all(sizes: Sequence[int], repeat: int, bird: bool, tell: Callable[[str, int], None]) -> list[Measurement]:
    out = []
    for size in sorted(set(sizes)):
        for source in ("generator", "bird"):
            absent = None
            if source == "bird":
                absent = (
                    "left out on request" if not bird
                    else None if shutil.which("bird") else "bird is not installed (apt-get install bird2)"
                )  # fmt: skip
            if absent:
                out.append(Measurement(source, size, absent=absent))
                continue
            samples: dict[str, list[float]] = {}
            for _ in range(repeat):
                tell(f"{size} routes from {source}", 0)
                for name, value in once(source, size).items():
                    samples.setdefault(name, []).append(value)
                tell(f"{size} routes from {source}", 1)
            out.append(Measurement(source, size, samples))
    tell("sessions at rest", 0)
    out.append(Measurement("generator", 0, {name: [value] for name, value in idle().items()}))
    tell("sessions at rest", 1)
    return out


def turns(sizes: Sequence[int], repeat: int, *, bird: bool = True) -> int:
    """For a progress bar."""
    return len(set(sizes)) * repeat * (1 + bird) + 1
