"""storage: objects alone."""

from __future__ import annotations

from lifecycles import CORE, collection, condition, fine, lifecycle, made, object_, status_life
from serving import MAPS, Client, Json, with_server

VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = f"{CORE}/persistentvolumeclaims"


def test_csidriver_lifecycle() -> None:
    lifecycle("storage.k8s.io/v1", "CSIDriver", "csidrivers", {"spec": {"attachRequired": False}}, namespaced=False)


def test_csinode_lifecycle() -> None:
    drivers = [{"name": "d", "nodeID": "n1", "topologyKeys": ["company.com/zone"]}]
    lifecycle("storage.k8s.io/v1", "CSINode", "csinodes", {"spec": {"drivers": drivers}}, namespaced=False)


def test_csistoragecapacity_api() -> None:
    body = {"storageClassName": "sc", "nodeTopology": {}, "capacity": "1Gi"}
    lifecycle("storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities", body)


def test_configmap_immutable() -> None:
    async def test(c: Client) -> None:
        one = f"{MAPS}/m"
        await made(c, MAPS, object_("v1", "ConfigMap", "m", data={"a": "1"}))
        await fine(c.patch(one, {"data": {"a": "2"}}))
        frozen = await fine(c.patch(one, {"immutable": True}))
        for change in ({"data": {"a": "3"}}, {"immutable": False}, {"binaryData": {"b": "YQ=="}}):
            refused = await c.patch(one, change)
            assert (refused.status, refused.body["reason"]) == (422, "Invalid"), change
        frozen["metadata"]["labels"]["label1"] = "value1"
        assert (await fine(c.put(one, frozen)))["metadata"]["labels"]["label1"] == "value1"
        await fine(c.delete(one))

    with_server(test)


def volume() -> Json:
    """The fields of a PersistentVolume."""
    return {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                     "nfs": {"server": "192.0.2.1", "path": "/"}, "storageClassName": "e2e"}}  # fmt: skip


def claim() -> Json:
    """The fields of a PersistentVolumeClaim."""
    return {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "e2e",
                     "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip


def test_pv_pvc_lifecycle() -> None:
    lifecycle("v1", "PersistentVolume", "persistentvolumes", volume(), namespaced=False)
    lifecycle("v1", "PersistentVolumeClaim", "persistentvolumeclaims", claim())


def test_pv_pvc_status() -> None:
    async def test(c: Client) -> None:
        await made(c, VOLUMES, object_("v1", "PersistentVolume", "v", **volume()))
        await status_life(c, f"{VOLUMES}/v", {"message": "StatusPatched", "reason": "E2E patchStatus"})
        await made(c, CLAIMS, object_("v1", "PersistentVolumeClaim", "c", **claim()))
        await status_life(c, f"{CLAIMS}/c", {"conditions": [condition("StatusPatched")]})

    with_server(test)


def test_storageclass_lifecycle() -> None:
    body = {"provisioner": "e2e-fake-provisioner", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}
    lifecycle("storage.k8s.io/v1", "StorageClass", "storageclasses", body, namespaced=False)


def attachment() -> Json:
    """The fields of a VolumeAttachment."""
    return {"spec": {"attacher": "e2e-test", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}


def test_volumeattachment_lifecycle() -> None:
    lifecycle("storage.k8s.io/v1", "VolumeAttachment", "volumeattachments", attachment(), namespaced=False)


def test_volumeattachment_status() -> None:
    async def test(c: Client) -> None:
        path = collection("storage.k8s.io/v1", "volumeattachments", namespaced=False)
        await made(c, path, object_("storage.k8s.io/v1", "VolumeAttachment", "a", **attachment()))
        await status_life(c, f"{path}/a", {"attached": True})

    with_server(test)
