"""The proxy's figures in the text format of Prometheus, under kube-proxy's names where it has the figure."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: seconds: as kube-proxy's, from 1 ms to 16 s
_BUCKETS = tuple(0.001 * 2**n for n in range(15))


class Figures:
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def histogram(name: str, about: str) -> Histogram:
            return Histogram(f"kubeproxy_{name}", about, buckets=_BUCKETS, registry=self.registry)

        def counter(name: str, about: str) -> Counter:
            return Counter(f"kubeproxy_{name}", about, registry=self.registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"kubeproxy_{name}", about, registry=self.registry)

        self.sync = histogram("sync_proxy_rules_duration_seconds", "Seconds that a sync took")
        self.full = histogram("sync_full_proxy_rules_duration_seconds", "Seconds that a full sync took")
        self.partial = histogram("sync_partial_proxy_rules_duration_seconds", "Seconds that a partial sync took")
        self.changes = counter("sync_proxy_rules_service_changes", "Changes of Services and their endpoints")
        self.pending = gauge("sync_proxy_rules_service_changes_pending", "Changes that no sync has followed yet")
        self.failures = counter("sync_proxy_rules_failures", "Syncs that the kernel refused")
        self.repairs = counter("sync_proxy_rules_repairs", "Operations that mended what somebody had spoilt")
        self.operations = counter("sync_proxy_rules_operations", "Operations on the kernel")
        self.forgotten = counter("conntrack_deleted_entries", "Connections that led past the endpoints of a Service")
        self.services = gauge("services", "Services that are known")
        self.refused = gauge("services_refused", "Services that this kernel refuses")
        self.last = gauge("sync_proxy_rules_last_timestamp_seconds", "When the last sync succeeded")
        self.queued = gauge("sync_proxy_rules_last_queued_timestamp_seconds", "When the last sync was asked for")
        gauge("start_time_seconds", "When this proxy started").set(time.time())

    def page(self) -> bytes:
        """All of them."""
        return generate_latest(self.registry)
