"""Defaults of pods and of all that has a pod in it."""

from __future__ import annotations

import re
from typing import Any

from netlab.api import Json

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
#: 0644
_FILE_MODE = 420


def pod(obj: Json) -> None:
    """A Pod: its spec, and requests out of limits."""
    spec = obj["spec"]
    pod_spec(spec)
    if "enableServiceLinks" not in spec:
        spec["enableServiceLinks"] = True
    for containers in (spec.get("containers"), spec.get("initContainers")):
        for container in containers or ():
            resources = container.get("resources") or {}
            limits = resources.get("limits")
            if limits:  # what is limited and not requested is requested up to the limit
                requests = resources.setdefault("requests", {})
                for name, value in limits.items():
                    requests.setdefault(name, value)
    status = obj.setdefault("status", {})
    status.setdefault("phase", "Pending")
    if spec.get("hostNetwork"):
        _host_ports(spec)


def template(obj: Json) -> None:
    """A pod template: `obj` is the object that has it."""
    inner = obj.get("template")
    if isinstance(inner, dict) and isinstance(inner.get("spec"), dict):
        pod_spec(inner["spec"])
        if inner["spec"].get("hostNetwork"):
            _host_ports(inner["spec"])


def _host_ports(spec: Json) -> None:
    for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
        for port in container.get("ports") or ():
            port.setdefault("hostPort", port.get("containerPort"))


def pod_spec(spec: Json) -> None:
    """A PodSpec."""
    for containers in (spec.get("containers"), spec.get("initContainers"), spec.get("ephemeralContainers")):
        for container in containers or ():
            container_defaults(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    put = spec.setdefault
    put("restartPolicy", "Always")
    put("terminationGracePeriodSeconds", 30)
    put("dnsPolicy", "ClusterFirst")
    put("securityContext", {})
    put("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for constraint in spec.get("topologySpreadConstraints") or ():
        constraint.setdefault("whenUnsatisfiable", "DoNotSchedule")


def image_tag(image: str) -> str:
    """The tag of an image, `latest` if there is neither tag nor digest, "" with a digest only."""
    name, _, digest = image.partition("@")
    match = re.search(r":([\w][\w.-]{0,127})$", name)
    if match and "/" not in match[1]:
        return match[1]
    return "" if digest else "latest"


def container_defaults(container: Json) -> None:
    """A container of any sort."""
    put = container.setdefault
    put("resources", {})
    if not container.get("imagePullPolicy"):
        latest = image_tag(container.get("image", "")) == "latest"
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    put("terminationMessagePath", "/dev/termination-log")
    put("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            for key, value in _PROBE.items():
                if not probe.get(key):
                    probe[key] = value
            _handler(probe)
    for name in ("postStart", "preStop"):
        hook = (container.get("lifecycle") or {}).get(name)
        if hook is not None:
            _handler(hook)
    for env in container.get("env") or ():
        ref = (env.get("valueFrom") or {}).get("fieldRef")
        if ref is not None:
            ref.setdefault("apiVersion", "v1")


def _handler(handler: Json) -> None:
    get = handler.get("httpGet")
    if get is not None:
        get["path"] = get.get("path") or "/"
        get["scheme"] = get.get("scheme") or "HTTP"
    grpc = handler.get("grpc")
    if grpc is not None:
        grpc.setdefault("service", "")


_SOURCES = (
    "hostPath", "emptyDir", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "secret", "nfs", "iscsi",
    "glusterfs", "persistentVolumeClaim", "rbd", "flexVolume", "cinder", "cephfs", "flocker", "downwardAPI", "fc",
    "azureFile", "configMap", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "projected",
    "portworxVolume", "scaleIO", "storageos", "csi", "ephemeral", "image",
)  # fmt: skip


def _volume(volume: Json) -> None:
    if not any(source in volume for source in _SOURCES):
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        source = volume.get(name)
        if source is not None:
            source.setdefault("defaultMode", _FILE_MODE)
    _field_refs((volume.get("downwardAPI") or {}).get("items"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        _field_refs((source.get("downwardAPI") or {}).get("items"))
        token = source.get("serviceAccountToken")
        if token is not None:
            token.setdefault("expirationSeconds", 3600)
    path = volume.get("hostPath")
    if path is not None:
        path.setdefault("type", "")
    iscsi = volume.get("iscsi")
    if iscsi is not None:
        iscsi.setdefault("iscsiInterface", "default")
    template_ = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template_ is not None:
        template_.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _field_refs(items: Any) -> None:
    for item in items or ():
        ref = item.get("fieldRef")
        if ref is not None:
            ref.setdefault("apiVersion", "v1")
