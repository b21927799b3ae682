"""`netlab bench topology`: one topology built by netlab, by `ip -batch` and by Mininet, in turns, as whole processes.

The topology: hosts on bridges, each host in a namespace of its own with an address, a default route and `lo` up; a
bridge takes 1,000 of them. `ip -batch` is the floor: the fewest runs of iproute2 that can build it, from one script.
Mininet builds its own `single` topology in namespaces that end with it (network, mount, process), because its switch,
its sysctls and its habit of killing by name would otherwise be the machine's.

The kernel frees a namespace some time after the command that removed it has returned. So each teardown has two times:
`down`, until the command returned, and `freed`, until the kernel had unregistered every device. The second is seen on
a device of ours: one end of its pair lives in a namespace that is removed right after the command, and the kernel
cleans namespaces up in the order of their removal. No turn starts before the last one's namespaces are freed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from netlab.base.errors import KernelError
from netlab.kernel import netns, processes
from netlab.kernel.commands import missing
from netlab.kernel.measure import Measured, measured

#: a Linux bridge takes 1,024 ports (BR_MAX_PORTS)
HOSTS_PER_BRIDGE = 1000
#: seconds between two looks at whether the kernel has freed what was removed, and when to stop looking
_LOOK, _PATIENCE = 0.001, 120.0
#: what the issue that brought this benchmark asks for
FLOOR_RATIO_MAX, MININET_RATIO_MIN, AGAIN_MAX, HELP_MAX = 1.5, 10.0, 0.3, 0.25
#: hosts and the greatest ratio of their time to that of a tenth of them
GROWTH, GROWTH_MAX = 10, 12.0

Phases = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Hosts h1 … hN on switches s1 … sK, named after `prefix`: what each contender builds."""

    prefix: str
    hosts: int

    @property
    def switches(self) -> int:
        """How many bridges it takes."""
        return -(-self.hosts // HOSTS_PER_BRIDGE)

    def members(self, switch: int) -> range:
        """The hosts of a switch, both counted from 1."""
        first = (switch - 1) * HOSTS_PER_BRIDGE + 1
        return range(first, min(first + HOSTS_PER_BRIDGE, self.hosts + 1))

    @property
    def namespaces(self) -> list[str]:
        """Every namespace, as `ip netns` shows it."""
        switches = [f"{self.prefix}.s{s}" for s in range(1, self.switches + 1)]
        return switches + [f"{self.prefix}.h{h}" for h in range(1, self.hosts + 1)]


def gateway(switch: int) -> str:
    """The next hop of the default routes: in the subnet, and nobody's."""
    return f"10.{switch}.255.254"


def lab_file(plan: Plan) -> str:
    """The topology as a lab.yaml. Addresses are allotted: 10.SWITCH.0.1, .2, …"""
    lines = [f"name: {plan.prefix}", "networks:"]
    lines += [f"  s{s}: {{subnets: [10.{s}.0.0/16]}}" for s in range(1, plan.switches + 1)]
    lines.append("nodes:")
    for s in range(1, plan.switches + 1):
        route = f"{{to: 0.0.0.0/0, via: {gateway(s)}}}"
        lines += [f"  h{h}: {{interfaces: {{eth0: {{network: s{s}}}}}, routes: [{route}]}}" for h in plan.members(s)]
    return "\n".join(lines) + "\n"


def batches(plan: Plan) -> dict[str, str]:
    """The same as files for `ip -batch`: up, down, one per switch and host; and the script that runs them in order."""
    files = {
        "up": "".join(f"netns add {ns}\n" for ns in plan.namespaces),
        "down": "".join(f"netns del {ns}\n" for ns in plan.namespaces),
    }
    for s in range(1, plan.switches + 1):
        cables = "".join(
            f"link add h{h}-eth0 up master s{s} type veth peer name eth0 netns {plan.prefix}.h{h}\n"
            for h in plan.members(s)
        )
        files[f"s{s}"] = f"link set lo up\nlink add s{s} up type bridge\n{cables}"
        for at, h in enumerate(plan.members(s), 1):
            files[f"h{h}"] = (
                f"link set lo up\naddr add 10.{s}.{at >> 8}.{at & 255}/16 brd + dev eth0\n"
                f"link set eth0 up\nroute add default via {gateway(s)}\n"
            )
    inside = [ns.removeprefix(f"{plan.prefix}.") for ns in plan.namespaces]
    runs = [f"ip -n {plan.prefix}.{name} -batch {name}\n" for name in inside]
    files["up.sh"] = "".join(["set -e\n", 'cd "${0%/*}"\n', "ip -batch up\n", *runs])
    return files


class Contender(Protocol):
    """One tool. A turn is measured by phase; each phase has `wall` and, where a process did it, `cpu` and `rss`."""

    name: str

    def turn(self, freed: Callable[[], float]) -> Phases:
        """Up and down once. freed: to be called when all is removed; returns when the kernel has freed it."""

    def remove(self) -> None:
        """Take away what an interrupted turn has left, by the names it recorded."""


class Netlab:
    """`netlab lab up`, `up` again with nothing to do, `netlab lab down`, each as a process of its own.

    `network` is the part of `up` from the compiled value to the network, which is what `ip -batch` does: its commands
    are written before the clock starts, as netlab's value is computed from lab.yaml in the rest of `up`.
    """

    name = "netlab"

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        (folder / "lab.yaml").write_text(lab_file(plan))

    def _lab(self, verb: str, what: str) -> tuple[Measured, Any]:
        result = _done(measured(netlab_command("lab", verb, what, "--json")))
        return result, json.loads(result.output)

    def turn(self, freed: Callable[[], float]) -> Phases:
        up, told = self._lab("up", str(self.folder))
        again, nothing = self._lab("up", str(self.folder))
        if nothing["operations"]:
            raise KernelError(f"a second up found something to do: {again.output.strip()}")
        down, _ = self._lab("down", self.plan.prefix)
        figures = {phase: _figures(result) for phase, result in (("up", up), ("again", again), ("down", down))}
        network = {"wall": told["network_seconds"]}
        return figures | {"network": network, "freed": {"wall": freed()}}

    def remove(self) -> None:
        from netlab.daemons.machine import LinuxMachine
        from netlab.lab.engine import Engine

        Engine(LinuxMachine()).down(self.plan.prefix)
        _remove(self.plan.namespaces)


class IpBatch:
    """The floor: `ip -batch` for the namespaces, for each switch and for each host."""

    name = "ip"

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        for name, text in batches(plan).items():
            (folder / name).write_text(text)

    def turn(self, freed: Callable[[], float]) -> Phases:
        up = _done(measured(["sh", str(self.folder / "up.sh")]))
        down = _done(measured(["ip", "-batch", str(self.folder / "down")]))
        return {"up": _figures(up), "down": _figures(down), "freed": {"wall": freed()}}

    def remove(self) -> None:
        _remove(self.plan.namespaces)


#: what runs before Mininet in its own namespaces: /sys of that network, a /tmp that it may clear, read-only sysctls
_CONFINED = (
    "mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /tmp && mount --bind /proc/sys /proc/sys"
    ' && mount -o remount,bind,ro /proc/sys && exec "$@"'
)
_COMPLETED = re.compile(r"completed in ([\d.]+) seconds")


class Mininet:
    """`mn --topo single,N`, up and down in one process. `up` lasts until it says that it is stopping."""

    name = "mininet"

    def __init__(self, plan: Plan) -> None:
        self.argv = [
            *("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *("sh", "-c", _CONFINED, "sh"),
            *("mn", "--switch", "lxbr", "--controller", "none", "--topo", f"single,{plan.hosts}", "--test", "none"),
        ]

    def turn(self, freed: Callable[[], float]) -> Phases:
        whole = _done(measured(self.argv, mark="*** Stopping"))
        up = whole.marked or whole.wall
        completed = _COMPLETED.search(whole.output)
        phases: Phases = {"up": {"wall": up}, "down": {"wall": whole.wall - up}, "freed": {"wall": freed()}}
        phases["whole"] = _figures(whole)
        if completed:
            phases["completed"] = {"wall": float(completed.group(1))}  # its own words, without its start
        return phases

    def remove(self) -> None:
        """Nothing: its namespaces have ended with it."""


def mininet_absent(hosts: int) -> str | None:
    """Why Mininet does not take part, or None."""
    for tool in ("mn", "brctl", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (apt-get install mininet bridge-utils)"
    if hosts > HOSTS_PER_BRIDGE:
        return f"its topology `single` has one bridge, and a bridge takes {HOSTS_PER_BRIDGE} hosts"
    return None


def netlab_command(*words: str) -> list[str]:
    """The command line of our own CLI as a new process, which may keep its bytecode as installed programs do."""
    return ["env", "-u", "PYTHONDONTWRITEBYTECODE", sys.executable, "-m", "netlab.cli.main", *words]


def _done(result: Measured) -> Measured:
    if result.returncode != 0:
        raise KernelError(f"a contender failed with exit status {result.returncode}: {result.output.strip()[-2000:]}")
    return result


def _figures(result: Measured) -> dict[str, float]:
    return {"wall": result.wall, "cpu": result.cpu, "rss": result.rss}


def _remove(names: Sequence[str]) -> None:
    for name in names:
        netns.delete(name)


class Sentinel:
    """Knows when the kernel has freed all namespaces that were removed before: see the module's first page."""

    def __init__(self, prefix: str) -> None:
        from netlab.kernel.apply import Kernel
        from netlab.kernel.ledger import MemoryLedger
        from netlab.kernel.linux import LinuxBackend
        from netlab.model import HostState, Link, Veth

        self._near, self._far = f"{prefix}.near", f"{prefix}.far"
        self._pair = {
            here: HostState.of([Link(name="sentinel", kind=Veth("sentinel", there), up=False)])
            for here, there in ((self._near, self._far), (self._far, self._near))
        }
        self._backend = LinuxBackend()
        self._kernel = Kernel(self._backend, MemoryLedger())
        self._look = {self._near: HostState()}

    def set(self) -> None:
        """Make the pair; before the removal that is to be waited for."""
        self._kernel.apply_all("bench", self._pair)

    def wait(self) -> float:
        """Remove the far namespace; return the seconds until the kernel has done so, with a new pair set.

        KernelError if it never does.
        """
        started = time.perf_counter()
        self._backend.delete(self._far)
        while self._backend.read(self._look)[self._near].link("sentinel"):
            if time.perf_counter() - started > _PATIENCE:
                raise KernelError(f"the kernel has not freed the removed namespaces after {_PATIENCE:.0f} s")
            time.sleep(_LOOK)
        seconds = time.perf_counter() - started
        self.set()
        return seconds

    def remove(self) -> None:
        """Leave nothing."""
        _remove([self._far, self._near])


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity over all turns, in seconds or bytes."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle."""
        return statistics.median(self.samples)

    def as_json(self) -> dict[str, Any]:
        """median, min, max, samples."""
        rounded = [round(s, 4) for s in self.samples]
        return {"median": round(self.median, 4), "min": min(rounded), "max": max(rounded), "samples": rounded}


@dataclass(frozen=True, slots=True)
class Size:
    """What was measured of one number of hosts: contender to phase to quantity. absent: who did not take part, why."""

    hosts: int
    figures: dict[str, dict[str, dict[str, Figure]]]
    absent: dict[str, str] = field(default_factory=dict)

    def wall(self, contender: str, phase: str) -> float | None:
        """Median seconds of a phase, or None if it was not measured."""
        figure = self.figures.get(contender, {}).get(phase, {}).get("wall")
        return figure.median if figure else None

    def ratio(self, phase: str, other: str, *, contender: str = "netlab") -> float | None:
        """How many times as long as `other` a contender takes for a phase; every kind of up is held against `up`."""
        ours, theirs = self.wall(contender, phase), self.wall(other, "up" if phase in ("again", "network") else phase)
        return ours / theirs if ours and theirs else None


@dataclass(frozen=True, slots=True)
class Target:
    """One of the issue's promises. met: whether `value` is within `limit`."""

    what: str
    value: float
    limit: float
    met: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run, the smallest size first. help: `netlab --help`."""

    repeat: int
    help: Figure
    sizes: tuple[Size, ...]
    machine: dict[str, Any] = field(default_factory=dict)

    def growth(self, size: Size) -> float | None:
        """netlab's up time as a multiple of that of the smallest size."""
        least, here = self.sizes[0].wall("netlab", "up"), size.wall("netlab", "up")
        return here / least if here and least else None

    def targets(self) -> list[Target]:
        """The promises that this run can judge."""
        found = [at_most("netlab --help (s)", self.help.median, HELP_MAX)]
        for size in self.sizes:
            up, again, down = (size.wall("netlab", phase) for phase in ("up", "again", "down"))
            if up is not None and down is not None:
                found.append(at_most(f"{size.hosts} hosts: down / up", down / up, 1.0))
            if size.hosts == 100:
                floor, whole = size.ratio("up", "ip"), size.wall("mininet", "whole")
                network = size.ratio("network", "ip")
                if floor is not None and network is not None:
                    found.append(at_most("100 hosts: up, from the value / ip -batch", network, FLOOR_RATIO_MAX))
                    found.append(at_most("100 hosts: up, the whole command / ip -batch", floor, FLOOR_RATIO_MAX))
                if whole and up and down:
                    what = "100 hosts: Mininet / netlab, up and down"
                    found.append(at_least(what, whole / (up + down), MININET_RATIO_MIN))
                if again is not None:
                    found.append(at_most("100 hosts: second up (s)", again, AGAIN_MAX))
            growth = self.growth(size)
            if growth is not None and size.hosts == GROWTH * self.sizes[0].hosts:
                found.append(at_most(f"{size.hosts} / {self.sizes[0].hosts} hosts: up", growth, GROWTH_MAX))
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included. A contender that did not take part is null, and its reason in `absent`."""
        return {
            "repeat": self.repeat,
            "machine": self.machine,
            "help": self.help.as_json(),
            "sizes": [self._size(size) for size in self.sizes],
            "targets": [
                {"what": t.what, "value": round(t.value, 3), "limit": t.limit, "met": t.met} for t in self.targets()
            ],
        }

    def _size(self, size: Size) -> dict[str, Any]:
        contenders: dict[str, Any] = {
            name: {phase: {what: f.as_json() for what, f in figures.items()} for phase, figures in phases.items()}
            for name, phases in size.figures.items()
        }
        ratios = {
            f"{phase}_to_{other}": size.ratio(phase, other)
            for phase in ("up", "network", "again", "down", "freed")
            for other in ("ip", "mininet")
        }
        return {
            "hosts": size.hosts,
            "switches": Plan("", size.hosts).switches,
            "contenders": {**contenders, **dict.fromkeys(size.absent)},
            "absent": size.absent,
            "ratios": {name: round(r, 3) for name, r in ratios.items() if r is not None},
            "growth": round(self.growth(size) or 0.0, 3),
        }


def at_least(what: str, value: float, limit: float) -> Target:
    """A promise that is kept from `limit` on."""
    return Target(what, value, limit, value >= limit)


def at_most(what: str, value: float, limit: float) -> Target:
    """A promise that is kept up to `limit`."""
    return Target(what, value, limit, value <= limit)


def run(
    sizes: Sequence[int],
    repeat: int,
    *,
    mininet: bool = True,
    tell: Callable[[str, int], None] = lambda _what, _n: None,
) -> Report:
    """Measure, and leave nothing behind. tell: what comes next, and how many turns have just been done."""
    netns.require_root()
    for tool in ("ip", "sh"):
        if shutil.which(tool) is None:
            raise missing(tool)
    with terminable():
        tell("netlab --help", 0)
        helps = [_done(measured(netlab_command("--help"))).wall for _ in range(repeat)]
        measured_sizes = tuple(_size(hosts, repeat, mininet, tell) for hosts in sorted(set(sizes)))
    return Report(repeat, Figure(tuple(helps)), measured_sizes, machine())


def turns(sizes: Sequence[int], repeat: int, *, mininet: bool = True) -> int:
    """How many turns `run` takes, for a progress bar."""
    return sum(repeat * (3 if mininet and mininet_absent(n) is None else 2) for n in set(sizes))


def _size(hosts: int, repeat: int, mininet: bool, tell: Callable[[str, int], None]) -> Size:
    absent = {} if mininet else {"mininet": "left out on request"}
    reason = mininet_absent(hosts) if mininet else None
    if reason:
        absent["mininet"] = reason
    with tempfile.TemporaryDirectory(prefix="netlab-bench-") as folder, contextlib.ExitStack() as stack:
        rivals: list[Contender] = []
        for kind in (Netlab, IpBatch):
            own = Path(folder) / kind.name
            own.mkdir()
            rivals.append(kind(Plan(f"bench-{kind.name}-{os.getpid()}", hosts), own))
        if not absent:
            rivals.append(Mininet(Plan("", hosts)))
        sentinel = Sentinel(f"bench-{os.getpid()}")
        stack.callback(sentinel.remove)
        for rival in rivals:
            stack.callback(rival.remove)
        # from an idle kernel: what others removed before is none of our business
        sentinel.set()
        sentinel.wait()
        seen: dict[str, list[Phases]] = {rival.name: [] for rival in rivals}
        for _ in range(repeat):
            for rival in rivals:
                tell(f"{hosts} hosts: {rival.name}", 0)
                seen[rival.name].append(rival.turn(sentinel.wait))
                tell(f"{hosts} hosts: {rival.name}", 1)
    return Size(hosts, {name: _gathered(samples) for name, samples in seen.items()}, absent)


def _gathered(samples: Sequence[Phases]) -> dict[str, dict[str, Figure]]:
    found: dict[str, dict[str, Figure]] = {}
    for phase in samples[0]:
        found[phase] = {
            what: Figure(tuple(sample[phase][what] for sample in samples if phase in sample))
            for what in samples[0][phase]
        }
    return found


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """A polite request to end is an interruption like Ctrl-C: what was made is removed."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    system = os.uname()
    return {
        "cpus": os.cpu_count(), "kernel": system.release, "architecture": system.machine,
        "python": sys.version.split()[0], "load": [round(x, 2) for x in os.getloadavg()],
    }  # fmt: skip


def cpu_of(identity: processes.Identity) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{identity.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_of(identity: processes.Identity) -> float:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{identity.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
