"""NodeRestriction: a node changes itself and its pods, and nothing else.

Source: kubernetes plugin/pkg/admission/noderestriction.
"""

from __future__ import annotations

from netlab.api import status
from netlab.api.references import references
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.nodes import PREFIX
from netlab.store.protocol import Store


class NodeRestriction(Plugin):
    """Writes of users `system:node:<name>`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def validate(self, a: Attributes) -> None:
        if "system:nodes" not in a.user.groups or not a.user.name.startswith(PREFIX):
            return
        node = a.user.name.removeprefix(PREFIX)
        match a.group_kind:
            case ("", "Pod"):
                self._pod(a, node)
            case ("", "Node"):
                self._node(a, node)
            case ("coordination.k8s.io", "Lease") if a.name and a.name != node:
                raise self._refused(a, "can only access node lease with the same name as the requesting node")
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
        if a.old is not None and a.obj is not None and not a.subresource:
            was, now = a.old.get("spec") or {}, a.obj.get("spec") or {}
            if was.get("taints") != now.get("taints"):
                raise self._refused(a, f'node "{node}" is not allowed to modify taints')

    @staticmethod
    def _refused(a: Attributes, why: str) -> status.ApiError:
        r = a.kind.resource
        name = a.name or (a.obj or {}).get("metadata", {}).get("name", "")
        return status.forbidden(r.plural, r.group, name, why)
