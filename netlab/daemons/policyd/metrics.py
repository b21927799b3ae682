"""The policy agent's figures in the text format of Prometheus: what it does, and what each rule has met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from netlab.daemons.policyd.programme import Figure

_FAMILIES = {
    "allowed": ("Packets that a rule of a policy allowed (the first of each connection)", ("namespace", "policy")),
    "dropped": ("Packets that no policy allowed, at the door of an isolated pod", ("namespace", "pod")),
    "held": ("Packets from or to an address whose pod is not known yet", ()),
}


class Figures:
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.seconds = Histogram(
            "netlab_policy_sync_duration_seconds", "From a change to the kernel that holds it", registry=registry,
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
        )  # fmt: skip
        self.operations = Counter("netlab_policy_operations", "Operations on the kernel", registry=registry)
        self.repairs = Counter("netlab_policy_repairs", "Operations that mended what was spoilt", registry=registry)
        self.failures = Counter("netlab_policy_failures", "Syncs that the kernel refused", registry=registry)
        self.policies = Gauge("netlab_policy_policies", "Policies that are known", registry=registry)
        self.problems = Gauge("netlab_policy_problems", "What is not as its objects ask for", registry=registry)

    def page(self, figures: Iterable[Figure]) -> bytes:
        """All of it. figures: of the rules."""
        rules = CollectorRegistry()
        rules.register(_Rules(figures))
        return generate_latest(self._registry) + generate_latest(rules)


class _Rules(Collector):
    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = list(figures)

    def collect(self) -> Iterator[CounterMetricFamily]:
        for what, (about, named) in _FAMILIES.items():
            more = ("direction", *(("rule",) if what == "allowed" else ())) if named else ()
            family = CounterMetricFamily(f"netlab_policy_{what}_packets", about, labels=(*named, *more, "family"))
            for f in self._figures:
                if f.what == what:
                    values = (f.namespace, f.name, f.direction, *((f.rule,) if what == "allowed" else ()))
                    family.add_metric([*(values if named else ()), str(f.family)], f.packets)
            yield family
