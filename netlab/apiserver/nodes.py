"""The Node authorizer: a node may read what its pods need, and write what is its own.

Which Secrets, ConfigMaps and claims a node's pods name is read from the store when it asks. Source: kubernetes
plugin/pkg/auth/authorizer/node.
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from netlab.api import Json
from netlab.api.references import references
from netlab.apiserver import objects
from netlab.apiserver.call import User
from netlab.apiserver.policy import CLUSTER_ROLES, rule
from netlab.apiserver.rbac import Ask, Decision, rule_allows
from netlab.store.protocol import Store

PREFIX = "system:node:"
_RULES = [rule(r) for r in CLUSTER_ROLES["system:node"]]
_REFERENCED = ("secrets", "configmaps", "persistentvolumeclaims")


@lru_cache(1024)
def _by_rule(ask: Ask) -> Decision:
    """Whether the rules of all nodes allow it, none of which is for one name or namespace."""
    return Decision(any(rule_allows(r, ask) for r in _RULES))


class Nodes:
    """The authorizer of users `system:node:<name>` in the group system:nodes."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def decide(self, user: User, ask: Ask) -> Decision:
        """Whether a node may."""
        if not user.name.startswith(PREFIX):
            return Decision(False, "unknown node")
        node = user.name.removeprefix(PREFIX)
        resource = ask.resource.partition("/")[0]
        if ask.group == "" and resource in _REFERENCED:
            if ask.verb not in ("get", "list", "watch") or not ask.name:
                return Decision(False, "can only read resources of this type by name")
            if not await self._referenced(node, ask):
                return Decision(False, f"no relationship found between node '{node}' and this object")
            return Decision(True)
        if ask.group == "coordination.k8s.io" and resource == "leases":
            own = ask.namespace == "kube-node-lease" and ask.name in ("", node)
            return Decision(own and ask.verb in ("create", "get", "update", "patch", "delete"))
        if ask.group == "" and resource == "nodes" and ask.verb in ("patch", "update", "get") and ask.name:
            return Decision(ask.name == node)
        if ask.group == "" and ask.resource == "serviceaccounts/token":
            return Decision(ask.verb == "create" and await self._has_account(node, ask))
        return _by_rule(ask._replace(namespace="", name=""))

    async def _pods(self, node: str, namespace: str) -> list[Json]:
        page = await self.store.list(f"/registry/pods/{namespace}/")
        # there may be ten thousand, and few are this node's
        needle = b'"nodeName":' + orjson.dumps(node)
        found = (objects.load(kv) for kv in page.items if needle in kv.value)
        return [p for p in found if (p.get("spec") or {}).get("nodeName") == node]

    async def _has_account(self, node: str, ask: Ask) -> bool:
        return any(
            (p["spec"].get("serviceAccountName") or "default") == ask.name
            for p in await self._pods(node, ask.namespace)
        )

    async def _referenced(self, node: str, ask: Ask) -> bool:
        return any((ask.resource, ask.name) in references(p["spec"]) for p in await self._pods(node, ask.namespace))
