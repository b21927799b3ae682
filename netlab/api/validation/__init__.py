"""Validation beyond the schema, with the original's fields and wording.

One function for each kind, `(object, what it replaces or None) → errors`. Sources: kubernetes pkg/apis/<group>/
validation, and the messages that its tests expect.
"""

from __future__ import annotations

from collections.abc import Callable

from netlab.api import Json
from netlab.api.catalogue import Resource
from netlab.api.fielderrors import FieldError
from netlab.api.validation import (
    admission,
    cluster,
    config,
    crds,
    networks,
    nodes,
    pod_updates,
    rbac,
    registrations,
    services,
    storage,
    workloads,
)

Validator = Callable[[Json, Json | None], list[FieldError]]

VALIDATORS: dict[tuple[str, str], Validator] = {
    ("", "Pod"): pod_updates.pod,
    ("", "PodTemplate"): workloads.pod_template,
    ("", "ReplicationController"): workloads.replication_controller,
    ("", "Service"): services.service,
    ("", "Endpoints"): services.endpoints,
    ("", "ConfigMap"): config.config_map,
    ("", "Secret"): config.secret,
    ("", "Node"): nodes.node,
    ("", "Event"): nodes.event,
    ("", "PersistentVolume"): cluster.persistent_volume,
    ("", "PersistentVolumeClaim"): cluster.persistent_volume_claim,
    ("", "ResourceQuota"): cluster.resource_quota,
    ("", "LimitRange"): cluster.limit_range,
    ("apps", "ControllerRevision"): nodes.controller_revision,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("batch", "Job"): workloads.job,
    ("batch", "CronJob"): workloads.cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.autoscaler,
    ("policy", "PodDisruptionBudget"): workloads.disruption_budget,
    ("networking.k8s.io", "Ingress"): services.ingress,
    ("networking.k8s.io", "NetworkPolicy"): services.network_policy,
    ("networking.k8s.io", "IngressClass"): networks.ingress_class,
    ("networking.k8s.io", "IPAddress"): networks.ip_address,
    ("networking.k8s.io", "ServiceCIDR"): networks.service_cidr,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice,
    ("rbac.authorization.k8s.io", "Role"): rbac.role,
    ("rbac.authorization.k8s.io", "ClusterRole"): rbac.role,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.binding,
    ("scheduling.k8s.io", "PriorityClass"): cluster.priority_class,
    ("storage.k8s.io", "StorageClass"): cluster.storage_class,
    ("coordination.k8s.io", "Lease"): cluster.lease,
    ("node.k8s.io", "RuntimeClass"): cluster.runtime_class,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): admission.webhooks,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): admission.webhooks,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): admission.policy,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): admission.binding,
    ("apiregistration.k8s.io", "APIService"): registrations.api_service,
    ("certificates.k8s.io", "CertificateSigningRequest"): registrations.certificate_request,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): registrations.flow_schema,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): registrations.priority_level,
    ("settings.k8s.io", "PodPreset"): nodes.pod_preset,
    ("storage.k8s.io", "CSIDriver"): storage.csi_driver,
    ("storage.k8s.io", "CSINode"): storage.csi_node,
    ("storage.k8s.io", "CSIStorageCapacity"): storage.csi_storage_capacity,
    ("storage.k8s.io", "VolumeAttachment"): storage.volume_attachment,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crds.definition,
}


#: groups that ask more of objects that are kept as another group's
STRICTER: dict[tuple[str, str], Validator] = {("events.k8s.io", "Event"): nodes.new_event}
#: writes of a subresource that are judged by other rules than those of the whole
PARTS: dict[tuple[str, str, str], Validator] = {
    ("", "Pod", "binding"): pod_updates.binding,
    ("", "Pod", "ephemeralcontainers"): pod_updates.ephemeral,
    ("", "Pod", "resize"): pod_updates.resize,
}


def validate(resource: Resource, obj: Json, old: Json | None, part: str = "") -> list[FieldError]:
    """What is wrong with an object of the stored version; `old` is what it replaces, None for a create; part: the
    subresource that is written."""
    group, kind = resource.storage[0], resource.kind
    strict = PARTS.get((group, kind, part)) or STRICTER.get((resource.group, kind))
    validator = strict or VALIDATORS.get((group, kind))
    return validator(obj, old) if validator is not None else []
