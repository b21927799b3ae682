"""The roles and bindings that a new cluster has, and the first namespaces and priority classes.

What they allow are facts of the original (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), written here as rules in
short: `verbs | groups | resources`, or `verbs | paths`.
"""

from __future__ import annotations

from netlab.api import Json
from netlab.apiserver.controllerroles import CONTROLLER_ROLES

_READ, _WRITE = "get,list,watch", "create,delete,deletecollection,patch,update"
_ALL = f"{_READ},{_WRITE}"
RBAC = "rbac.authorization.k8s.io"
_AGGREGATE = f"{RBAC}/aggregate-to-"
_CONTROLLER = "system:controller:"


def rule(text: str) -> Json:
    verbs, *rest = (part.strip() for part in text.split("|"))
    if len(rest) == 1:
        return {"verbs": verbs.split(","), "nonResourceURLs": rest[0].split(",")}
    groups = [g.strip().replace("core", "") if g.strip() == "core" else g.strip() for g in rest[0].split(",")]
    found: Json = {"verbs": verbs.split(","), "apiGroups": groups, "resources": rest[1].split(",")}
    if len(rest) > 2:
        found["resourceNames"] = rest[2].split(",")
    return found


_EDIT = [
    f"{_READ} | core | pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy",
    "impersonate | core | serviceaccounts",
    f"{_WRITE} | core | pods,pods/attach,pods/exec,pods/portforward,pods/proxy",
    "create | core | pods/eviction",
    f"{_WRITE} | core | configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,"
    "secrets,serviceaccounts,services,services/proxy",
    "create | core | serviceaccounts/token",
    f"{_WRITE} | apps | daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,"
    "statefulsets,statefulsets/scale",
    f"{_WRITE} | autoscaling | horizontalpodautoscalers",
    f"{_WRITE} | batch | cronjobs,jobs",
    f"{_WRITE} | extensions | daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,"
    "networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",
    f"{_WRITE} | policy | poddisruptionbudgets",
    f"{_WRITE} | networking.k8s.io | ingresses,networkpolicies",
    f"{_ALL} | coordination.k8s.io | leases",
    f"{_ALL} | settings.k8s.io | podpresets",
]
_VIEW = [
    f"{_READ} | core | configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"
    "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
    f"{_READ} | core | bindings,events,limitranges,namespaces/status,pods/log,pods/status,"
    "replicationcontrollers/status,resourcequotas,resourcequotas/status",
    f"{_READ} | core | namespaces",
    f"{_READ} | discovery.k8s.io | endpointslices",
    f"{_READ} | apps | controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"
    "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,"
    "statefulsets/status",
    f"{_READ} | autoscaling | horizontalpodautoscalers,horizontalpodautoscalers/status",
    f"{_READ} | batch | cronjobs,cronjobs/status,jobs,jobs/status",
    f"{_READ} | extensions | daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,"
    "ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale",
    f"{_READ} | policy | poddisruptionbudgets,poddisruptionbudgets/status",
    f"{_READ} | networking.k8s.io | ingresses,ingresses/status,networkpolicies",
    f"{_READ} | settings.k8s.io | podpresets",
]
_ADMIN = [
    "create | authorization.k8s.io | localsubjectaccessreviews",
    f"{_ALL} | {RBAC} | rolebindings,roles",
]
_DISCOVERY = "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/"
_NODE = [
    "create | authentication.k8s.io | tokenreviews",
    "create | authorization.k8s.io | localsubjectaccessreviews,subjectaccessreviews",
    f"{_READ} | core | services",
    "create,get,list,watch | core | nodes",
    "patch,update | core | nodes/status",
    "patch,update | core | nodes",
    "create,patch,update | core | events",
    f"{_READ} | core | pods",
    "create,delete | core | pods",
    "patch,update | core | pods/status",
    "create | core | pods/eviction",
    f"{_READ} | core | configmaps,secrets",
    "get | core | persistentvolumeclaims,persistentvolumes",
    "get | core | endpoints",
    "create,get,list,watch | certificates.k8s.io | certificatesigningrequests",
    "create,delete,get,patch,update | coordination.k8s.io | leases",
    "get | storage.k8s.io | volumeattachments",
    "create | core | serviceaccounts/token",
    "get,patch,update | core | persistentvolumeclaims/status",
    f"{_READ} | storage.k8s.io | csidrivers",
    "create,delete,get,patch,update | storage.k8s.io | csinodes",
    f"{_READ} | node.k8s.io | runtimeclasses",
]

#: name → rules, of the ClusterRoles that aggregate nothing
CLUSTER_ROLES: dict[str, list[str]] = {
    "cluster-admin": ["* | * | *", "* | *"],
    "system:discovery": [f"get | {_DISCOVERY}"],
    "system:public-info-viewer": ["get | /healthz,/livez,/readyz,/version,/version/"],
    "system:basic-user": [
        "create | authorization.k8s.io | selfsubjectaccessreviews,selfsubjectrulesreviews",
        "create | authentication.k8s.io | selfsubjectreviews",
    ],
    "system:monitoring": [
        "get | /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*",
    ],
    "system:node": _NODE,
    "system:node-proxier": [
        "list,watch | core | endpoints,services",
        f"{_READ} | core | nodes",
        "create,patch,update | core,events.k8s.io | events",
        "list,watch | discovery.k8s.io | endpointslices",
        "list,watch | networking.k8s.io | servicecidrs",
    ],
    "system:node-bootstrapper": [
        "create,get,list,watch | certificates.k8s.io | certificatesigningrequests",
    ],
    "system:node-problem-detector": [
        "get | core | nodes", "patch | core | nodes/status", "create,patch,update | core,events.k8s.io | events",
    ],
    "system:auth-delegator": [
        "create | authentication.k8s.io | tokenreviews", "create | authorization.k8s.io | subjectaccessreviews",
    ],
    "system:service-account-issuer-discovery": [
        "get | /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/",
    ],
    "system:kube-dns": ["list,watch | core | endpoints,services"],
    # as kubeadm makes it: what a name server reads nowadays
    "system:coredns": [
        "list,watch | core | endpoints,namespaces,pods,services", "list,watch | discovery.k8s.io | endpointslices",
    ],
    # the original leaves policies to others, and their roles with them
    "system:netlab-policyd": [
        "list,watch | core | namespaces,nodes,pods", "list,watch | networking.k8s.io | networkpolicies",
    ],
    "system:heapster": [f"{_READ} | core | events,namespaces,nodes,pods", f"{_READ} | extensions | deployments"],
    "system:persistent-volume-provisioner": [
        "create,delete,get,list,watch | core | persistentvolumes",
        "get,list,update,watch | core | persistentvolumeclaims",
        f"{_READ} | storage.k8s.io | storageclasses", "watch | core | events", "create,patch,update | core | events",
    ],
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": [
        "create | certificates.k8s.io | certificatesigningrequests/nodeclient",
    ],
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": [
        "create | certificates.k8s.io | certificatesigningrequests/selfnodeclient",
    ],
    "system:kube-scheduler": [
        "create,patch,update | core,events.k8s.io | events",
        "create | coordination.k8s.io | leases", "get,list,update,watch | coordination.k8s.io | leases",
        f"{_READ} | core | nodes", "delete,get,list,watch | core | pods",
        "create | core | bindings,pods/binding", "patch,update | core | pods/status",
        f"{_READ} | core | replicationcontrollers,services", f"{_READ} | apps,extensions | replicasets",
        f"{_READ} | apps | statefulsets", f"{_READ} | policy | poddisruptionbudgets",
        "get,list,patch,update,watch | core | persistentvolumeclaims,persistentvolumes",
        "create | authentication.k8s.io | tokenreviews", "create | authorization.k8s.io | subjectaccessreviews",
        f"{_READ} | storage.k8s.io | csinodes,csidrivers,csistoragecapacities,storageclasses",
        f"{_READ} | core | namespaces",
    ],
    "system:kube-controller-manager": [
        "create,patch,update | core,events.k8s.io | events",
        "create,get,list,update,watch | coordination.k8s.io | leases",
        "create | core | secrets,serviceaccounts", "delete | core | secrets",
        "get | core | configmaps,namespaces,secrets,serviceaccounts", "update | core | secrets,serviceaccounts",
        "create | authentication.k8s.io | tokenreviews", "create | authorization.k8s.io | subjectaccessreviews",
        "list,watch | * | *", "create | core | serviceaccounts/token",
    ],
    "system:volume-scheduler": [
        "get,list,patch,update,watch | core | persistentvolumes", f"{_READ} | storage.k8s.io | storageclasses",
        "get,list,patch,update,watch | core | persistentvolumeclaims",
    ],
    "system:aggregate-to-admin": _ADMIN,
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-view": _VIEW,
}  # fmt: skip

#: ClusterRoleBindings: name → (role, subjects as kind:name)
BINDINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cluster-admin": ("cluster-admin", ("Group:system:masters",)),
    "system:monitoring": ("system:monitoring", ("Group:system:monitoring",)),
    "system:discovery": ("system:discovery", ("Group:system:authenticated",)),
    "system:basic-user": ("system:basic-user", ("Group:system:authenticated",)),
    "system:public-info-viewer": (
        "system:public-info-viewer", ("Group:system:authenticated", "Group:system:unauthenticated"),
    ),
    "system:node-proxier": ("system:node-proxier", ("User:system:kube-proxy",)),
    "system:kube-scheduler": ("system:kube-scheduler", ("User:system:kube-scheduler",)),
    "system:kube-controller-manager": ("system:kube-controller-manager", ("User:system:kube-controller-manager",)),
    "system:volume-scheduler": ("system:volume-scheduler", ("User:system:kube-scheduler",)),
    "system:kube-dns": ("system:kube-dns", ("ServiceAccount:kube-dns",)),
    "system:coredns": ("system:coredns", ("User:system:coredns", "ServiceAccount:coredns")),
    "system:netlab-policyd": ("system:netlab-policyd", ("User:system:netlab-policyd",)),
    # `netlab agent` is all parts of a node in one, and asks as the node
    "netlab:agent-proxy": ("system:node-proxier", ("Group:system:nodes",)),
    "netlab:agent-policyd": ("system:netlab-policyd", ("Group:system:nodes",)),
    "netlab:agent-dns": ("system:coredns", ("Group:system:nodes",)),
    "system:service-account-issuer-discovery": (
        "system:service-account-issuer-discovery", ("Group:system:serviceaccounts",),
    ),
    # how nodes come and stay, as kubeadm sets it up: by a bootstrap token, and then by the certificate that they got
    "netlab:node-bootstrapper": ("system:node-bootstrapper", ("Group:system:bootstrappers",)),
    "netlab:nodes-that-come": (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient", ("Group:system:bootstrappers",),
    ),
    "netlab:nodes-that-stay": (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", ("Group:system:nodes",),
    ),
}  # fmt: skip

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
PRIORITY_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def _meta(name: str, **labels: str) -> Json:
    return {
        "name": name, "annotations": {f"{RBAC}/autoupdate": "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels},
    }  # fmt: skip


def cluster_roles() -> list[Json]:
    """The default ClusterRoles."""
    found = []
    for name, rules in (CLUSTER_ROLES | {_CONTROLLER + n: r for n, r in CONTROLLER_ROLES.items()}).items():
        labels = {}
        if name.startswith("system:aggregate-to-"):
            labels[_AGGREGATE + name.rpartition("-")[2]] = "true"
        found.append({"metadata": _meta(name, **labels), "rules": [rule(r) for r in rules]})
    for name, above in (("admin", ""), ("edit", "admin"), ("view", "edit")):
        labels = {_AGGREGATE + above: "true"} if above else {}
        selector = [{"matchLabels": {_AGGREGATE + name: "true"}}]
        found.append({
            "metadata": _meta(name, **labels), "aggregationRule": {"clusterRoleSelectors": selector}, "rules": [],
        })  # fmt: skip
    return found


def cluster_role_bindings() -> list[Json]:
    """The default ClusterRoleBindings."""
    found = []
    controllers = {_CONTROLLER + n: (_CONTROLLER + n, (f"ServiceAccount:{n}",)) for n in CONTROLLER_ROLES}
    for name, (role, subjects) in (BINDINGS | controllers).items():
        listed = []
        for subject in subjects:
            kind, _, who = subject.partition(":")
            entry: Json = {"kind": kind, "name": who}
            entry |= {"namespace": "kube-system"} if kind == "ServiceAccount" else {"apiGroup": RBAC}
            listed.append(entry)
        ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
        found.append({"metadata": _meta(name), "roleRef": ref, "subjects": listed})
    return found
