"""flanneld's figures in the text format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class DataPath(Protocol):
    """What a data path counts."""

    def samples(self) -> Iterable[tuple[str, dict[str, str], int]]:
        """(what, labels, count): packets and bytes by direction, drops by direction and reason, both by peer."""


@dataclass(slots=True)
class Figures:
    """What the agent counts."""

    leases: int = 0
    refused: int = 0
    #: operations on the kernel that a change of the leases took, and that mended what somebody had spoilt
    operations: int = 0
    repairs: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    store_errors: int = 0
    lease_expires: float | None = None
    started: float = field(default_factory=time.time)


_HELP = {
    "packets": "Packets carried by the udp backend",
    "bytes": "Bytes of inner packets carried by the udp backend",
    "drops": "Packets that the udp backend dropped",
}


class _Collector(Collector):
    def __init__(self, figures: Figures) -> None:
        self.figures = figures

    def collect(self) -> Iterator[Metric]:
        f = self.figures
        yield GaugeMetricFamily("flannel_leases", "Leases of other nodes that this node has routes for", value=f.leases)
        yield GaugeMetricFamily("flannel_leases_refused", "Leases that make no sense to this node", value=f.refused)
        counts = (
            ("flannel_kernel_operations", "Changes of the kernel's tables for changed leases", f.operations),
            ("flannel_kernel_repairs", "Changes that mended what was not as it should be", f.repairs),
            ("flannel_syncs", "Times that the leases were turned into the network", f.syncs),
            ("flannel_sync_seconds", "Seconds that this took", f.sync_seconds),
            ("flannel_store_errors", "Times that the subnet store did not answer", f.store_errors),
        )
        for name, text, value in counts:
            yield CounterMetricFamily(name, text, value=value)
        yield GaugeMetricFamily("flannel_start_time_seconds", "When this flanneld started", value=f.started)
        if f.lease_expires is not None:
            yield GaugeMetricFamily("flannel_lease_expiry_seconds", "When the own lease ends", value=f.lease_expires)


def _carried(path: DataPath) -> Iterator[str]:
    """The data path's counters, line by line. With a thousand peers prometheus_client takes a fifth of a second for
    them, in which no packet would be carried; this takes a tenth of that."""
    families: dict[tuple[str, ...], list[str]] = {}
    for what, labels, count in path.samples():
        lines = families.get((what, *labels))
        name = f"flannel_udp{'_peer' if 'peer' in labels else ''}_{what}"
        if lines is None:
            about = f"# HELP {name}_total {_HELP.get(what, what)}\n# TYPE {name}_total counter\n"
            lines = families[(what, *labels)] = [about]
        listed = ",".join([f'{label}="{value}"' for label, value in labels.items()])
        lines.append(f"{name}_total{{{listed}}} {count}\n" if listed else f"{name}_total {count}\n")
    for lines in families.values():
        yield from lines


def text(figures: Figures, path: DataPath | None) -> bytes:
    """All of it as a page."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    page = generate_latest(registry)
    return page + "".join(_carried(path)).encode() if path is not None else page
