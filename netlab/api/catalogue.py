"""The catalogue of built-in resources: one line for each, as discovery tells of them.

A line of TABLE: kind, plural, short names, categories, scope (N namespaced, C cluster), subresources, verbs. `-` stands
for none; verbs are `*` (all), `ro` (get list), `post` (create only: reviews and bindings) or `nocoll` (all but
deletecollection). Order of groups and resources is that of the original's aggregated discovery, which is what decides
which group a bare `kubectl get deployments` means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from netlab.api.versions import OLD

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_VERBS = {
    "*": ALL_VERBS,
    "nocoll": tuple(v for v in ALL_VERBS if v != "deletecollection"),
    "ro": ("get", "list"),
    "post": ("create",),
}

TABLE = """
v1
  Binding                 bindings               -      -    N  -                               post
  ComponentStatus         componentstatuses      cs     -    C  -                               ro
  ConfigMap               configmaps             cm     -    N  -                               *
  Endpoints               endpoints              ep     -    N  -                               *
  Event                   events                 ev     -    N  -                               *
  LimitRange              limitranges            limits -    N  -                               *
  Namespace               namespaces             ns     -    C  finalize,status                 nocoll
  Node                    nodes                  no     -    C  proxy,status                    *
  PersistentVolumeClaim   persistentvolumeclaims pvc    -    N  status                          *
  PersistentVolume        persistentvolumes      pv     -    C  status                          *
  Pod                     pods                   po     all  N  @pod                            *
  PodTemplate             podtemplates           -      -    N  -                               *
  ReplicationController   replicationcontrollers rc     all  N  scale,status                    *
  ResourceQuota           resourcequotas         quota  -    N  status                          *
  Secret                  secrets                -      -    N  -                               *
  ServiceAccount          serviceaccounts        sa     -    N  token                           *
  Service                 services               svc    all  N  proxy,status                    *
apiregistration.k8s.io/v1
  APIService              apiservices            -      api-extensions C status                 *
apps/v1
  ControllerRevision      controllerrevisions    -      -    N  -                               *
  DaemonSet               daemonsets             ds     all  N  status                          *
  Deployment              deployments            deploy all  N  scale,status                    *
  ReplicaSet              replicasets            rs     all  N  scale,status                    *
  StatefulSet             statefulsets           sts    all  N  scale,status                    *
events.k8s.io/v1
  Event                   events                 ev     -    N  -                               *
authentication.k8s.io/v1
  SelfSubjectReview       selfsubjectreviews     -      -    C  -                               post
  TokenReview             tokenreviews           -      -    C  -                               post
authorization.k8s.io/v1
  LocalSubjectAccessReview localsubjectaccessreviews -  -    N  -                               post
  SelfSubjectAccessReview selfsubjectaccessreviews -    -    C  -                               post
  SelfSubjectRulesReview  selfsubjectrulesreviews -     -    C  -                               post
  SubjectAccessReview     subjectaccessreviews   -      -    C  -                               post
autoscaling/v2
  HorizontalPodAutoscaler horizontalpodautoscalers hpa  all  N  status                          *
autoscaling/v1
  HorizontalPodAutoscaler horizontalpodautoscalers hpa  all  N  status                          *
batch/v1
  CronJob                 cronjobs               cj     all  N  status                          *
  Job                     jobs                   -      all  N  status                          *
certificates.k8s.io/v1
  CertificateSigningRequest certificatesigningrequests csr - C  approval,status                 *
networking.k8s.io/v1
  IngressClass            ingressclasses         -      -    C  -                               *
  Ingress                 ingresses              ing    -    N  status                          *
  IPAddress               ipaddresses            ip     -    C  -                               *
  NetworkPolicy           networkpolicies        netpol -    N  -                               *
  ServiceCIDR             servicecidrs           -      -    C  status                          *
policy/v1
  PodDisruptionBudget     poddisruptionbudgets   pdb    -    N  status                          *
rbac.authorization.k8s.io/v1
  ClusterRoleBinding      clusterrolebindings    -      -    C  -                               *
  ClusterRole             clusterroles           -      -    C  -                               *
  RoleBinding             rolebindings           -      -    N  -                               *
  Role                    roles                  -      -    N  -                               *
storage.k8s.io/v1
  CSIDriver               csidrivers             -      -    C  -                               *
  CSINode                 csinodes               -      -    C  -                               *
  CSIStorageCapacity      csistoragecapacities   -      -    N  -                               *
  StorageClass            storageclasses         sc     -    C  -                               *
  VolumeAttachment        volumeattachments      -      -    C  status                          *
admissionregistration.k8s.io/v1
  MutatingWebhookConfiguration mutatingwebhookconfigurations - api-extensions C -               *
  ValidatingAdmissionPolicy validatingadmissionpolicies - api-extensions C status               *
  ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings - api-extensions C -       *
  ValidatingWebhookConfiguration validatingwebhookconfigurations - api-extensions C -           *
apiextensions.k8s.io/v1
  CustomResourceDefinition customresourcedefinitions crd,crds api-extensions C status           *
scheduling.k8s.io/v1
  PriorityClass           priorityclasses        pc     -    C  -                               *
coordination.k8s.io/v1
  Lease                   leases                 -      -    N  -                               *
node.k8s.io/v1
  RuntimeClass            runtimeclasses         -      -    C  -                               *
discovery.k8s.io/v1
  EndpointSlice           endpointslices         -      -    N  -                               *
flowcontrol.apiserver.k8s.io/v1
  FlowSchema              flowschemas            -      -    C  status                          *
  PriorityLevelConfiguration prioritylevelconfigurations - - C  status                          *
metrics.k8s.io/v1beta1
  NodeMetrics             nodes                  -      -    C  -                               ro
  PodMetrics              pods                   -      -    N  -                               ro
"""

_POD = "attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize,status"

#: where the original keeps a resource below /registry, if not under its plural
_STORED_AT = {
    "replicationcontrollers": "controllers",
    "nodes": "minions",
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "ingresses": "ingress",
    "apiservices": "apiregistration.k8s.io/apiservices",
    "customresourcedefinitions": "apiextensions.k8s.io/customresourcedefinitions",
}


@dataclass(frozen=True, slots=True)
class Subresource:
    """A subresource: its name, the group, version and kind of its bodies ("" for the parent's), and its verbs."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as one served version of it shows it.

    storage: (group, version) of what the store holds; registry: the key's part between /registry/ and the name, with a
    slash at its end; custom: it comes from a CustomResourceDefinition.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short: tuple[str, ...]
    categories: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    subresources: tuple[Subresource, ...]
    registry: str
    storage: tuple[str, str]
    list_kind: str = ""
    custom: bool = field(default=False, compare=False)

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`pods`, `deployments.apps`: how messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored_version(self) -> str:
        """apiVersion of what the store holds."""
        group, version = self.storage
        return f"{group}/{version}" if group else version

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name."""
        return next((s for s in self.subresources if s.name == name), None)


def subresource(name: str, kind: str) -> Subresource:
    """A built-in subresource of `kind` by its name."""
    status = ("get", "patch", "update")
    match name:
        case "scale":
            return Subresource(name, "autoscaling", "v1", "Scale", status)
        case "eviction":
            return Subresource(name, "policy", "v1", "Eviction", ("create",))
        case "token":
            return Subresource(name, "authentication.k8s.io", "v1", "TokenRequest", ("create",))
        case "binding":
            return Subresource(name, "", "", "Binding", ("create",))
        case "finalize":
            return Subresource(name, "", "", kind, ("update",))
        case "log":
            return Subresource(name, "", "", kind, ("get",))
        case "exec" | "attach" | "portforward":
            options = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
            return Subresource(name, "", "", options[name], ("create", "get"))
        case "proxy":
            return Subresource(name, "", "", f"{kind}ProxyOptions", ("create", "delete", "get", "patch", "update"))
        case _:
            return Subresource(name, "", "", kind, status)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


def _parse(text: str) -> Iterator[Resource]:
    group = version = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 1:
            group, _, version = words[0].rpartition("/")
        elif words:
            kind, plural, short, categories, scope, subs, verbs = words
            at = _STORED_AT.get(plural, plural)
            stored = ("", "v1") if plural == "events" else (group, "v2") if group == "autoscaling" else (group, version)
            yield Resource(
                group, version, kind, plural, kind.lower(), _names(short), _names(categories), scope == "N",
                _VERBS[verbs], tuple(subresource(s, kind) for s in _names(subs.replace("@pod", _POD))),
                f"/registry/{at}/", stored, list_kind=f"{kind}List",
            )  # fmt: skip


def built_in() -> tuple[Resource, ...]:
    """Every built-in resource in every version it is served in, in discovery's order."""
    current = tuple(_parse(TABLE))
    by_kind = {(r.group, r.version, r.kind): r for r in current}
    older = []
    for old in OLD:
        now = by_kind.get((old.now_group, old.now_version, old.kind))
        if now is None:  # a kind that has no present form is stored as it is
            older.append(
                Resource(
                    old.group, old.version, old.kind, old.plural, old.kind.lower(), (), (), True, ALL_VERBS, (),
                    f"/registry/{old.plural}/", (old.group, old.version), list_kind=f"{old.kind}List",
                )
            )  # fmt: skip
            continue
        # without short names and categories where the group is another: `kubectl get all` must not list twice
        foreign = old.group != old.now_group
        short, categories = ((), ()) if foreign else (now.short, now.categories)
        older.append(replace(now, group=old.group, version=old.version, short=short, categories=categories))
    return current + tuple(older)
