"""The node in the API: registered, its status kept, its Lease renewed as the sign that the kubelet lives.

The status is looked at every 10 s and written when something in it has changed, else every 5 min; while the network is
not ready, twice a second. Source: kubernetes pkg/kubelet/kubelet_node_status.go, component-helpers/apimachinery/lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

from netlab.api import Json
from netlab.base.aio import first
from netlab.client.backoff import Backoff
from netlab.client.resources import Resource
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, ApiUnavailable, RestClient
from netlab.kubelet.needs import Clock, Says
from netlab.kubelet.node import Machine, Moment, conditions_told, cordon_told, fresh, labels, patch_of, status

log = logging.getLogger("kubelet")

NODES, LEASES = Resource("v1", "nodes"), Resource("coordination.k8s.io/v1", "leases")
LEASE_NAMESPACE = "kube-node-lease"
#: seconds that a Lease is good for, and how often it is renewed in that time
LEASE, RENEWALS = 40, 4
#: seconds after which the status is looked at, written at least, looked at while not ready
LOOK, REPORT, LOOK_SOON = 10.0, 300.0, 0.5


class Registration:
    """moment: how the node does now; lease: seconds that its Lease is good for; node: the object as it is known."""

    def __init__(
        self, client: RestClient, machine: Machine, moment: Callable[[], Awaitable[Moment]], says: Says, clock: Clock,
        *, lease: int = LEASE,
    ) -> None:  # fmt: skip
        self._seconds = lease
        self._client, self.machine, self._moment, self._says, self._clock = client, machine, moment, says, clock
        self.node: Json = fresh(machine)
        self.registered, self.wake = asyncio.Event(), asyncio.Event()
        self._written = 0.0
        #: nobody may have heard of us for a while, and others may have said so in the status
        self._unheard = False
        self._lease: Json | None = None

    async def run(self) -> None:
        """Until cancelled."""
        await self._persist(self._register)
        self.registered.set()
        self._says(self.node, "Starting", "Starting kubelet.")
        self._tell([*conditions_told({}, self.node["status"]), *cordon_told({}, self.node)])
        await first(self._statuses(), self._leases())

    def _tell(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self._says(self.node, reason, f"Node {self.machine.name} status is now: {reason}")

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Until the API takes it."""
        backoff = Backoff(first=0.2, last=7.0)
        while True:
            try:
                await work()
                return
            except (ApiError, ApiUnavailable) as e:
                log.warning("the node is not registered yet: %s", e)
                await self._clock.sleep(backoff.next())

    async def _register(self) -> None:
        name = self.machine.name
        wanted = {
            **fresh(self.machine),
            "status": status(self.machine, await self._moment(), self._clock.wall(), old={}),
        }
        try:
            self.node = await self._client.create(NODES.path(), wanted)
        except ApiError as e:
            if e.reason != "AlreadyExists" and e.code != 409:
                raise
            self.node = await self._client.get(NODES.path(None, name))
            have = self.node["metadata"].get("labels") or {}
            lacking = {k: v for k, v in labels(self.machine).items() if have.get(k) != v}
            if lacking:
                self.node = await self._client.patch(NODES.path(None, name), {"metadata": {"labels": lacking}})
        await self._look(report=True)

    # -- the status

    async def _statuses(self) -> None:
        while True:
            moment = await self._moment()
            wait = LOOK if moment.network is None else LOOK_SOON
            await self._clock.wait(self.wake, wait)
            self.wake.clear()
            due = self._unheard or self._clock.now() - self._written >= REPORT
            try:
                await self._look(report=due)
            except ApiError as e:
                if e.code == 404:  # somebody has deleted the node, which is there
                    await self._persist(self._register)
                else:
                    log.warning("the node's status is not taken: %s", e)
            except ApiUnavailable as e:
                log.info("the node's status waits: %s", e)

    async def _look(self, *, report: bool) -> None:
        """Write the status if it is another, or `report`."""
        old = self.node.get("status") or {}
        new = status(self.machine, await self._moment(), self._clock.wall(), old=old)
        patch = patch_of(old, new)
        if patch is None:
            if not report:
                return
            patch = {"conditions": new["conditions"]}
        elif "conditions" not in patch:
            patch["conditions"] = new["conditions"]
        path = NODES.path(None, self.machine.name, "status")
        self.node = await self._client.patch(path, {"status": patch}, kind=STRATEGIC_MERGE_PATCH)
        self._written, self._unheard = self._clock.now(), False
        if self.registered.is_set():
            self._tell(conditions_told(old, self.node["status"]))

    def seen(self, node: Json) -> None:
        """The object as somebody has left it: what others did to the status is made good at the next look."""
        old, self.node = self.node, node
        if self.registered.is_set():
            self._tell(cordon_told(old, node))

    # -- the Lease

    async def _leases(self) -> None:
        failed = False
        while True:
            try:
                await self._renew()
            except (ApiError, ApiUnavailable) as e:
                if not failed:
                    log.warning("the node's Lease is not renewed: %s", e)
                self._lease, failed = None, True
                await self._clock.sleep(1.0)
                continue
            if failed:
                failed, self._unheard = False, True
                self.wake.set()
            await self._clock.sleep(self._seconds / RENEWALS)

    async def _renew(self) -> None:
        name, stamp = (
            self.machine.name,
            datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        )
        spec = {"holderIdentity": name, "leaseDurationSeconds": self._seconds, "renewTime": stamp}
        if self._lease is not None:
            lease = {**self._lease, "spec": {**self._lease["spec"], **spec}}
            self._lease = await self._client.replace(LEASES.path(LEASE_NAMESPACE, name), lease)
            return
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.node["metadata"].get("uid", "")}
        wanted = {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec}
        try:
            self._lease = await self._client.create(LEASES.path(LEASE_NAMESPACE), wanted)
        except ApiError as e:
            if e.code != 409:
                raise
            self._lease = await self._client.get(LEASES.path(LEASE_NAMESPACE, name))
            await self._renew()
