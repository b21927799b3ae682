"""DefaultStorageClass, StorageObjectInUseProtection, and the finalizers of new namespaces."""

from __future__ import annotations

from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister

_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_BETA = "volume.beta.kubernetes.io/storage-class"
_PROTECTED = {
    ("", "PersistentVolumeClaim"): "kubernetes.io/pvc-protection",
    ("", "PersistentVolume"): "kubernetes.io/pv-protection",
}


class DefaultStorageClass(Plugin):
    """A claim that names no class gets the default one: the newest, if there are several."""

    def __init__(self, classes: Lister) -> None:
        self.classes = classes

    async def mutate(self, a: Attributes) -> None:
        if a.group_kind != ("", "PersistentVolumeClaim") or a.operation != "CREATE" or a.obj is None:
            return
        spec = a.obj["spec"]
        if spec.get("storageClassName") is not None or _BETA in (a.obj["metadata"].get("annotations") or {}):
            return
        found = [c for c in self.classes.all() if (c["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"]
        if found:
            newest = max(found, key=lambda c: (c["metadata"]["creationTimestamp"], c["metadata"]["name"]))
            spec["storageClassName"] = newest["metadata"]["name"]


class StorageObjectInUse(Plugin):
    """Volumes and claims are kept while somebody uses them."""

    async def mutate(self, a: Attributes) -> None:
        finalizer = _PROTECTED.get(a.group_kind)
        if finalizer is not None and a.operation == "CREATE" and a.obj is not None:
            finalizers = a.obj["metadata"].setdefault("finalizers", [])
            if finalizer not in finalizers:
                finalizers.append(finalizer)


class NewObjects(Plugin):
    """What strategies set in new objects: a namespace's finalizer, a Secret's stringData, a Job's selector."""

    async def mutate(self, a: Attributes) -> None:
        if a.obj is None or a.operation not in ("CREATE", "UPDATE") or a.subresource:
            return
        match a.group_kind:
            case ("", "Namespace") if a.operation == "CREATE":
                finalizers = a.obj.setdefault("spec", {}).setdefault("finalizers", [])
                if "kubernetes" not in finalizers:
                    finalizers.append("kubernetes")
            case ("", "Secret"):
                given = a.obj.pop("stringData", None)
                if given:
                    import base64

                    data = a.obj.setdefault("data", {})
                    data.update({k: base64.b64encode(v.encode()).decode() for k, v in given.items()})
            case ("batch", "Job") if a.operation == "CREATE":
                _job(a.obj)
            case ("certificates.k8s.io", "CertificateSigningRequest") if a.operation == "CREATE":
                spec = a.obj["spec"]
                for name in ("username", "uid", "groups", "extra"):
                    spec.pop(name, None)
                user = a.user.as_json()
                spec.update({k: user[k] for k in ("username", "uid", "groups", "extra") if k in user})
            case _:
                pass


def _job(obj: dict[str, object]) -> None:
    """The selector of a job is made by the server, from its uid."""
    spec, meta = obj["spec"], obj["metadata"]
    assert isinstance(spec, dict)
    assert isinstance(meta, dict)
    template = spec.get("template")
    if spec.get("manualSelector") or not isinstance(template, dict):
        return
    uid = meta["uid"]
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    names = {"controller-uid": uid, "job-name": meta.get("name", "")}
    for key, value in names.items():
        labels.setdefault(f"batch.kubernetes.io/{key}", value)
        labels.setdefault(key, value)
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
