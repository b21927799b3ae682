"""Old versions of kinds that are still accepted: which there were, and what they became.

The seeds' manifests are from the years 2016 to 2019; each of these groups was removed from the original since (the
"Deprecated API Migration Guide" of the documentation has the dates). A removed version is served as the original served
it in its last release, with the warning that it printed.
"""

from __future__ import annotations

from typing import NamedTuple


class Old(NamedTuple):
    """A kind in an old version, what it is now, and the releases of its deprecation and removal."""

    group: str
    version: str
    kind: str
    plural: str
    now_group: str
    now_version: str
    deprecated: str
    removed: str

    @property
    def warning(self) -> str:
        """The text of the Warning header, as the original worded it."""
        text = f"{self.group}/{self.version} {self.kind} is deprecated in v{self.deprecated}+, "
        text += f"unavailable in v{self.removed}+"
        return f"{text}; use {self.now_group}/{self.now_version} {self.kind}" if self.now_group else text


def _olds() -> tuple[Old, ...]:
    apps, net = ("apps", "v1"), ("networking.k8s.io", "v1")
    olds = []
    for version in ("v1beta2", "v1beta1"):
        kinds = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
        if version == "v1beta2":
            kinds |= {"DaemonSet": "daemonsets", "ReplicaSet": "replicasets"}
        kinds["ControllerRevision"] = "controllerrevisions"
        olds += [Old("apps", version, kind, plural, *apps, "1.9", "1.16") for kind, plural in kinds.items()]
    olds += [
        Old("batch", "v1beta1", "CronJob", "cronjobs", "batch", "v1", "1.21", "1.25"),
        Old("batch", "v2alpha1", "CronJob", "cronjobs", "batch", "v1", "1.8", "1.21"),
        Old("networking.k8s.io", "v1beta1", "Ingress", "ingresses", *net, "1.19", "1.22"),
        Old("networking.k8s.io", "v1beta1", "IngressClass", "ingressclasses", *net, "1.19", "1.22"),
        Old("policy", "v1beta1", "PodDisruptionBudget", "poddisruptionbudgets", "policy", "v1", "1.21", "1.25"),
        Old(
            "apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition", "customresourcedefinitions",
            "apiextensions.k8s.io", "v1", "1.16", "1.22",
        ),
        Old("extensions", "v1beta1", "Deployment", "deployments", *apps, "1.9", "1.16"),
        Old("extensions", "v1beta1", "DaemonSet", "daemonsets", *apps, "1.9", "1.16"),
        Old("extensions", "v1beta1", "ReplicaSet", "replicasets", *apps, "1.9", "1.16"),
        Old("extensions", "v1beta1", "Ingress", "ingresses", *net, "1.14", "1.22"),
        Old("extensions", "v1beta1", "NetworkPolicy", "networkpolicies", *net, "1.9", "1.16"),
        Old("settings.k8s.io", "v1alpha1", "PodPreset", "podpresets", "", "", "1.19", "1.20"),
    ]  # fmt: skip
    return tuple(olds)


OLD = _olds()
