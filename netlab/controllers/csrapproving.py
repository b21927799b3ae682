"""Certificate requests of kubelets that nobody has to look at: approved if RBAC says so.

A client certificate: its requester has to be allowed `certificatesigningrequests/selfnodeclient` (a node that renews
its own) or `nodeclient` (whoever brings a new node, with a bootstrap token). A serving certificate: its requester is
the node itself, and every name and address in it is one that its Node has, no other Node has, and the API server has
not. The original leaves the latter to a person, for a node says itself which addresses it has. Source: kubernetes
pkg/controller/certificates/approver.
"""

from __future__ import annotations

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers.certificates import (
    KUBELET_CLIENT,
    KUBELET_SERVING,
    NODE,
    Asked,
    RequestError,
    asked,
    check,
    condition,
)
from netlab.controllers.shape import NODES, Tools, Watch

REQUESTS = Resource("certificates.k8s.io/v1", "certificatesigningrequests")
REVIEWS = Resource("authorization.k8s.io/v1", "subjectaccessreviews")
ENDPOINTS = Resource("v1", "endpoints")


class CertificateApproval:
    """Keys are names of requests."""

    NAME = "certificatesigningrequest-approving-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._now = tools.client, tools.now
        self._requests = tools.store(Interest(REQUESTS))
        self.WATCHES = (Watch(Interest(REQUESTS)),)

    async def reconcile(self, key: str) -> float | None:
        """Approve it if that is for us to do."""
        obj = self._requests.get(key)
        if obj is None or condition(obj, "Approved") or condition(obj, "Denied"):
            return None
        signer = obj["spec"].get("signerName")
        if signer not in (KUBELET_CLIENT, KUBELET_SERVING):
            return None
        try:
            wants = asked(obj)
            check(signer, wants)
        except RequestError:
            return None  # a person may see more in it
        own = obj["spec"].get("username") == wants.common
        if signer == KUBELET_SERVING:
            if own and await self._its_own(wants):
                await self._approve(key, obj, "Auto approving kubelet serving certificate for addresses of its Node.")
        elif own and await self._allowed(obj, "selfnodeclient"):
            text = "Auto approving self kubelet client certificate after SubjectAccessReview."
            await self._approve(key, obj, text)
        elif await self._allowed(obj, "nodeclient"):
            await self._approve(key, obj, "Auto approving kubelet client certificate after SubjectAccessReview.")
        return None

    async def _allowed(self, obj: Object, subresource: str) -> bool:
        spec = obj["spec"]
        attributes = {"group": "certificates.k8s.io", "version": "*", "resource": "certificatesigningrequests",
                      "verb": "create", "subresource": subresource}  # fmt: skip
        who = {"user": spec.get("username", ""), "uid": spec.get("uid", ""), "groups": spec.get("groups") or [],
               "extra": spec.get("extra") or {}}  # fmt: skip
        review = await self._client.create(REVIEWS.path(), {"spec": {**who, "resourceAttributes": attributes}})
        return bool((review.get("status") or {}).get("allowed"))

    async def _its_own(self, wants: Asked) -> bool:
        names = {*wants.names, *map(str, wants.addresses)}
        server = await self._client.get(ENDPOINTS.path("default", "kubernetes"))
        taken = {a["ip"] for subset in server.get("subsets") or () for a in subset.get("addresses") or ()}
        mine: set[str] = set()
        for node in (await self._client.list(NODES.path()))["items"]:
            has = {a["address"] for a in (node.get("status") or {}).get("addresses") or ()}
            if NODE + node["metadata"]["name"] == wants.common:
                mine = has
            else:
                taken |= has
        return names <= mine and not names & taken

    async def _approve(self, key: str, obj: Object, message: str) -> None:
        stamp = times.seconds(self._now())
        approved = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message,
                    "lastUpdateTime": stamp, "lastTransitionTime": stamp}  # fmt: skip
        state = obj.get("status") or {}
        changed = {**obj, "status": {**state, "conditions": [*(state.get("conditions") or ()), approved]}}
        await self._client.replace(REQUESTS.at(key, "approval"), changed)
