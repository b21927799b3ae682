"""The custom controller of the text: a Network (samplecrd.k8s.io/v1) becomes a real one on the node where this runs.

What a Network means is `netlab.compile.networks`; it is made by whoever is handed in as `Node`. All Networks are one
value: whichever of them changed, the whole is applied, so that what is not asked for any more goes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.compile.networks import Verdict, networks
from netlab.controllers.shape import Tools, Watch, own_key
from netlab.model import HostState

NETWORKS = Resource("samplecrd.k8s.io/v1", "networks")
OWNER = "crd-network"


class Node(Protocol):
    """The node's kernel."""

    def apply(self, wanted: HostState) -> None:
        """Make it so. KernelError."""


class Networks:
    """Keys are those of Networks."""

    NAME = "network-controller"

    def __init__(self, tools: Tools, node: Node) -> None:
        self._client, self._says, self._now, self._node = tools.client, tools.says, tools.now, node
        self._networks = tools.store(Interest(NETWORKS))
        self.WATCHES = (Watch(Interest(NETWORKS), self._all),)

    def _all(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Every Network: one that goes may leave its addresses to another."""
        return {*own_key(old, new), *(key_of(network) for network in self._networks)}

    async def reconcile(self, key: str) -> float | None:
        """Make all of them real, and say of this one what became of it."""
        state, verdicts = networks(self._networks, owner=OWNER)
        self._node.apply(state)
        network, verdict = self._networks.get(key), verdicts.get(key)
        if network is not None and verdict is not None:
            await self._tell(key, network, verdict)
        return None

    async def _tell(self, key: str, network: Object, verdict: Verdict) -> None:
        before = network.get("status") or {}
        was: Object = next((c for c in before.get("conditions") or () if c.get("type") == "Ready"), {})
        status = "True" if verdict.bridge else "False"
        now = times.seconds(self._now())
        since = was.get("lastTransitionTime", now) if was.get("status") == status else now
        ready = {"type": "Ready", "status": status, "lastTransitionTime": since, "reason": verdict.reason,
                 "message": verdict.message}  # fmt: skip
        after = {**({"bridge": verdict.bridge} if verdict.bridge else {}), "conditions": [ready]}
        if after == before:
            return
        body = {"status": {"bridge": None, **after}}
        try:
            await self._client.patch(NETWORKS.at(key, "status"), body)
        except ApiError as e:
            if e.code != 404:
                raise
            # as the text defines the kind, it has no subresource: its status is a field like the others
            await self._client.patch(NETWORKS.at(key), body)
        if verdict.bridge:
            self._says.normal(network, verdict.reason, verdict.message)
        else:
            self._says.warning(network, verdict.reason, verdict.message)
