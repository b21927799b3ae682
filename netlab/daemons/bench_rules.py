"""`netlab bench rules`: Services and policies compiled and put into a kernel, beside the floor: the same rules by hand.

Each mode and size is a process of its own (`python -m netlab.daemons.bench_rules`), so that its memory is its own. It
makes its objects as an informer would deliver them (plain dicts), compiles them, and hands them to namespaces that it
makes and removes. The floor is the bare tool fed with the very text that we would feed it, in a namespace beside ours.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import orjson

from netlab.base.errors import KernelError
from netlab.compile.objects import EndpointSlice, Objects, Service
from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyCompiler, PolicyConfig
from netlab.compile.proxier import Step
from netlab.compile.proxying import ProxyConfig
from netlab.compile.services_iptables import IptablesProxier
from netlab.compile.services_ipvs import IpvsProxier
from netlab.compile.services_nft import NftProxier
from netlab.daemons.bench import Target, at_most, machine
from netlab.daemons.bench_connections import Road
from netlab.daemons.bench_floors import MODES, TIMEOUT, by_hand, timed
from netlab.kernel import ipvs, netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger, MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.measure import measured

ENDPOINTS = 10
#: all endpoints' addresses, and the port at which they answer
PODS, PORT = "10.128.0.0/9", 8080
#: what every kernel can do
USUAL = tuple(mode for mode in MODES if mode != "ipvs")
#: above it a first load takes minutes: in nftables with a map per Service, and by the bare iptables-nft
LOAD_MAX = 2000
#: the issue's promises
COMPILE_MAX, CHANGE_MAX, FLOOR_RATIO, RSS_MAX = 1.5, 0.005, 1.3, 500e6
NFT_LOAD, NFT_CHANGE, IPVS_CHANGE = 10.0, 0.02, 0.02


@dataclass(frozen=True, slots=True)
class Row:
    """One mode at one size; medians. Seconds but for rss (bytes).

    parse: dicts to values; compile: values to items; change: one endpoint compiled; apply: items to kernel; one: that
    change to kernel; *_floor: the bare tool with the same text; rate: connections a second to Services by chance;
    first: until one of them stands; tail: the same of the slowest hundredth; rate_floor, first_floor: straight to
    endpoints, on a node without rules. None where it was not measured, which `note` explains.
    """

    mode: str
    services: int
    parse: float
    compile: float
    change: float
    apply: float | None
    apply_floor: float | None
    one: float | None
    one_floor: float | None
    rate: float | None
    rate_floor: float | None
    first: float | None
    first_floor: float | None
    tail: float | None
    rss: int
    items: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """Policies over pods of one node: compile, apply, one pod more; seconds; rss in bytes."""

    policies: int
    pods: int
    compile: float
    change: float
    apply: float
    one: float
    rss: int
    items: int


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of a run."""

    repeat: int
    rows: list[Row]
    policies: list[PolicyRow]
    machine: dict[str, Any]

    def targets(self) -> list[Target]:
        """The promises that this run can judge."""
        found: list[Target] = []
        for row in self.rows:
            what = f"{row.services} Services, {row.mode}"
            if row.apply is not None and row.apply_floor and row.mode == "iptables-legacy":
                ratio = (row.compile + row.apply) / row.apply_floor
                found.append(at_most(f"{what}: compiled and applied / floor", ratio, FLOOR_RATIO))
            if row.services == 10_000:
                found.append(at_most(f"{what}: compile (s)", row.compile, COMPILE_MAX))
                found.append(at_most(f"{what}: one change compiled (s)", row.change, CHANGE_MAX))
                found.append(at_most(f"{what}: memory (MB)", row.rss / 1e6, RSS_MAX / 1e6))
                if row.mode == "ipvs" and row.one is not None:
                    found.append(at_most(f"{what}: one endpoint applied (s)", row.one, IPVS_CHANGE))
                if row.mode == "nftables-direct" and row.apply is not None and row.one is not None:
                    found.append(at_most(f"{what}: applied (s)", row.apply, NFT_LOAD))
                    found.append(at_most(f"{what}: one endpoint applied (s)", row.one, NFT_CHANGE))
        return found

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "repeat": self.repeat,
            "services": [{name: getattr(row, name) for name in row.__slots__} for row in self.rows],
            "policies": [{name: getattr(row, name) for name in row.__slots__} for row in self.policies],
            "targets": [{"what": t.what, "value": t.value, "limit": t.limit, "met": t.met} for t in self.targets()],
            "machine": self.machine,
        }


#: a panel of the plot: metric, title, unit, by how much it is to be multiplied
_PANELS = (
    ("compile", "compiled", "s", 1.0), ("apply", "put into the kernel", "s", 1.0),
    ("one", "one endpoint changed", "ms", 1000.0), ("rate", "connections through Services", "a second", 1.0),
    ("first", "until a connection stands", "µs", 1e6), ("rss", "memory", "MB", 1e-6),
)  # fmt: skip


def plot(report: Report, path: Path) -> None:
    """Bars, one picture per metric, each mode at each size. MachineError if matplotlib is not installed."""
    from netlab.daemons.plots import bars

    panels: dict[str, dict[str, float]] = {}
    for metric, title, _, scale in _PANELS:
        found = {f"{row.services} {row.mode}": getattr(row, metric) for row in report.rows}
        panel = {name: value * scale for name, value in found.items() if value is not None}
        floors = [row.rate_floor if metric == "rate" else row.first_floor for row in report.rows]
        if metric in ("rate", "first") and (known := [value for value in floors if value is not None]):
            panel["no rules at all"] = statistics.median(known) * scale
        if panel:
            panels[title] = panel
    title = f"Services of {ENDPOINTS} endpoints each, median of {report.repeat}"
    bars(path, title, panels, {title: unit for _, title, unit, _ in _PANELS})


def run(
    sizes: Sequence[int],
    policies: Sequence[int],
    modes: Sequence[str],
    repeat: int,
    *,
    slow: bool = False,
    tell: Callable[[str, int], None] | None = None,
) -> Report:
    """Measure. slow: load what takes minutes, too. KernelError if a measurement fails; MachineError without IPVS, if it
    is to be measured."""
    netns.require_root()
    if "ipvs" in modes:
        with _namespace("probe") as where:
            ipvs.read(where)
    tell = tell or (lambda _what, _done: None)
    rows, policy_rows = [], []
    for size in sizes:
        for mode in modes:
            tell(f"{size} {mode}", 0)
            rows.append(Row(**_child("services", mode, str(size), str(repeat), str(int(slow)))))
            tell(f"{size} {mode}", 1)
    for count in policies:
        tell(f"{count} policies", 0)
        policy_rows.append(PolicyRow(**_child("policies", str(count), str(2 * count), str(repeat))))
        tell(f"{count} policies", 1)
    return Report(repeat, rows, policy_rows, machine())


def _child(*words: str) -> dict[str, Any]:
    done = measured([sys.executable, "-m", "netlab.daemons.bench_rules", *words], timeout=4 * TIMEOUT)
    last = done.output.strip().rpartition("\n")[2]
    if done.returncode != 0 or not last.startswith("{"):
        raise KernelError(f"the measurement of {' '.join(words)} failed: {done.output.strip()[-2000:]}")
    found: dict[str, Any] = orjson.loads(last)
    return found


# -- the child process


def service_objects(count: int) -> list[dict[str, Any]]:
    """Services of ten endpoints each, as an informer delivers them."""
    found: list[dict[str, Any]] = []
    for i in range(count):
        labels = {"kubernetes.io/service-name": f"svc-{i}"}
        endpoints = [
            {
                "addresses": [f"10.{128 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"n{n % 100}",
            }
            for n in range(i * ENDPOINTS, (i + 1) * ENDPOINTS)
        ]
        found.append(
            {
                "kind": "Service",
                "metadata": {"namespace": "bench", "name": f"svc-{i}"},
                "spec": {
                    "clusterIP": f"10.{96 + (i >> 16)}.{i >> 8 & 255}.{i & 255}",
                    "ports": [{"name": "http", "port": 80, "targetPort": PORT}],
                },
            }
        )
        found.append(
            {
                "kind": "EndpointSlice",
                "addressType": "IPv4",
                "metadata": {"namespace": "bench", "name": f"svc-{i}-0", "labels": labels},
                "ports": [{"name": "http", "protocol": "TCP", "port": PORT}],
                "endpoints": endpoints,
            }
        )
    return found


def policy_objects(policies: int, pods: int) -> list[dict[str, Any]]:
    """Policies over pods in namespaces of twenty, every pod on one node, every policy for two of them."""
    found: list[dict[str, Any]] = [{"kind": "Node", "metadata": {"name": "n1"}}]
    for i in range(pods):
        labels = {"app": f"app-{i % 20 // 2}", "n": str(i)}
        ip = f"10.{128 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"
        found.append(
            {
                "kind": "Pod",
                "metadata": {"namespace": f"ns-{i // 20}", "name": f"pod-{i}", "labels": labels},
                "spec": {"nodeName": "n1"},
                "status": {"phase": "Running", "podIP": ip},
            }
        )
    for i in range(policies):
        rule = {
            "from": [
                {"podSelector": {"matchLabels": {"app": f"app-{(i + 1) % 10}"}}},
                {"ipBlock": {"cidr": "10.0.0.0/8"}},
            ],
            "ports": [{"port": 80}, {"port": 443}],
        }
        found.append(
            {
                "kind": "NetworkPolicy",
                "metadata": {"namespace": f"ns-{i // 10}", "name": f"policy-{i}"},
                "spec": {"podSelector": {"matchLabels": {"app": f"app-{i % 10}"}}, "ingress": [rule]},
            }
        )
    return found


@contextlib.contextmanager
def _namespace(word: str) -> Iterator[str]:
    name = f"bench-rules-{os.getpid()}.{word}"
    netns.prepare()
    os.close(netns.create(name))
    try:
        yield name
    finally:
        netns.delete(name)


def _load(proxier: Any, parsed: Objects) -> Step:
    """Compile a cluster: a proxier, or a compiler of policies."""
    proxier.load(parsed)
    step: Step = proxier.step()
    return step


def _first_sync(kernel: DaemonKernel, where: str, proxier: Any) -> None:
    kernel.apply(where, "bench", proxier.state())


def _change(proxier: Any, service: Service, one: EndpointSlice) -> Step:
    """One Service's endpoints are others."""
    proxier.put(service.key, service, (one,))
    step: Step = proxier.step()
    return step


def _services(mode: str, count: int, repeat: int, slow: bool) -> dict[str, Any]:
    data = service_objects(count)
    parse, parsed = timed(objects, data)
    choice: Literal["map", "direct"] = "direct" if mode == "nftables-direct" else "map"
    config = ProxyConfig(node="n1", cluster_cidrs=(PODS,), choice=choice)
    kind = IpvsProxier if mode == "ipvs" else NftProxier if mode.startswith("nftables") else IptablesProxier
    figures: dict[str, list[float]] = {
        name: []
        for name in (
            "compile", "change", "apply", "apply_floor", "one", "one_floor", "rate", "rate_floor", "first",
            "first_floor", "tail",
        )
    }  # fmt: skip
    places = [(service.cluster_ips[0], 80) for service in parsed.services]
    endpoints = [(e.address, PORT) for one in parsed.slices for e in one.endpoints]
    gc.collect()
    items, note = 0, ""
    load = mode != "nftables" or count <= LOAD_MAX or slow
    floors = load and (mode != "iptables-nft" or count <= LOAD_MAX or slow)
    if load and not floors:
        note = "the bare tool takes minutes for this size: --slow measures it"
    for _ in range(repeat):
        proxier = kind(config, 4)

        seconds, whole = timed(_load, proxier, parsed)
        figures["compile"].append(seconds)
        items = len(whole.new)
        with contextlib.ExitStack() as stack:
            ours, floor = (stack.enter_context(_namespace(word)) for word in ("ours", "floor"))
            claims = Path(stack.enter_context(TemporaryDirectory()), "claims")
            kernel = DaemonKernel(LinuxBackend(iptables=MODES[mode][0]), FileLedger(claims))
            if mode == "ipvs":
                for name in (ours, floor):
                    ipvs.read(name)  # which brings the module, and with it the sysctls
            if load:
                road = stack.enter_context(Road(ours, PODS).built())
                bare = road.measure(endpoints, PORT)
                # the agent's first sync: it reads what is there, notes what will be its own, and puts it there
                figures["apply"].append(timed(_first_sync, kernel, ours, proxier)[0])
                if floors:
                    figures["apply_floor"].append(by_hand(floor, mode, whole))
                speed = road.measure(places, PORT)
                found = {"rate": speed.rate, "first": speed.first, "tail": speed.tail}
                for name, value in {**found, "rate_floor": bare.rate, "first_floor": bare.first}.items():
                    figures[name].append(value)
            else:
                note = "a first load of this size takes minutes: --slow measures it"
            for turn in range(5):
                service, first = parsed.services[turn], parsed.slices[turn]
                changed = replace(first, endpoints=first.endpoints[1:])

                seconds, step = timed(_change, proxier, service, changed)
                figures["change"].append(seconds)
                if load:
                    figures["one"].append(timed(kernel.step, ours, "bench", step.gone, step.new)[0])
                    if floors:
                        figures["one_floor"].append(by_hand(floor, mode, step))
        del proxier, whole
        gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    medians = {name: statistics.median(values) if values else None for name, values in figures.items()}
    return {
        "mode": mode,
        "services": count,
        "parse": parse,
        **medians,
        "rss": peak * 1024,
        "items": items,
        "note": note,
    }


def _policies(count: int, pods: int, repeat: int) -> dict[str, Any]:
    data = policy_objects(count, pods)
    parsed = objects(data)
    figures: dict[str, list[float]] = {name: [] for name in ("compile", "change", "apply", "one")}
    items = 0
    for _ in range(repeat):
        compiler = PolicyCompiler(PolicyConfig(node="n1"), 4)

        seconds, whole = timed(_load, compiler, parsed)
        figures["compile"].append(seconds)
        items = len(whole.new)
        less = replace(parsed, pods=parsed.pods[1:])
        seconds, step = timed(_load, compiler, less)
        figures["change"].append(seconds)
        with _namespace("ours") as ours:
            kernel = DaemonKernel(LinuxBackend(iptables="legacy"), MemoryLedger())
            figures["apply"].append(timed(kernel.step, ours, "bench", whole.gone, whole.new)[0])
            figures["one"].append(timed(kernel.step, ours, "bench", step.gone, step.new)[0])
    medians = {name: statistics.median(values) for name, values in figures.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"policies": count, "pods": pods, **medians, "rss": peak, "items": items}


def _main(words: Sequence[str]) -> None:
    # as the proxy would be run: a hundred thousand values that live on are not worth looking through again and again
    gc.set_threshold(200_000, 20, 100)
    if words[0] == "services":
        found = _services(words[1], int(words[2]), int(words[3]), words[4] == "1")
    else:
        found = _policies(int(words[1]), int(words[2]), int(words[3]))
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
