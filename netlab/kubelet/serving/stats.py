"""What the node, its pods and its containers use, as Prometheus, metrics servers and the summary API ask for it.

A sample is taken when somebody asks, out of the control groups and each pod's network devices; nothing is kept.
Source: kubernetes pkg/kubelet/metrics/collectors/resource_metrics.go, cadvisor's names, stats/v1alpha1.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from netlab.api import Json, times
from netlab.base.aio import in_thread
from netlab.kernel.cgroups import Usage
from netlab.kubelet.serving import Pods
from netlab.runtime.containers import NoContainer, Runtime, Status

NAMESPACE, POD, UID = "io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.pod.uid"
CONTAINER = "io.kubernetes.container.name"
#: how the original names the container that holds a pod's namespaces
INFRA = "POD"


@dataclass(frozen=True, slots=True)
class Container:
    """One that runs. name: in its pod, INFRA of the sandbox."""

    pod: tuple[str, str]
    name: str
    status: Status
    usage: Usage


@dataclass(frozen=True, slots=True)
class Device:
    """What a network device of a pod has carried."""

    name: str
    received: int
    received_packets: int
    sent: int
    sent_packets: int


@dataclass(frozen=True, slots=True)
class Sample:
    """when: seconds since 1970; devices: by the pod's namespace and name."""

    node: str
    when: float
    total: Usage
    pods: Sequence[Json]
    containers: Sequence[Container]
    devices: dict[tuple[str, str], list[Device]] = field(default_factory=dict)

    def of_pods(self) -> dict[tuple[str, str], Usage]:
        """Sums over each pod's containers."""
        found: dict[tuple[str, str], list[Usage]] = defaultdict(list)
        for each in self.containers:
            found[each.pod].append(each.usage)
        return {pod: total(usages) for pod, usages in found.items()}


def total(usages: Iterable[Usage]) -> Usage:
    """Their sum."""
    cpu = memory = pids = kills = working = 0
    for u in usages:
        cpu, memory, pids = cpu + u.cpu, memory + u.memory, pids + u.pids
        kills, working = kills + u.oom_kills, working + u.working_set
    return Usage(cpu, memory, pids, kills, working)


def devices(text: str) -> list[Device]:
    """/proc/PID/net/dev, without lo."""
    found = []
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) >= 16 and name.strip() != "lo" and all(w.isdecimal() for w in words):
            found.append(Device(name.strip(), *(int(words[i]) for i in (0, 1, 8, 9))))
    return found


def _sample(runtime: Runtime, node: str, pods: Sequence[Json], usage: Callable[[], Usage]) -> Sample:
    containers, carried = [], dict[tuple[str, str], list[Device]]()
    for status in runtime.all():
        labels = status.labels
        if status.state != "running" or not labels.get(POD):
            continue
        pod = (labels.get(NAMESPACE, ""), labels[POD])
        with contextlib.suppress(NoContainer):
            containers.append(Container(pod, labels.get(CONTAINER) or INFRA, status, runtime.usage(status.id)))
        if pod not in carried:
            with contextlib.suppress(OSError):
                carried[pod] = devices(Path(f"/proc/{status.pid}/net/dev").read_text())
    return Sample(node, time.time(), usage(), pods, containers, carried)


async def sampled(pods: Pods) -> Sample:
    """A sample of now."""
    return await in_thread(_sample, pods.runtime, pods.node, list(pods.all()), pods.usage)


async def measured(pods: Pods, page: Callable[[Sample], bytes]) -> bytes:
    """A page about now."""
    found = await sampled(pods)
    return await in_thread(page, found)


class _Once(Collector):
    """Hands over what it was given."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def _page(metrics: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(metrics))
    return generate_latest(registry)


def resource(sample: Sample) -> bytes:
    """/metrics/resource: what `kubectl top` is made of."""
    place, at = ("container", "pod", "namespace"), sample.when
    node_cpu = CounterMetricFamily("node_cpu_usage_seconds", "Processor time of the node.")
    node_cpu.add_metric([], sample.total.cpu / 1e9, timestamp=at)
    node_memory = GaugeMetricFamily("node_memory_working_set_bytes", "Working set of the node.")
    node_memory.add_metric([], sample.total.working_set, timestamp=at)
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Processor time of a container.", labels=place)
    memory = GaugeMetricFamily("container_memory_working_set_bytes", "Working set of a container.", labels=place)
    start = GaugeMetricFamily("container_start_time_seconds", "When a container started.", labels=place)
    for each in sample.containers:
        if each.name != INFRA:
            labels = [each.name, each.pod[1], each.pod[0]]
            cpu.add_metric(labels, each.usage.cpu / 1e9, timestamp=at)
            memory.add_metric(labels, each.usage.working_set, timestamp=at)
            start.add_metric(labels, each.status.started, timestamp=at)
    pod_cpu = CounterMetricFamily("pod_cpu_usage_seconds", "Processor time of a pod.", labels=place[1:])
    pod_memory = GaugeMetricFamily("pod_memory_working_set_bytes", "Working set of a pod.", labels=place[1:])
    for (namespace, pod), usage in sample.of_pods().items():
        pod_cpu.add_metric([pod, namespace], usage.cpu / 1e9, timestamp=at)
        pod_memory.add_metric([pod, namespace], usage.working_set, timestamp=at)
    wrong = GaugeMetricFamily("resource_scrape_error", "1 if a sample could not be taken.")
    wrong.add_metric([], 0)
    return _page([cpu, memory, start, node_cpu, node_memory, pod_cpu, pod_memory, wrong])


def cadvisor(sample: Sample) -> bytes:
    """/metrics/cadvisor: by cadvisor's names and labels, as far as control groups and devices tell."""
    labels = ("container", "id", "image", "name", "namespace", "pod")
    gauges: dict[str, tuple[str, Callable[[Container], float]]] = {
        "container_memory_usage_bytes": ("Memory, file cache included.", lambda c: c.usage.memory),
        "container_memory_working_set_bytes": ("Memory without inactive files.", lambda c: c.usage.working_set),
        "container_threads": ("Processes and threads.", lambda c: c.usage.pids),
        "container_start_time_seconds": ("When it started.", lambda c: c.status.started),
        "container_last_seen": ("When it was seen.", lambda _: sample.when),
    }
    found: list[Metric] = []
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Processor time.", labels=[*labels, "cpu"])
    kills = CounterMetricFamily("container_oom_events", "Processes killed for memory.", labels=labels)
    for each in sample.containers:
        values = _labels(each)
        cpu.add_metric([*values, "total"], each.usage.cpu / 1e9)
        kills.add_metric(values, each.usage.oom_kills)
    found += [cpu, kills]
    for name, (text, value) in gauges.items():
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for each in sample.containers:
            gauge.add_metric(_labels(each), value(each))
        found.append(gauge)
    carried: dict[str, Callable[[Device], int]] = {
        "receive_bytes": lambda d: d.received, "receive_packets": lambda d: d.received_packets,
        "transmit_bytes": lambda d: d.sent, "transmit_packets": lambda d: d.sent_packets,
    }  # fmt: skip
    for what, count in carried.items():
        counter = CounterMetricFamily(
            f"container_network_{what}", f"Network: {what.replace('_', ' ')}.", labels=["interface", "namespace", "pod"]
        )
        for (namespace, pod), listed in sample.devices.items():
            for device in listed:
                counter.add_metric([device.name, namespace, pod], count(device))
        found.append(counter)
    found.append(GaugeMetricFamily("machine_cpu_cores", "Processors.", value=os.cpu_count() or 1))
    return _page(found)


def _labels(each: Container) -> list[str]:
    name = "" if each.name == INFRA else each.name
    return [name, f"/{each.status.id}", each.status.image, each.status.id, *each.pod]


def own(sample: Sample) -> bytes:
    """/metrics: of the kubelet itself."""
    node = GaugeMetricFamily("kubelet_node_name", "The node's name.", labels=["node"])
    node.add_metric([sample.node], 1)
    running = len({c.pod for c in sample.containers})
    pods = GaugeMetricFamily("kubelet_running_pods", "Pods with a container that runs.", value=running)
    containers = GaugeMetricFamily("kubelet_running_containers", "Containers.", labels=["container_state"])
    containers.add_metric(["running"], sum(c.name != INFRA for c in sample.containers))
    used = os.times()
    cpu = CounterMetricFamily("process_cpu_seconds", "Processor time of this process.", value=used.user + used.system)
    return _page([node, pods, containers, cpu])


def summary(sample: Sample) -> bytes:
    """/stats/summary."""
    at = times.seconds(sample.when)

    def used(usage: Usage) -> Json:
        return {
            "cpu": {"time": at, "usageCoreNanoSeconds": usage.cpu},
            "memory": {"time": at, "usageBytes": usage.memory, "workingSetBytes": usage.working_set},
        }

    uids = {(p["metadata"].get("namespace", ""), p["metadata"]["name"]): p["metadata"].get("uid", "")
            for p in sample.pods}  # fmt: skip
    pods = []
    for (namespace, name), usage in sorted(sample.of_pods().items()):
        inside = [c for c in sample.containers if c.pod == (namespace, name)]
        carried = [
            {"name": d.name, "rxBytes": d.received, "txBytes": d.sent}
            for d in sample.devices.get((namespace, name), ())
        ]
        pods.append({
            "podRef": {"name": name, "namespace": namespace, "uid": uids.get((namespace, name), "")},
            "startTime": times.seconds(min(c.status.started for c in inside)),
            "containers": [
                {"name": c.name, "startTime": times.seconds(c.status.started), **used(c.usage)}
                for c in inside if c.name != INFRA
            ],
            **used(usage), "process_stats": {"process_count": usage.pids},
            **({"network": {"time": at, **carried[0], "interfaces": carried}} if carried else {}),
        })  # fmt: skip
    return orjson.dumps({"node": {"nodeName": sample.node, **used(sample.total)}, "pods": pods})
