"""The columns of every kind: names (`*` wide, `:integer` a type) and the function that fills a row."""

from __future__ import annotations

from netlab.api.columns import Cells, Columns, cluster, definition, network, pods, workloads


def _made(names: str, cells: Cells) -> Columns:
    return Columns(tuple(definition(n.strip()) for n in names.split("|")), cells)


_MORE = "Containers* | Images* | Selector*"
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"
_BOUND = _made("Name | Role | Age | Users* | Groups* | ServiceAccounts*", cluster.binding)
_CREATED = _made("Name | Created At:date", cluster.name_created)
_HOOKS = _made("Name | Webhooks:integer | Age", cluster.webhooks)
_SETS = _made(f"Name | Desired:integer | Current:integer | Ready:integer | Age | {_MORE}", workloads.replica_set)

TABLE: dict[tuple[str, str], Columns] = {
    ("", "Pod"): _made(
        "Name | Ready | Status | Restarts | Age | IP* | Node* | Nominated Node* | Readiness Gates*", pods.pod
    ),
    ("", "PodTemplate"): _made("Name | Containers | Images | Pod Labels", workloads.pod_template),
    ("", "ReplicationController"): Columns(_SETS.definitions, workloads.replication_controller),
    ("", "Service"): _made(
        "Name | Type | Cluster-IP | External-IP | Port(s) | Age | Selector*", network.service
    ),
    ("", "Endpoints"): _made("Name | Endpoints | Age", network.endpoints),
    ("", "Node"): _made(
        "Name | Status | Roles | Age | Version | Internal-IP* | External-IP* | OS-Image* | Kernel-Version* | "
        "Container-Runtime*", cluster.node,
    ),
    ("", "Namespace"): _made("Name | Status | Age", cluster.namespace),
    ("", "ConfigMap"): _made("Name | Data | Age", cluster.config_map),
    ("", "Secret"): _made("Name | Type | Data:integer | Age", cluster.secret),
    ("", "ServiceAccount"): _made("Name | Secrets | Age", cluster.service_account),
    ("", "Event"): _made(
        "Last Seen | Type | Reason | Object | Subobject* | Source* | Message | First Seen* | Count* | Name*",
        cluster.event,
    ),
    ("", "PersistentVolume"): _made(
        "Name | Capacity | Access Modes | Reclaim Policy | Status | Claim | StorageClass | VolumeAttributesClass | "
        "Reason | Age | VolumeMode*", cluster.persistent_volume,
    ),
    ("", "PersistentVolumeClaim"): _made(
        "Name | Status | Volume | Capacity | Access Modes | StorageClass | VolumeAttributesClass | Age | VolumeMode*",
        cluster.persistent_volume_claim,
    ),
    ("", "ResourceQuota"): _made("Name | Request | Limit | Age", cluster.resource_quota),
    ("", "LimitRange"): _CREATED,
    ("", "ComponentStatus"): _made("Name | Status | Message | Error", cluster.component_status),
    ("apps", "Deployment"): _made(
        f"Name | Ready | Up-to-date | Available | Age | {_MORE}", workloads.deployment
    ),
    ("apps", "ReplicaSet"): _SETS,
    ("apps", "StatefulSet"): _made("Name | Ready | Age | Containers* | Images*", workloads.stateful_set),
    ("apps", "DaemonSet"): _made(
        "Name | Desired:integer | Current:integer | Ready:integer | Up-to-date:integer | Available:integer | "
        f"Node Selector | Age | {_MORE}", workloads.daemon_set,
    ),
    ("apps", "ControllerRevision"): _made("Name | Controller | Revision | Age", workloads.controller_revision),
    ("batch", "Job"): _made(f"Name | Status | Completions | Duration | Age | {_MORE}", workloads.job),
    ("batch", "CronJob"): _made(
        f"Name | Schedule | Timezone | Suspend | Active:integer | Last Schedule | Age | {_MORE}", workloads.cron_job
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): _made(
        "Name | Reference | Targets | MinPods | MaxPods | Replicas | Age", workloads.autoscaler
    ),
    ("policy", "PodDisruptionBudget"): _made(
        "Name | Min Available | Max Unavailable | Allowed Disruptions:integer | Age", workloads.disruption_budget
    ),
    ("discovery.k8s.io", "EndpointSlice"): _made(
        "Name | AddressType | Ports | Endpoints | Age", network.endpoint_slice
    ),
    ("networking.k8s.io", "Ingress"): _made("Name | Class | Hosts | Address | Ports | Age", network.ingress),
    ("networking.k8s.io", "IngressClass"): _made("Name | Controller | Parameters | Age", network.ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): _made("Name | Pod-Selector | Age", network.network_policy),
    ("networking.k8s.io", "ServiceCIDR"): _made("Name | CIDRs | Age", network.service_cidr),
    ("networking.k8s.io", "IPAddress"): _made("Name | ParentRef", network.ip_address),
    ("storage.k8s.io", "StorageClass"): _made(
        "Name | Provisioner | ReclaimPolicy | VolumeBindingMode | AllowVolumeExpansion | Age", cluster.storage_class
    ),
    ("storage.k8s.io", "CSIDriver"): _made(
        "Name | AttachRequired:boolean | PodInfoOnMount:boolean | StorageCapacity:boolean | TokenRequests | "
        "RequiresRepublish:boolean | Modes | Age", cluster.csi_driver,
    ),
    ("storage.k8s.io", "CSINode"): _made("Name | Drivers:integer | Age", cluster.csi_node),
    ("storage.k8s.io", "CSIStorageCapacity"): _made("Name | StorageClassName | Capacity", cluster.csi_capacity),
    ("storage.k8s.io", "VolumeAttachment"): _made(
        "Name | Attacher | PV | Node | Attached:boolean | Age", cluster.volume_attachment
    ),
    ("coordination.k8s.io", "Lease"): _made("Name | Holder | Age", cluster.lease),
    (_RBAC, "Role"): _CREATED,
    (_RBAC, "ClusterRole"): _CREATED,
    (_RBAC, "RoleBinding"): _BOUND,
    (_RBAC, "ClusterRoleBinding"): _BOUND,
    ("certificates.k8s.io", "CertificateSigningRequest"): _made(
        "Name | Age | SignerName | Requestor | RequestedDuration | Condition", cluster.certificate_request
    ),
    ("scheduling.k8s.io", "PriorityClass"): _made(
        "Name | Value:integer | Global-Default:boolean | Age | PreemptionPolicy", cluster.priority_class
    ),
    ("node.k8s.io", "RuntimeClass"): _made("Name | Handler | Age", cluster.runtime_class),
    (_ADMISSION, "MutatingWebhookConfiguration"): _HOOKS,
    (_ADMISSION, "ValidatingWebhookConfiguration"): _HOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): _made(
        "Name | Validations:integer | ParamKind | Age", cluster.admission_policy
    ),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _made(
        "Name | PolicyName | ParamRef | Age", cluster.admission_binding
    ),
    (_FLOW, "FlowSchema"): _made(
        "Name | PriorityLevel | MatchingPrecedence:integer | DistinguisherMethod | Age | MissingPL",
        cluster.flow_schema,
    ),
    (_FLOW, "PriorityLevelConfiguration"): _made(
        "Name | Type | NominalConcurrencyShares | Queues | HandSize | QueueLengthLimit | Age", cluster.priority_level
    ),
    ("apiregistration.k8s.io", "APIService"): _made("Name | Service | Available | Age", cluster.api_service),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _made(
        "Name | Created At:date", cluster.custom_resource_definition
    ),
}  # fmt: skip
