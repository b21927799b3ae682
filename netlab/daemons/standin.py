"""In place of a kubelet: registers the node and renews its Lease, and runs nothing."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

from netlab.client.rest import MERGE_PATCH, ApiError, ApiUnavailable, RestClient, path


class StandIn:
    def __init__(self, client: RestClient, options: Any) -> None:
        self.client, self.options = client, options

    async def run(self, ready: Any) -> None:
        o = self.options
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        addresses = [{"type": "InternalIP", "address": ip} for ip in o.ips] + [{"type": "Hostname", "address": o.node}]
        node = {
            "metadata": {"name": o.node, "labels": {"kubernetes.io/hostname": o.node, **o.labels}},
            "spec": {
                "podCIDR": f"10.244.{int(o.ips[0].split('.')[-1]) - 2}.0/24",
                "podCIDRs": [f"10.244.{int(o.ips[0].split('.')[-1]) - 2}.0/24"],
                "taints": [dict(zip(("key", "value", "effect"), t, strict=True)) for t in o.taints],
            },
        }
        status = {"addresses": addresses, "conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
             "lastHeartbeatTime": stamp, "lastTransitionTime": stamp}],
            "capacity": {"cpu": str(os.cpu_count()), "memory": "4Gi", "pods": "110"},
            "allocatable": {"cpu": str(os.cpu_count()), "memory": "4Gi", "pods": "110"},
            "nodeInfo": {"kubeletVersion": "v1.33.0"}}  # fmt: skip
        while True:
            try:
                await self.client.create(path("v1", "nodes"), node)
                break
            except ApiError as e:
                if e.reason == "AlreadyExists":
                    break
                raise
            except ApiUnavailable:
                await asyncio.sleep(0.05)
        await self.client.patch(
            path("v1", "nodes", name=o.node, subresource="status"), {"status": status}, kind=MERGE_PATCH
        )
        ready()
        await asyncio.Event().wait()
