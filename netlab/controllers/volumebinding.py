"""Claims get volumes: a PersistentVolumeClaim and the PersistentVolume that it is bound to name each other.

    claim ─ chosen by `matching` ─▶ volume.claimRef ─▶ volume Bound ─▶ claim.volumeName ─▶ claim Bound
    claim gone ─▶ volume Released (Retain), or Failed: nobody here can delete what is in it

Each step is written before the next, and each is found done by who comes again. Keys are those of claims
(`namespace/name`) and of volumes (`name`). Source: kubernetes pkg/controller/volume/persistentvolume.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import ending
from netlab.controllers.shape import NODES, Tools, Watch, own_key
from netlab.scheduler.matching import (
    BOUND,
    BY_US,
    SELECTED,
    bound_status,
    choose,
    class_of,
    names,
    reference,
    waits,
)

CLAIMS, VOLUMES = Resource("v1", "persistentvolumeclaims"), Resource("v1", "persistentvolumes")
CLASSES = Resource("storage.k8s.io/v1", "storageclasses")
#: the provisioner of classes whose volumes are made by hand
BY_HAND = "kubernetes.io/no-provisioner"


class VolumeBinder:
    """Keys are those of claims and volumes."""

    NAME = "persistentvolume-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says = tools.client, tools.says
        self._claims, self._volumes = tools.store(Interest(CLAIMS)), tools.store(Interest(VOLUMES))
        self._classes = tools.store(Interest(CLASSES))
        self.WATCHES = (
            Watch(Interest(CLAIMS), self._of_claim), Watch(Interest(VOLUMES), self._of_volume),
            Watch(Interest(CLASSES), lambda _old, _new: self._waiting()),
        )  # fmt: skip

    def _waiting(self) -> list[str]:
        return [key_of(claim) for claim in self._claims if (claim.get("status") or {}).get("phase") != "Bound"]

    def _of_claim(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """The claim, and its volume when it is gone."""
        yield from own_key(old, new)
        if new is None and old is not None and old["spec"].get("volumeName"):
            yield str(old["spec"]["volumeName"])

    def _of_volume(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """The volume, the claim that it names, and all that wait for one."""
        yield from own_key(old, new)
        obj = new if new is not None else old
        ref = (obj or {"spec": {}})["spec"].get("claimRef") or {}
        if ref.get("name"):
            yield f"{ref['namespace']}/{ref['name']}"
        yield from self._waiting()

    async def reconcile(self, key: str) -> float | None:
        """Bind the claim, or say what has become of the volume."""
        if "/" in key:
            claim = self._claims.get(key)
            if claim is not None and not ending(claim):
                await self._claim(claim)
            return None
        volume = self._volumes.get(key)
        if volume is not None:
            await self._volume(volume)
        return None

    async def _claim(self, claim: Object) -> None:
        name = claim["spec"].get("volumeName")
        if name:
            volume = self._volumes.get(name)
            if volume is None:
                done = BOUND in (claim["metadata"].get("annotations") or {})
                await self._phase_of_claim(claim, "Lost" if done else "Pending")
                return
            if volume["spec"].get("claimRef") and not names(volume, claim):
                await self._phase_of_claim(claim, "Pending")  # somebody else's, for now
                return
            await self._bind(claim, volume)
            return
        storage = self._classes.get(class_of(claim)) if class_of(claim) else None
        if waits(claim, storage):
            text = "waiting for first consumer to be created before binding"
            self._says.normal(claim, "WaitForFirstConsumer", text)
            await self._phase_of_claim(claim, "Pending")
            return
        selected = (claim["metadata"].get("annotations") or {}).get(SELECTED)
        node = await self._client.get(NODES.path("", selected)) if selected else None
        found = choose(claim, self._volumes, node)
        if found is not None:
            await self._bind(claim, found)
            return
        if selected:  # not there: the scheduler is to choose anew
            meta = {"uid": claim["metadata"]["uid"], "annotations": {SELECTED: None}}
            await self._client.patch(CLAIMS.at(key_of(claim)), {"metadata": meta})
            return
        self._none(claim, storage)
        await self._phase_of_claim(claim, "Pending")

    def _none(self, claim: Object, storage: Object | None) -> None:
        """Say why there is no volume."""
        name = class_of(claim)
        if not name:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._says.normal(claim, "FailedBinding", text)
        elif storage is None:
            self._says.warning(claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found')
        elif storage.get("provisioner") != BY_HAND:
            text = (
                "Waiting for a volume to be created either by the external provisioner "
                f"'{storage.get('provisioner')}' or manually by the system administrator. If volume creation is "
                "delayed, please verify that the provisioner is running and correctly registered."
            )
            self._says.normal(claim, "ExternalProvisioning", text)

    async def _bind(self, claim: Object, volume: Object) -> None:
        """The four steps. What is done is not done again."""
        ref = volume["spec"].get("claimRef") or {}
        if ref.get("uid") != claim["metadata"]["uid"]:
            notes = volume["metadata"].get("annotations") or {}
            meta = {**volume["metadata"], "annotations": notes if ref else {**notes, BY_US: "yes"}}
            bound = {**volume, "metadata": meta, "spec": {**volume["spec"], "claimRef": reference(claim)}}
            volume = await self._client.replace(VOLUMES.at(key_of(volume)), bound)
        await self._phase_of_volume(volume, "Bound")
        name, notes = volume["metadata"]["name"], claim["metadata"].get("annotations") or {}
        if claim["spec"].get("volumeName") != name or BOUND not in notes:
            wanted = {**notes, BOUND: "yes", **({} if claim["spec"].get("volumeName") else {BY_US: "yes"})}
            meta = {**claim["metadata"], "annotations": wanted}
            changed = {**claim, "metadata": meta, "spec": {**claim["spec"], "volumeName": name}}
            claim = await self._client.replace(CLAIMS.at(key_of(claim)), changed)
        status = bound_status(claim, volume)
        if status != (claim.get("status") or {}):
            await self._client.replace(CLAIMS.at(key_of(claim), "status"), {**claim, "status": status})

    async def _volume(self, volume: Object) -> None:
        ref = volume["spec"].get("claimRef") or {}
        if not ref.get("uid"):
            await self._phase_of_volume(volume, "Available")
            return
        claim = self._claims.get(f"{ref['namespace']}/{ref['name']}")
        if claim is not None and claim["metadata"]["uid"] == ref["uid"]:
            await self._claim(claim)
            return
        if await self._there(ref):
            return  # the cache will have it before long
        policy = volume["spec"].get("persistentVolumeReclaimPolicy", "Retain")
        if policy == "Retain":
            await self._phase_of_volume(volume, "Released")
        else:
            text = "error getting deleter volume plugin for volume: no deletable volume plugin matched"
            if (volume.get("status") or {}).get("phase") != "Failed":
                self._says.warning(volume, "VolumeFailedDelete", text)
            await self._phase_of_volume(volume, "Failed", text)

    async def _there(self, ref: Object) -> bool:
        """Whether the server knows the claim: a cache may be late, and what is Released is not used again."""
        try:
            claim = await self._client.get(CLAIMS.path(ref["namespace"], ref["name"]))
        except ApiError as e:
            if e.code != 404:
                raise
            return False
        return bool(claim["metadata"]["uid"] == ref["uid"])

    async def _phase_of_volume(self, volume: Object, phase: str, message: str = "") -> None:
        status = {"phase": phase, **({"message": message} if message else {})}
        there = {k: v for k, v in (volume.get("status") or {}).items() if k in ("phase", "message")}
        if there != status:
            await self._client.replace(VOLUMES.at(key_of(volume), "status"), {**volume, "status": status})

    async def _phase_of_claim(self, claim: Object, phase: str) -> None:
        there = claim.get("status") or {}
        if there.get("phase") == phase:
            return
        if phase == "Lost":
            text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            self._says.warning(claim, "ClaimLost", text)
        changed = {**claim, "status": {**there, "phase": phase}}
        await self._client.replace(CLAIMS.at(key_of(claim), "status"), changed)
