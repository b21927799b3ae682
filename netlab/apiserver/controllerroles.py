"""What each controller of the original may do: roles `system:controller:NAME`, each bound to its ServiceAccount.

Our own controllers are one client and ask as an administrator; these are for whoever runs one by itself, and for those
who look. Written as rules in short, see `policy`. Source: kubernetes
plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go.
"""

from __future__ import annotations

_EVENTS = "create,patch,update | core,events.k8s.io | events"
_READ = "get,list,watch"

#: name without `system:controller:` → rules
CONTROLLER_ROLES: dict[str, list[str]] = {
    "certificate-controller": [
        "delete,get,list,watch | certificates.k8s.io | certificatesigningrequests",
        "update | certificates.k8s.io | certificatesigningrequests/approval,certificatesigningrequests/status",
        "approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet",
        "sign | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client,"
        "kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown",
        "create | authorization.k8s.io | subjectaccessreviews", _EVENTS,
    ],
    "cronjob-controller": [
        "get,list,update,watch | batch | cronjobs", "create,delete,get,list,patch,update,watch | batch | jobs",
        "update | batch | cronjobs/status", "update | batch | cronjobs/finalizers",
        "delete,list | core | pods", _EVENTS,
    ],
    "daemon-set-controller": [
        f"{_READ} | apps,extensions | daemonsets", "update | apps,extensions | daemonsets/status",
        "update | apps,extensions | daemonsets/finalizers", "list,watch | core | nodes",
        "create,delete,list,patch,watch | core | pods", "create | core | pods/binding",
        "create,delete,get,list,patch,update,watch | apps | controllerrevisions", _EVENTS,
    ],
    "deployment-controller": [
        "get,list,update,watch | apps,extensions | deployments", "update | apps,extensions | deployments/status",
        "update | apps,extensions | deployments/finalizers",
        "create,delete,get,list,patch,update,watch | apps,extensions | replicasets",
        "get,list,update,watch | core | pods",
        _EVENTS,
    ],
    "disruption-controller": [
        f"{_READ} | apps,extensions | deployments", f"{_READ} | apps,extensions | replicasets",
        f"{_READ} | core | replicationcontrollers", f"{_READ} | policy | poddisruptionbudgets",
        f"{_READ} | apps | statefulsets", "update | policy | poddisruptionbudgets/status", "patch | core | pods/status",
        "get | * | */scale", _EVENTS,
    ],
    "endpoint-controller": [
        f"{_READ} | core | pods,services", "create,delete,get,list,update | core | endpoints",
        "create | core | endpoints/restricted", _EVENTS,
    ],
    "endpointslice-controller": [
        f"{_READ} | core | nodes,pods,services", "update | core | services/finalizers",
        "create,delete,get,list,update | discovery.k8s.io | endpointslices",
        "create | discovery.k8s.io | endpointslices/restricted", _EVENTS,
    ],
    "endpointslicemirroring-controller": [
        f"{_READ} | core | endpoints,services", "update | core | services/finalizers",
        "update | core | endpoints/finalizers",
        "create,delete,get,list,update | discovery.k8s.io | endpointslices",
        "create | discovery.k8s.io | endpointslices/restricted", _EVENTS,
    ],
    "generic-garbage-collector": ["delete,get,list,patch,update,watch | * | *", _EVENTS],
    "job-controller": [
        "get,list,patch,update,watch | batch | jobs", "update | batch | jobs/status",
        "update | batch | jobs/finalizers",
        "create,delete,list,patch,watch | core | pods", _EVENTS,
    ],
    "namespace-controller": [
        "delete,get,list,watch | core | namespaces", "update | core | namespaces/finalize,namespaces/status",
        "delete,deletecollection,get,list | * | *",
    ],
    "node-controller": [
        "delete,get,list,patch,update | core | nodes", "patch,update | core | nodes/status",
        "patch,update | core | pods/status",
        "delete,get,list | core | pods", _EVENTS,
    ],
    "persistent-volume-binder": [
        "create,delete,get,list,update,watch | core | persistentvolumes", "update | core | persistentvolumes/status",
        "get,list,update,watch | core | persistentvolumeclaims", "update | core | persistentvolumeclaims/status",
        "create,delete,get,list,watch | core | pods", f"{_READ} | storage.k8s.io | storageclasses",
        "get,list | core | nodes",
        "watch | core | events", _EVENTS,
    ],
    "pod-garbage-collector": ["delete,list,watch | core | pods", "get,list | core | nodes",
        "patch | core | pods/status"],
    "pv-protection-controller": ["get,list,update,watch | core | persistentvolumes", _EVENTS],
    "pvc-protection-controller": [
        "get,list,update,watch | core | persistentvolumeclaims", f"{_READ} | core | pods", _EVENTS,
    ],
    "replicaset-controller": [
        "get,list,update,watch | apps,extensions | replicasets", "update | apps,extensions | replicasets/status",
        "update | apps,extensions | replicasets/finalizers", "create,delete,list,patch,watch | core | pods", _EVENTS,
    ],
    "replication-controller": [
        "get,list,update,watch | core | replicationcontrollers", "update | core | replicationcontrollers/status",
        "update | core | replicationcontrollers/finalizers", "create,delete,list,patch,watch | core | pods", _EVENTS,
    ],
    "resourcequota-controller": ["list,watch | * | *", "update | core | resourcequotas/status", _EVENTS],
    "root-ca-cert-publisher": ["create,update | core | configmaps", _EVENTS],
    "service-account-controller": ["create | core | serviceaccounts", _EVENTS],
    "statefulset-controller": [
        "list,watch | core | pods", f"{_READ} | apps | statefulsets", "update | apps | statefulsets/status",
        "update | apps | statefulsets/finalizers", "create,delete,get,patch,update | core | pods",
        "create,delete,get,list,patch,update,watch | apps | controllerrevisions",
        "create,delete,get,list,patch,update,watch | core | persistentvolumeclaims", _EVENTS,
    ],
    "ttl-after-finished-controller": ["delete,get,list,watch | batch | jobs", _EVENTS],
}  # fmt: skip
