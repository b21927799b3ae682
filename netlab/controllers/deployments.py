"""Deployments: one ReplicaSet for each template that there was; the newest grows while the others shrink.

Which ReplicaSet has how many replicas is `rolling`'s to say; this makes them, keeps revisions, and tells how it goes.
Not done: `spec.rollbackTo` of old versions (kubectl rollout undo writes the template itself). Source: kubernetes
pkg/controller/deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import (
    claim,
    created,
    ending,
    owner_key,
    owner_reference,
    phase,
    selector_of,
    write_status,
)
from netlab.controllers.rolling import Plan, Size, new_size, old_sizes, plan_of, proportional
from netlab.controllers.rollouts import (
    AVAILABLE,
    DESIRED,
    HASH,
    HISTORY,
    MOST,
    OWN,
    PROGRESSING,
    REVISION,
    Roll,
    annotation,
    complete,
    condition,
    counted,
    counts_of,
    deadline_of,
    failure,
    next_revision,
    pause,
    progress,
    put,
    replicas_of,
    revision,
    same_template,
    size_of,
    template_hash,
)
from netlab.controllers.shape import LEAN_PODS, REPLICA_SETS, Tools, Watch

API, KIND = "apps/v1", "Deployment"
DEPLOYMENTS = Resource(API, "deployments")


class Deployments:
    """Keys are those of Deployments."""

    NAME = "deployment-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says, self._now = tools.client, tools.says, tools.now
        self._deployments, self._sets = tools.store(Interest(DEPLOYMENTS)), tools.store(Interest(REPLICA_SETS))
        self._pods = tools.store(LEAN_PODS)
        self._owners = owner_key(KIND)
        self.WATCHES = (
            Watch(Interest(DEPLOYMENTS)), Watch(Interest(REPLICA_SETS), self._of_set), Watch(LEAN_PODS, self._of_pod),
        )  # fmt: skip

    def _of_set(self, old: Object | None, new: Object | None) -> Iterable[str]:
        yield from self._owners(old, new)
        if new is not None and not new["metadata"].get("ownerReferences"):
            for deployment in self._deployments.find("namespace", new["metadata"]["namespace"]):
                selector = selector_of(deployment)
                if selector and selector.matches(new["metadata"].get("labels")):
                    yield key_of(deployment)

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Recreate waits for the last of the old pods to be gone."""
        if old is None or new is not None:
            return
        for key in owner_key("ReplicaSet")(old, None):
            rs = self._sets.get(key)
            for one in self._owners(rs, None):
                found = self._deployments.get(one)
                if found is not None and found["spec"]["strategy"]["type"] == "Recreate":
                    yield one

    async def reconcile(self, key: str) -> float | None:
        """One step, and what can be told of how it goes."""
        there = self._deployments.get(key)
        if there is None:
            return None
        d = {**there, "metadata": {**there["metadata"]}, "status": dict(there.get("status") or {})}
        roll = self._roll(d, await claim(self._client, self._sets, REPLICA_SETS, d, API, KIND))
        if ending(d):
            return await self._tell(roll, there)
        paused = bool(d["spec"].get("paused"))
        pause(d, self._now(), paused=paused)
        if paused:
            await self._refresh(roll)
            await self._scale(roll)
            await self._clean(roll)
        elif self._is_scaling(roll):
            await self._refresh(roll)
            await self._scale(roll)
        elif d["spec"]["strategy"]["type"] == "Recreate":
            await self._recreate(roll)
        else:
            await self._step(roll)
        if complete(roll):
            await self._clean(roll)
        return await self._tell(roll, there)

    def _roll(self, d: Object, sets: Sequence[Object]) -> Roll:
        ordered = sorted(sets, key=lambda rs: (created(rs), rs["metadata"]["name"]))
        new = next((rs for rs in ordered if same_template(rs["spec"]["template"], d["spec"]["template"])), None)
        return Roll(d, new, [rs for rs in ordered if rs is not new])

    # -- steps

    async def _step(self, roll: Roll) -> None:
        new = await self._wanted(roll)
        plan = plan_of(roll.spec)
        old = [rs for rs in roll.old if replicas_of(rs)]
        wanted = new_size(plan, size_of(new), [size_of(rs) for rs in old], rolling=True)
        if wanted != replicas_of(new):
            roll.new = await self._resize(roll, new, wanted)
            return
        sizes = old_sizes(plan, size_of(new), [size_of(rs) for rs in old])
        await self._resize_all(roll, sizes)

    async def _recreate(self, roll: Roll) -> None:
        await self._resize_all(roll, {rs["metadata"]["name"]: 0 for rs in roll.old})
        uids = [rs["metadata"]["uid"] for rs in roll.old]
        if any(phase(pod) not in ("Succeeded", "Failed") for uid in uids for pod in self._pods.find("controller", uid)):
            return  # they would meet the new ones
        if any(counted([rs], "replicas") for rs in roll.old):
            return
        new = await self._wanted(roll)
        roll.new = await self._resize(roll, new, int(roll.spec["replicas"]))

    def _is_scaling(self, roll: Roll) -> bool:
        wanted = int(roll.spec["replicas"])
        return any(
            replicas_of(rs)
            and DESIRED in (rs["metadata"].get("annotations") or {})
            and annotation(rs, DESIRED) != wanted
            for rs in roll.all
        )

    async def _scale(self, roll: Roll) -> None:
        plan, running = plan_of(roll.spec), [rs for rs in roll.all if replicas_of(rs)]
        if len(running) <= 1:
            only = running[0] if running else roll.new if roll.new is not None else next(reversed(roll.old), None)
            if only is not None and replicas_of(only) != plan.replicas:
                await self._resize_all(roll, {only["metadata"]["name"]: plan.replicas})
            return
        if roll.new is not None and self._saturated(roll.new, plan):
            await self._resize_all(roll, {rs["metadata"]["name"]: 0 for rs in roll.old})
        elif roll.spec["strategy"]["type"] == "RollingUpdate":
            await self._resize_all(roll, proportional(plan, [size_of(rs) for rs in running]), annotate=True)

    def _saturated(self, rs: Object, plan: Plan) -> bool:
        counts = (replicas_of(rs), annotation(rs, DESIRED), counted([rs], "availableReplicas"))
        return counts == (plan.replicas,) * 3

    async def _resize_all(self, roll: Roll, sizes: dict[str, int], *, annotate: bool = False) -> None:
        for rs in list(roll.all):
            wanted = sizes.get(rs["metadata"]["name"])
            if wanted is None or (wanted == replicas_of(rs) and not annotate):
                continue
            done = await self._resize(roll, rs, wanted)
            if rs is roll.new:
                roll.new = done
            else:
                roll.old[roll.old.index(rs)] = done

    async def _resize(self, roll: Roll, rs: Object, replicas: int) -> Object:
        plan, before = plan_of(roll.spec), replicas_of(rs)
        notes = {**(rs["metadata"].get("annotations") or {}), DESIRED: str(plan.replicas), MOST: str(plan.most)}
        if before == replicas and notes == rs["metadata"].get("annotations"):
            return rs
        changed = {
            **rs,
            "metadata": {**rs["metadata"], "annotations": notes},
            "spec": {**rs["spec"], "replicas": replicas},
        }
        done = await self._client.replace(REPLICA_SETS.at(key_of(rs)), changed)
        if before != replicas:
            way = "up" if replicas > before else "down"
            text = f"Scaled {way} replica set {rs['metadata']['name']} from {before} to {replicas}"
            self._says.normal(roll.deployment, "ScalingReplicaSet", text)
        return done

    # -- the ReplicaSet of the template

    async def _wanted(self, roll: Roll) -> Object:
        """The new ReplicaSet, which is made if it is not there."""
        new = await self._refresh(roll)
        if new is None:
            new = roll.new = await self._make(roll, str(next_revision(roll)))
        return new

    async def _refresh(self, roll: Roll) -> Object | None:
        """Revision and annotations of the new ReplicaSet as they are to be."""
        if roll.new is None:
            return None
        rs, d, last = roll.new, roll.deployment, next_revision(roll)
        notes = self._notes(d, rs["metadata"].get("annotations") or {})
        if revision(rs) < last:
            if revision(rs):
                history = [n for n in notes.get(HISTORY, "").split(",") if n]
                notes[HISTORY] = ",".join([*history, str(revision(rs))])
            notes[REVISION] = str(last)
        minimum = int(d["spec"].get("minReadySeconds") or 0)
        if notes != (rs["metadata"].get("annotations") or {}) or minimum != int(rs["spec"].get("minReadySeconds") or 0):
            spec = {**rs["spec"], "minReadySeconds": minimum}
            changed = {**rs, "metadata": {**rs["metadata"], "annotations": notes}, "spec": spec}
            rs = await self._client.replace(REPLICA_SETS.at(key_of(rs)), changed)
        await self._note_revision(d, notes[REVISION])
        if condition(d, PROGRESSING) is None and deadline_of(d) is not None:
            text = f'Found new replica set "{rs["metadata"]["name"]}"'
            put(d, self._now(), PROGRESSING, "True", "FoundNewReplicaSet", text)
        roll.new = rs
        return rs

    def _notes(self, d: Object, there: Object) -> dict[str, str]:
        given = {k: v for k, v in (d["metadata"].get("annotations") or {}).items() if k not in OWN}
        return {**there, **given}

    async def _make(self, roll: Roll, number: str) -> Object:
        d, spec, plan = roll.deployment, roll.spec, plan_of(roll.spec)
        meta, template = d["metadata"], spec["template"]
        code = template_hash(template, int(d["status"].get("collisionCount") or 0))
        labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH: code}
        selector = {**spec["selector"], "matchLabels": {**(spec["selector"].get("matchLabels") or {}), HASH: code}}
        size = Size("", 0)
        replicas = new_size(
            plan, size, [size_of(rs) for rs in roll.old], rolling=spec["strategy"]["type"] != "Recreate"
        )
        notes = {**self._notes(d, {}), REVISION: number, DESIRED: str(plan.replicas), MOST: str(plan.most)}
        made = {
            "apiVersion": API, "kind": "ReplicaSet",
            "metadata": {
                "name": f"{meta['name']}-{code}", "namespace": meta["namespace"], "labels": labels,
                "annotations": notes,
                "ownerReferences": [owner_reference(d, API, KIND)],
            },
            "spec": {
                "replicas": replicas, "selector": selector, "minReadySeconds": int(spec.get("minReadySeconds") or 0),
                "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
            },
        }  # fmt: skip
        try:
            rs = await self._client.create(REPLICA_SETS.path(meta["namespace"]), made)
        except ApiError as e:
            if e.reason != "AlreadyExists":
                put(d, self._now(), PROGRESSING, "False", "ReplicaSetCreateError", str(e))
                await write_status(self._client, DEPLOYMENTS, d, d["status"])
                raise
            await self._clashed(d, f"{meta['namespace']}/{meta['name']}-{code}")
            raise
        if replicas:
            text = f"Scaled up replica set {rs['metadata']['name']} from 0 to {replicas}"
            self._says.normal(d, "ScalingReplicaSet", text)
        await self._note_revision(d, number)
        if deadline_of(d) is not None:
            text = f'Created new replica set "{rs["metadata"]["name"]}"'
            put(d, self._now(), PROGRESSING, "True", "NewReplicaSetCreated", text)
        return rs

    async def _clashed(self, d: Object, key: str) -> None:
        """Another ReplicaSet has the name: the next hash is another. One of ours is only not in the cache yet."""
        there = await self._client.get(REPLICA_SETS.at(key))
        mine = any(o.get("uid") == d["metadata"]["uid"] for o in there["metadata"].get("ownerReferences") or ())
        if not (mine and same_template(there["spec"]["template"], d["spec"]["template"])):
            count = int(d["status"].get("collisionCount") or 0) + 1
            await write_status(self._client, DEPLOYMENTS, d, {**d["status"], "collisionCount": count})

    async def _note_revision(self, d: Object, number: str) -> None:
        notes = d["metadata"].get("annotations") or {}
        if notes.get(REVISION) == number:
            return
        patch = {"metadata": {"annotations": {REVISION: number}, "uid": d["metadata"]["uid"]}}
        done = await self._client.patch(DEPLOYMENTS.at(key_of(d)), patch)
        d["metadata"] = {**done["metadata"]}

    async def _clean(self, roll: Roll) -> None:
        """Old ReplicaSets beyond the limit of revisions go."""
        limit = roll.spec.get("revisionHistoryLimit")
        if limit is None:
            return
        idle = [rs for rs in roll.old if not ending(rs) and not replicas_of(rs) and not counted([rs], "replicas")]
        idle.sort(key=revision)
        for rs in idle[: max(0, len(idle) - int(limit))]:
            try:
                await self._client.delete(
                    REPLICA_SETS.at(key_of(rs)), uid=rs["metadata"]["uid"], propagation="Background"
                )
            except ApiError as e:
                if e.code not in (404, 409):
                    raise
            roll.old.remove(rs)

    # -- what is told

    async def _tell(self, roll: Roll, there: Object) -> float | None:
        """Write the status; seconds until the deadline has something to say."""
        d, counts, before = roll.deployment, counts_of(roll), there.get("status") or {}
        d["status"]["observedGeneration"] = d["metadata"].get("generation", 0)
        plan = plan_of(roll.spec)
        if counts.get("availableReplicas", 0) >= plan.replicas - plan.unavailable:
            put(d, self._now(), AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            text = "Deployment does not have minimum availability."
            put(d, self._now(), AVAILABLE, "False", "MinimumReplicasUnavailable", text)
        failure(roll, self._now())
        again = progress(roll, before, self._now())
        kept = {k: d["status"][k] for k in ("observedGeneration", "collisionCount", "conditions") if k in d["status"]}
        await write_status(self._client, DEPLOYMENTS, {**d, "status": before}, {**kept, **counts})
        return again
