"""Defaulting: what the original fills in before it stores an object, so that `kubectl diff` finds nothing afterwards.

One function for each kind, which changes the object that it is given; they are found by the stored version's group and
kind. Sources: kubernetes pkg/apis/<group>/<version>/defaults.go, and the defaults that the API reference names.
"""

from __future__ import annotations

from collections.abc import Callable

from netlab.api import Json
from netlab.api.defaults import cluster, pods, services, workloads

Defaulter = Callable[[Json], None]

DEFAULTERS: dict[tuple[str, str], Defaulter] = {
    ("", "Pod"): pods.pod,
    ("", "PodTemplate"): workloads.pod_template,
    ("", "ReplicationController"): workloads.replication_controller,
    ("", "Service"): services.service,
    ("", "Endpoints"): services.endpoints,
    ("", "Namespace"): cluster.namespace,
    ("", "Node"): cluster.node,
    ("", "Secret"): cluster.secret,
    ("", "PersistentVolume"): cluster.persistent_volume,
    ("", "PersistentVolumeClaim"): cluster.persistent_volume_claim,
    ("", "LimitRange"): cluster.limit_range,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("batch", "Job"): workloads.job,
    ("batch", "CronJob"): workloads.cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.autoscaler,
    ("networking.k8s.io", "NetworkPolicy"): services.network_policy,
    ("networking.k8s.io", "IngressClass"): services.ingress_class,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.role_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.role_binding,
    ("storage.k8s.io", "StorageClass"): cluster.storage_class,
    ("storage.k8s.io", "CSIDriver"): cluster.csi_driver,
    ("scheduling.k8s.io", "PriorityClass"): cluster.priority_class,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): cluster.mutating_webhooks,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): cluster.validating_webhooks,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): cluster.admission_policy,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): cluster.priority_level,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): cluster.flow_schema,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.custom_resource_definition,
}


def apply(group: str, kind: str, obj: Json) -> None:
    """Fill in what a kind has by default."""
    defaulter = DEFAULTERS.get((group, kind))
    if defaulter is not None:
        defaulter(obj)
