"""NodeRestriction: a node changes itself and its pods, and nothing else.

Source: kubernetes plugin/pkg/admission/noderestriction.
"""

from __future__ import annotations

from collections.abc import Mapping

from netlab.api import Json, status
from netlab.api.references import references
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.call import User
from netlab.apiserver.nodes import PREFIX
from netlab.store.protocol import Store

#: labels of Kubernetes' own that a node may set on itself; of the first, whatever begins with it
_OWN_PREFIXES = ("kubelet.kubernetes.io/", "node.kubernetes.io/")
_OWN_LABELS = frozenset({
    "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
})  # fmt: skip


def forbidden_labels(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Labels that differ and that a node may not set: those by which others trust a node."""
    changed = {key for key in was.keys() | now.keys() if was.get(key) != now.get(key)}
    domains = {key: key.partition("/")[0] for key in changed if "/" in key}
    ours = {key for key, d in domains.items() if f".{d}".endswith((".kubernetes.io", ".k8s.io"))}
    return sorted(key for key in ours if key not in _OWN_LABELS and not key.startswith(_OWN_PREFIXES))


def node_of(user: User) -> str:
    """The name of the node that a user is, "" if he is none."""
    is_node = "system:nodes" in user.groups and user.name.startswith(PREFIX)
    return user.name.removeprefix(PREFIX) if is_node else ""


def check_token(user: User, ref: Json | None, bound: Json | None) -> None:
    """ApiError 403 if a node asks for a token that is not for one of its pods. bound: what the token is bound to."""
    node = node_of(user)
    if not node:
        return
    why = ""
    if ref is None or ref.get("kind") != "Pod" or bound is None:
        why = "node requested token not bound to a pod"
    elif not ref.get("uid"):
        why = "node requested token with a pod binding without a uid"
    elif (bound.get("spec") or {}).get("nodeName") != node:
        why = "node requested token bound to a pod scheduled on a different node"
    if why:
        raise status.forbidden("serviceaccounts", "", (ref or {}).get("name", ""), why)


class NodeRestriction(Plugin):
    """Writes of users `system:node:<name>`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def validate(self, a: Attributes) -> None:
        node = node_of(a.user)
        if not node:
            return
        match a.group_kind:
            case ("", "Pod"):
                self._pod(a, node)
            case ("", "Node"):
                self._node(a, node)
            case ("coordination.k8s.io", "Lease"):
                if a.namespace != "kube-node-lease":
                    raise self._refused(a, 'can only access leases in the "kube-node-lease" system namespace')
                if (a.name or (a.obj or {}).get("metadata", {}).get("name", "")) != node:
                    raise self._refused(a, "can only access node lease with the same name as the requesting node")
            case ("storage.k8s.io", "CSINode"):
                if (a.name or (a.obj or {}).get("metadata", {}).get("name", "")) != node:
                    raise self._refused(a, "can only access CSINode with the same name as the requesting node")
            case _:
                pass

    def _pod(self, a: Attributes, node: str) -> None:
        if a.operation == "CREATE" and not a.subresource and a.obj is not None:
            if "kubernetes.io/config.mirror" not in (a.obj["metadata"].get("annotations") or {}):
                why = 'pod does not have "kubernetes.io/config.mirror" annotation, '
                raise self._refused(a, f'{why}node "{node}" can only create mirror pods')
            if a.obj["spec"].get("nodeName") != node:
                raise self._refused(a, f'node "{node}" can only create pods with spec.nodeName set to itself')
            if references(a.obj["spec"]):
                raise self._refused(
                    a, f'node "{node}" can not create pods that reference secrets, configmaps or claims'
                )
            return
        old = a.old or {}
        if (old.get("spec") or {}).get("nodeName") != node:
            verb = {"DELETE": "delete pods", "UPDATE": "update pod status for pods"}.get(a.operation, "access pods")
            raise self._refused(a, f'node "{node}" can only {verb} with spec.nodeName set to itself')

    def _node(self, a: Attributes, node: str) -> None:
        name = a.name or (a.obj or {}).get("metadata", {}).get("name", "")
        if name != node:
            raise self._refused(a, f'node "{node}" is not allowed to modify node "{name}"')
        if a.operation == "DELETE":
            raise self._refused(a, f'node "{node}" is not allowed to delete node "{name}"')
        if a.obj is None or a.subresource:
            return
        labels = forbidden_labels(
            ((a.old or {}).get("metadata") or {}).get("labels") or {}, a.obj["metadata"].get("labels") or {}
        )
        if a.old is None:  # a control plane registers as one; the original has somebody else say so afterwards
            labels = [label for label in labels if not label.startswith("node-role.kubernetes.io/")]
        if labels:
            verb = "set the following labels" if a.old is None else "modify labels"
            raise self._refused(a, f'node "{node}" is not allowed to {verb}: {", ".join(labels)}')
        if a.old is not None:
            was, now = a.old.get("spec") or {}, a.obj.get("spec") or {}
            if was.get("taints") != now.get("taints"):
                raise self._refused(a, f'node "{node}" is not allowed to modify taints')

    @staticmethod
    def _refused(a: Attributes, why: str) -> status.ApiError:
        r = a.kind.resource
        name = a.name or (a.obj or {}).get("metadata", {}).get("name", "")
        return status.forbidden(r.plural, r.group, name, why)
