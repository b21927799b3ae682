"""What a pod needs of the API beside itself: by which a node knows what to follow, and a server what it may read."""

from __future__ import annotations

from netlab.api import Json


def references(spec: Json) -> set[tuple[str, str]]:
    """What a pod's spec names: (resource, name) of Secrets, ConfigMaps and claims."""
    found: set[tuple[str, str]] = set()
    for secret in spec.get("imagePullSecrets") or ():
        found.add(("secrets", secret.get("name", "")))
    for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
        for source in container.get("envFrom") or ():
            found.add(("configmaps", (source.get("configMapRef") or {}).get("name", "")))
            found.add(("secrets", (source.get("secretRef") or {}).get("name", "")))
        for env in container.get("env") or ():
            value = env.get("valueFrom") or {}
            found.add(("configmaps", (value.get("configMapKeyRef") or {}).get("name", "")))
            found.add(("secrets", (value.get("secretKeyRef") or {}).get("name", "")))
    for volume in spec.get("volumes") or ():
        found.add(("secrets", (volume.get("secret") or {}).get("secretName", "")))
        found.add(("configmaps", (volume.get("configMap") or {}).get("name", "")))
        found.add(("persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName", "")))
        for part in (volume.get("projected") or {}).get("sources") or ():
            found.add(("secrets", (part.get("secret") or {}).get("name", "")))
            found.add(("configmaps", (part.get("configMap") or {}).get("name", "")))
    return {(kind, name) for kind, name in found if name}
