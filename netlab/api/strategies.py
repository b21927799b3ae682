"""How a kind's writes differ from the plain ones, as a table: what a client may not set, what counts as a change.

Source: kubernetes pkg/registry/<group>/<kind>/strategy.go.
"""

from __future__ import annotations

from typing import NamedTuple


class Strategy(NamedTuple):
    """status: it has a status that a plain write does not change; wipe: a create drops the status; generation: it
    counts changes of its spec; unconditional: a PUT may lack a resourceVersion; create_on_update: a PUT may create;
    grace: deletion may take its time."""

    status: bool = False
    wipe: bool = False
    generation: bool = False
    unconditional: bool = True
    create_on_update: bool = False
    grace: bool = False


_TABLE = {
    ("", "Pod"): Strategy(status=True, wipe=True, generation=True, grace=True),
    ("", "Node"): Strategy(status=True),
    ("", "Namespace"): Strategy(status=True, wipe=True),
    ("", "Service"): Strategy(status=True, wipe=True, create_on_update=True),
    ("", "ReplicationController"): Strategy(status=True, wipe=True, generation=True),
    ("", "PersistentVolume"): Strategy(status=True, wipe=True),
    ("", "PersistentVolumeClaim"): Strategy(status=True, wipe=True),
    ("", "ResourceQuota"): Strategy(status=True, wipe=True),
    ("", "Endpoints"): Strategy(create_on_update=True),
    ("", "Event"): Strategy(create_on_update=True),
    ("", "LimitRange"): Strategy(create_on_update=True),
    ("", "PodTemplate"): Strategy(generation=True),
    ("apps", "Deployment"): Strategy(status=True, wipe=True, generation=True),
    ("apps", "ReplicaSet"): Strategy(status=True, wipe=True, generation=True),
    ("apps", "StatefulSet"): Strategy(status=True, wipe=True, generation=True),
    ("apps", "DaemonSet"): Strategy(status=True, wipe=True, generation=True),
    ("batch", "Job"): Strategy(status=True, wipe=True, generation=True),
    ("batch", "CronJob"): Strategy(status=True, wipe=True, generation=True),
    ("autoscaling", "HorizontalPodAutoscaler"): Strategy(status=True, wipe=True),
    ("networking.k8s.io", "Ingress"): Strategy(status=True, wipe=True, generation=True),
    ("networking.k8s.io", "IngressClass"): Strategy(generation=True),
    ("networking.k8s.io", "NetworkPolicy"): Strategy(generation=True),
    ("networking.k8s.io", "ServiceCIDR"): Strategy(status=True, wipe=True),
    ("policy", "PodDisruptionBudget"): Strategy(status=True, wipe=True, generation=True, unconditional=False),
    ("rbac.authorization.k8s.io", "Role"): Strategy(create_on_update=True),
    ("rbac.authorization.k8s.io", "ClusterRole"): Strategy(create_on_update=True),
    ("rbac.authorization.k8s.io", "RoleBinding"): Strategy(create_on_update=True),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): Strategy(create_on_update=True),
    ("storage.k8s.io", "VolumeAttachment"): Strategy(status=True, wipe=True, unconditional=False),
    ("storage.k8s.io", "CSIDriver"): Strategy(generation=True, unconditional=False),
    ("storage.k8s.io", "CSINode"): Strategy(unconditional=False),
    ("coordination.k8s.io", "Lease"): Strategy(unconditional=False, create_on_update=True),
    ("discovery.k8s.io", "EndpointSlice"): Strategy(generation=True),
    ("certificates.k8s.io", "CertificateSigningRequest"): Strategy(status=True, wipe=True),
    ("scheduling.k8s.io", "PriorityClass"): Strategy(generation=True),
    ("node.k8s.io", "RuntimeClass"): Strategy(unconditional=False),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Strategy(
        status=True, wipe=True, generation=True, unconditional=False
    ),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Strategy(
        status=True, wipe=True, generation=True, unconditional=False
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): Strategy(generation=True, unconditional=False),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): Strategy(generation=True, unconditional=False),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Strategy(
        status=True, wipe=True, generation=True, unconditional=False
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): Strategy(
        generation=True, unconditional=False
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Strategy(
        status=True, wipe=True, generation=True, unconditional=False
    ),
    ("apiregistration.k8s.io", "APIService"): Strategy(status=True, wipe=True, unconditional=False),
}
_PLAIN = Strategy()


def strategy_of(group: str, kind: str) -> Strategy:
    """The strategy of a kind by its stored group."""
    return _TABLE.get((group, kind), _PLAIN)
