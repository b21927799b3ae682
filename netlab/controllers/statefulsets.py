"""StatefulSets: numbered pods, each with its name, its claims and its turn. What is next is decided by `seats`.

Names are given and not made up, so nothing is made twice however late the caches are. Source: kubernetes
pkg/controller/statefulset.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import claim, ending, owner_key, phase, pod_of, ready_since, slow_start, write_status
from netlab.controllers.revisions import REVISIONS, note
from netlab.controllers.rollouts import template_hash
from netlab.controllers.seats import (
    REVISION,
    Shape,
    Step,
    claim_name,
    claim_owners,
    ordinal_of,
    revision_of,
    status_of,
    step,
)
from netlab.controllers.shape import LEAN_PODS, PODS, Tools, Watch

API, KIND = "apps/v1", "StatefulSet"
STATEFUL_SETS, CLAIMS = Resource(API, "statefulsets"), Resource("v1", "persistentvolumeclaims")
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
HASH = "controller.kubernetes.io/hash"


def numbered_pod(obj: Object, template: Object, number: int, revision: str) -> Object:
    """A pod of a set. template: of the revision."""
    name = f"{obj['metadata']['name']}-{number}"
    pod = copy.deepcopy(pod_of(template, obj, API, KIND))
    meta, spec = pod["metadata"], pod["spec"]
    del meta["generateName"]
    meta["name"] = name
    own = {POD_NAME: name, POD_INDEX: str(number), REVISION: revision}
    meta["labels"] = {**(meta.get("labels") or {}), **own}
    spec["hostname"] = name
    if obj["spec"].get("serviceName"):
        spec["subdomain"] = obj["spec"]["serviceName"]
    templates = obj["spec"].get("volumeClaimTemplates") or ()
    claims = [
        {"name": t["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim_name(t, name)}} for t in templates
    ]
    taken = {volume["name"] for volume in claims}
    volumes = [*claims, *(v for v in spec.get("volumes") or () if v["name"] not in taken)]
    if volumes:
        spec["volumes"] = volumes
    return pod


def claim_of(obj: Object, template: Object, pod: str) -> Object:
    """The claim of a pod by one of the set's templates."""
    meta = template["metadata"]
    labels = {**(meta.get("labels") or {}), **((obj["spec"].get("selector") or {}).get("matchLabels") or {})}
    notes = {"annotations": meta["annotations"]} if meta.get("annotations") else {}
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": template["spec"],
        "metadata": {"name": claim_name(template, pod), "namespace": obj["metadata"]["namespace"], "labels": labels,
                     **notes},
    }  # fmt: skip


class StatefulSets:
    """Keys are those of StatefulSets."""

    NAME = "statefulset-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says, self._now = tools.client, tools.says, tools.now
        self._sets, self._pods = tools.store(Interest(STATEFUL_SETS)), tools.store(LEAN_PODS)
        self._revisions, self._claims = tools.store(Interest(REVISIONS)), tools.store(Interest(CLAIMS))
        owners = owner_key(KIND)
        self.WATCHES = (
            Watch(Interest(STATEFUL_SETS)), Watch(LEAN_PODS, self._of_pod), Watch(Interest(REVISIONS), owners),
            Watch(Interest(CLAIMS), lambda _old, _new: ()),
        )  # fmt: skip
        self._owners = owners

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        yield from self._owners(old, new)
        if new is not None and not new["metadata"].get("ownerReferences"):
            meta = new["metadata"]
            for obj in self._sets.find("namespace", meta["namespace"]):
                if ordinal_of(obj["metadata"]["name"], meta["name"]) is not None:
                    yield key_of(obj)

    async def reconcile(self, key: str) -> float | None:
        """Take the next step, and write what there is."""
        obj = self._sets.get(key)
        if obj is None:
            return None
        name = obj["metadata"]["name"]
        pods = await claim(
            self._client, self._pods, PODS, obj, API, KIND,
            mine=lambda pod: ordinal_of(name, pod["metadata"]["name"]) is not None,
        )  # fmt: skip
        code = template_hash(obj["spec"]["template"])
        update = f"{name}-{code}"
        current = self._current(obj, update)
        now = self._now()
        try:
            if not ending(obj):
                used = {current, update, *map(revision_of, pods)}
                labels = {**((obj["spec"].get("selector") or {}).get("matchLabels") or {}), HASH: code}
                await note(self._client, self._revisions, obj, KIND, update, labels, used)
                await self._keep_claims(obj, pods)
                await self._do(obj, step(Shape.of(obj), pods, current=current, update=update, now=now), current)
        finally:
            status = status_of(obj, pods, current=current, update=update, now=now)
            await write_status(self._client, STATEFUL_SETS, obj, status)
        return self._again(obj, pods, now)

    def _current(self, obj: Object, update: str) -> str:
        """The revision that pods below the partition have."""
        name = str((obj.get("status") or {}).get("currentRevision") or "")
        known = name and self._revisions.get(f"{obj['metadata']['namespace']}/{name}")
        return name if known else update

    def _again(self, obj: Object, pods: Iterable[Object], now: float) -> float | None:
        """When the next ready pod becomes available."""
        minimum = Shape.of(obj).minimum
        waits = [since + minimum - now for pod in pods if (since := ready_since(pod)) is not None]
        return min((seconds for seconds in waits if seconds > 0), default=None) if minimum else None

    async def _do(self, obj: Object, work: Step, current: str) -> None:
        where = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
        for pod in work.again:
            name = pod["metadata"]["name"]
            if phase(pod) == "Failed":
                text = f"StatefulSet {where} is recreating failed Pod {name}"
                self._says.warning(obj, "RecreatingFailedPod", text)
            else:
                text = f"StatefulSet {where} is recreating terminated Pod {name}"
                self._says.normal(obj, "RecreatingTerminatedPod", text)

        async def make(at: int) -> None:
            number, revision = work.make[at]
            await self._make(obj, number, revision, current)

        async def delete(at: int) -> None:
            await self._delete(obj, work.delete[at])

        await slow_start(len(work.make), make)
        await slow_start(len(work.delete), delete)

    async def _make(self, obj: Object, number: int, revision: str, current: str) -> None:
        template = obj["spec"]["template"]
        if revision == current:
            kept = self._revisions.get(f"{obj['metadata']['namespace']}/{revision}")
            if kept is not None:
                template = {k: v for k, v in kept["data"]["spec"]["template"].items() if k != "$patch"}
        pod = numbered_pod(obj, template, number, revision)
        name, owner = pod["metadata"]["name"], obj["metadata"]["name"]
        try:
            await self._make_claims(obj, name)
            await self._client.create(PODS.path(obj["metadata"]["namespace"]), pod)
        except ApiError as e:
            terminating = any(cause.get("reason") == "NamespaceTerminating" for cause in e.details.get("causes") or ())
            if e.reason == "AlreadyExists" or terminating:
                return  # seen before long, as ours or as somebody else's, whose it then is
            self._says.warning(obj, "FailedCreate", f"create Pod {name} in StatefulSet {owner} failed error: {e}")
            raise
        self._says.normal(obj, "SuccessfulCreate", f"create Pod {name} in StatefulSet {owner} successful")

    async def _delete(self, obj: Object, pod: Object) -> None:
        name, owner = pod["metadata"]["name"], obj["metadata"]["name"]
        if ordinal_of(owner, name) not in Shape.of(obj).numbers:
            await self._own_claims(obj, name, pod, leaving=True)
        try:
            await self._client.delete(PODS.at(key_of(pod)), uid=pod["metadata"]["uid"])
        except ApiError as e:
            if e.code in (404, 409):
                return
            self._says.warning(obj, "FailedDelete", f"delete Pod {name} in StatefulSet {owner} failed error: {e}")
            raise
        self._says.normal(obj, "SuccessfulDelete", f"delete Pod {name} in StatefulSet {owner} successful")

    # -- claims

    async def _make_claims(self, obj: Object, pod: str) -> None:
        """Those that are missing. ApiError."""
        for template in obj["spec"].get("volumeClaimTemplates") or ():
            made = claim_of(obj, template, pod)
            key = key_of(made)
            if self._claims.get(key) is not None:
                continue
            owners = claim_owners(obj, made, None, leaving=False)
            if owners:
                made["metadata"]["ownerReferences"] = owners
            what = f"Claim {made['metadata']['name']} Pod {pod} in StatefulSet {obj['metadata']['name']}"
            try:
                await self._client.create(CLAIMS.path(obj["metadata"]["namespace"]), made)
            except ApiError as e:
                if e.reason == "AlreadyExists":
                    continue
                self._says.warning(obj, "FailedCreate", f"create {what} failed error: {e}")
                raise
            self._says.normal(obj, "SuccessfulCreate", f"create {what} success")

    async def _keep_claims(self, obj: Object, pods: Iterable[Object]) -> None:
        """The claims of pods that stay are nobody's but the set's; a policy may have changed."""
        numbers = Shape.of(obj).numbers
        for pod in pods:
            name = pod["metadata"]["name"]
            if ordinal_of(obj["metadata"]["name"], name) in numbers:
                await self._own_claims(obj, name, pod, leaving=False)

    async def _own_claims(self, obj: Object, name: str, pod: Object, *, leaving: bool) -> None:
        for template in obj["spec"].get("volumeClaimTemplates") or ():
            there = self._claims.get(f"{obj['metadata']['namespace']}/{claim_name(template, name)}")
            if there is None or ending(there):
                continue
            owners = claim_owners(obj, there, pod, leaving=leaving)
            if owners == (there["metadata"].get("ownerReferences") or []):
                continue
            meta = {"resourceVersion": there["metadata"]["resourceVersion"], "ownerReferences": owners or None}
            await self._client.patch(CLAIMS.at(key_of(there)), {"metadata": meta})
