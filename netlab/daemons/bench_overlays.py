"""`netlab bench overlays`: what each backend carries, in one run, beside the wire below it and the same made by hand.

Two nodes with a container each, once per contender, all up at the same time and measured in turns, so that whatever
else the machine does meets all of them alike. By hand is what `netlab lab script` prints: the same devices, made by
ip, bridge and iptables, without a flanneld.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.base.errors import KernelError
from netlab.daemons.bench import Figure, Target, at_least, at_most, machine, terminable
from netlab.daemons.machine import LinuxMachine
from netlab.kernel import netns, processes
from netlab.kernel.commands import missing, run_in
from netlab.lab.engine import Engine
from netlab.lab.labfile import Lab
from netlab.lab.scripts import lab_script

#: what the issue that brought this benchmark asks for: single-flow TCP through udp as a share of the underlay's,
#: small packets and round trips as multiples of the plain path's, a device as a share of the same made by hand
UDP_TCP_MIN, UDP_SMALL_MIN, UDP_RTT_MAX, BY_HAND_MIN = 0.12, 2.0, 1.5, 0.9
#: round trips of one turn, and seconds between two
PINGS, PING_GAP = 200, 0.005
#: what iperf3 says while its server still puts the last measurement away, and seconds for which it may
_NOT_YET = ("busy", "unable to receive control message", "Connection reset by peer")
_BUSY = 20.0
#: payload bytes of the small packets
SMALL = 64
METRICS = {
    "tcp": ("TCP, one flow", "Mbit/s", 1e-6),
    "tcp8": ("TCP, 8 flows", "Mbit/s", 1e-6),
    "small": (f"UDP of {SMALL} bytes", "1000/s", 1e-3),
    "rtt": ("round trip", "µs", 1.0),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One contender: flannel's backend and options, or None for the wire itself; by_hand: without flanneld."""

    name: str
    backend: str | None
    options: tuple[str, ...] = ()
    by_hand: bool = False


KINDS = (
    Kind("underlay", None),
    Kind("host-gw", "host-gw"),
    Kind("host-gw by hand", "host-gw", by_hand=True),
    Kind("vxlan", "vxlan"),
    Kind("vxlan by hand", "vxlan", by_hand=True),
    Kind("udp", "udp"),
    Kind("udp without offloads", "udp", ("--offload=false",)),
)


def lab_file(name: str, kind: Kind) -> str:
    """Two nodes, a container on each, and flanneld on both unless the wire itself is measured."""
    mtu = {"vxlan": 1450, "udp": 1472}.get(kind.backend or "", 1500)
    lines = [
        f"name: {name}",
        "networks: {lan: {subnets: [10.168.0.0/24]}}",
        "nodes:",
        *(
            f"  n{i}: {{interfaces: {{eth0: {{network: lan, addresses: [10.168.0.{i + 1}/24]}}}}, forward: true, "
            f"bridges: {{br0: {{addresses: [10.244.{i}.1/24], mtu: {mtu}}}}}}}"
            for i in (1, 2)
        ),
        "containers:",
        *(f"  c{i}: {{node: n{i}, addresses: [10.244.{i}.2/24]}}" for i in (1, 2)),
    ]
    if kind.backend:
        config = json.dumps({"Network": "10.244.0.0/16", "Backend": {"Type": kind.backend}})
        nodes = (f"n{i}: {{subnets: [10.244.{i}.0/24], options: {json.dumps(list(kind.options))}}}" for i in (1, 2))
        lines.append(f"flannel: {{config: {config}, nodes: {{{', '.join(nodes)}}}}}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Ends:
    """From whom to whom is measured."""

    client: str
    server: str
    address: str


@dataclass(frozen=True, slots=True)
class Report:
    """Figures by contender and metric (bit/s, packets/s, microseconds)."""

    repeat: int
    figures: dict[str, dict[str, Figure]]
    absent: dict[str, str]
    machine: dict[str, Any]

    def ratio(self, name: str, metric: str, to: str = "underlay") -> float | None:
        """A contender's median by another's."""
        mine, other = self.figures.get(name, {}).get(metric), self.figures.get(to, {}).get(metric)
        return mine.median / other.median if mine and other and other.median else None

    def targets(self) -> list[Target]:
        """The promises that this run can judge."""
        judged = (
            (at_least, "udp / underlay, TCP, one flow", self.ratio("udp", "tcp"), UDP_TCP_MIN),
            (at_least, "udp / without offloads, small packets", self.ratio("udp", "small", PLAIN), UDP_SMALL_MIN),
            (at_most, "udp / without offloads, round trip", self.ratio("udp", "rtt", PLAIN), UDP_RTT_MAX),
            (at_least, "vxlan / by hand, TCP", self.ratio("vxlan", "tcp", "vxlan by hand"), BY_HAND_MIN),
            (at_least, "host-gw / by hand, TCP", self.ratio("host-gw", "tcp", "host-gw by hand"), BY_HAND_MIN),
        )
        return [judge(what, value, limit) for judge, what, value, limit in judged if value is not None]

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        ratios = {
            name: {m: round(r, 4) for m in METRICS if (r := self.ratio(name, m)) is not None} for name in self.figures
        }
        return {
            "repeat": self.repeat,
            "machine": self.machine,
            "contenders": {n: {m: f.as_json() for m, f in figures.items()} for n, figures in self.figures.items()},
            "absent": self.absent,
            "ratios_to_underlay": ratios,
            "targets": [
                {"what": t.what, "value": round(t.value, 3), "limit": t.limit, "met": t.met} for t in self.targets()
            ],
        }


PLAIN = "udp without offloads"


def run(
    repeat: int, seconds: float, kinds: Sequence[str] = (), *, tell: Callable[[str, int], None] = lambda _w, _n: None
) -> Report:
    """Measure, and leave nothing behind. seconds: of each throughput; kinds: names of contenders, all if empty."""
    netns.require_root()
    chosen = [kind for kind in KINDS if not kinds or kind.name in kinds or kind.name == "underlay"]
    absent: dict[str, str] = {}
    samples: dict[str, dict[str, list[float]]] = {}
    with terminable(), tempfile.TemporaryDirectory(prefix="netlab-bench-") as folder, contextlib.ExitStack() as stack:
        ends: dict[str, Ends] = {}
        for number, kind in enumerate(chosen):
            tell(f"{kind.name}: up", 0)
            try:
                ends[kind.name] = stack.enter_context(_up(kind, f"bo{os.getpid()}-{number}", Path(folder)))
            except KernelError as e:
                absent[kind.name] = e.message
        for _ in range(repeat):
            for name, end in ends.items():
                tell(name, 0)
                for metric, value in _turn(end, seconds).items():
                    samples.setdefault(name, {}).setdefault(metric, []).append(value)
                tell(name, 1)
    figures = {name: {m: Figure(tuple(values)) for m, values in found.items()} for name, found in samples.items()}
    return Report(repeat, figures, absent, machine())


def turns(repeat: int, kinds: Sequence[str] = ()) -> int:
    """How many turns `run` takes, for a progress bar."""
    return repeat * sum(1 for kind in KINDS if not kinds or kind.name in kinds or kind.name == "underlay")


@contextlib.contextmanager
def _up(kind: Kind, name: str, folder: Path) -> Iterator[Ends]:
    """The contender's network, with a server that waits."""
    own = folder / name
    own.mkdir()
    file = own / "lab.yaml"
    file.write_text(lab_file(name, kind))
    lab = Lab(file)
    engine = Engine(LinuxMachine())
    with contextlib.ExitStack() as stack:
        if kind.by_hand:
            script = own / "by-hand.sh"
            script.write_text(lab_script(lab))
            stack.callback(run_in, None, ["sh", str(script), "down"])
            run_in(None, ["sh", str(script), "up"], check=True)
        else:
            stack.callback(engine.down, name)
            engine.up(lab)
        if kind.backend is None:
            ends = Ends(f"{name}.n1", f"{name}.n2", "10.168.0.3")
        else:
            ends = Ends(f"{name}.c1", f"{name}.c2", "10.244.2.2")
        stack.enter_context(_server(ends.server, own / "iperf3.log"))
        # the first packet pays for ARP, and tells whether there is a way at all
        run_in(ends.client, ["ping", "-c", "3", "-i", "0.2", "-W", "2", ends.address], check=True)
        yield ends


@contextlib.contextmanager
def _server(where: str, log: Path) -> Iterator[None]:
    try:
        pid = processes.spawn(["iperf3", "-s"], netns=where, log=log)
    except KernelError as e:
        if e.errno_ == 2:
            raise missing("iperf3") from e
        raise
    identity = processes.identify(pid)
    try:
        yield
    finally:
        if identity:
            processes.stop([identity])


def _turn(ends: Ends, seconds: float) -> dict[str, float]:
    """One measurement of everything."""

    def iperf(*options: str) -> dict[str, Any]:
        argv = ["iperf3", "-c", ends.address, "-t", f"{seconds:g}", "-J", "--connect-timeout", "5000", *options]
        until = time.monotonic() + _BUSY
        while True:
            done = run_in(ends.client, argv, timeout=seconds + 30)
            answer: dict[str, Any] = json.loads(done.stdout or "{}")
            said = str(answer.get("error"))
            if not any(words in said for words in _NOT_YET) or time.monotonic() > until:
                break
            time.sleep(0.1)
        if done.returncode or "end" not in answer or "error" in answer:
            raise KernelError(f"iperf3 to {ends.address}: {answer.get('error') or done.stderr.strip()}")
        end: dict[str, Any] = answer["end"]
        return end

    small = iperf("-u", "-b", "0", "-l", str(SMALL))["sum"]
    return {
        "tcp": iperf()["sum_received"]["bits_per_second"],
        "tcp8": iperf("-P", "8")["sum_received"]["bits_per_second"],
        "small": (small["packets"] - small["lost_packets"]) / small["seconds"],
        "rtt": _round_trip(ends),
    }


def _round_trip(ends: Ends) -> float:
    """The median of some pings, in microseconds."""
    argv = ["ping", "-i", str(PING_GAP), "-c", str(PINGS), ends.address]
    times = re.findall(r"time=([\d.]+) ms", run_in(ends.client, argv, check=True).stdout)
    return statistics.median(map(float, times)) * 1000


def plot(report: Report, path: Path) -> None:
    """Bars, one picture per metric, as ratios to the underlay. MachineError if matplotlib is not installed."""
    from netlab.daemons.plots import bars

    bars(
        path,
        f"flannel's backends beside their underlay, median of {report.repeat}",
        {title: {name: figures[metric].median * scale for name, figures in report.figures.items() if metric in figures}
         for metric, (title, _, scale) in METRICS.items()},
        {title: unit for title, unit, _ in METRICS.values()},
    )  # fmt: skip
