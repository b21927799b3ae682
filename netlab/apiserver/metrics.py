"""Counters of requests, and the page of them (Prometheus)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from netlab.apiserver.call import Call


class Metrics:
    """One server's figures, by the original's names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("verb", "group", "version", "resource", "subresource", "code")
        self._requests = Counter("apiserver_request", "Requests.", labels, registry=self.registry)
        self._seconds = Histogram(
            "apiserver_request_duration_seconds", "Seconds of requests, watches left out.", ("verb", "resource"),
            buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30), registry=self.registry,
        )  # fmt: skip
        self._inflight = Gauge("apiserver_current_inflight_requests", "Requests under way.", registry=self.registry)
        self._watches = Gauge("apiserver_longrunning_requests", "Watches under way.", registry=self.registry)
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._timers: dict[tuple[str, str], Histogram] = {}

    def started(self, call: Call) -> None:
        """A request begins."""
        (self._watches if call.info.verb == "watch" else self._inflight).inc()

    def ended(self, call: Call, code: int, seconds: float, *, known: bool) -> None:
        """A request ended. known: its resource is served; others share one series, for clients make up names."""
        info = call.info
        (self._watches if info.verb == "watch" else self._inflight).dec()
        resource = (info.group, info.version, info.plural, info.subresource) if known else ("", "", "", "")
        key = (info.verb, *resource, str(code))
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*key)
        counter.inc()
        if info.verb != "watch":
            pair = (info.verb, resource[2])
            timer = self._timers.get(pair)
            if timer is None:
                timer = self._timers[pair] = self._seconds.labels(*pair)
            timer.observe(seconds)

    def page(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
