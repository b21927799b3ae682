"""Service accounts: every namespace has one that is called `default`, and again if somebody deletes it.

Source: kubernetes pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

from __future__ import annotations

from netlab.client.informer import Interest
from netlab.controllers.shape import NAMESPACES, SERVICE_ACCOUNTS, Tools, Watch, create_missing, namespace_key

DEFAULT = "default"


class ServiceAccounts:
    """Keys are names of namespaces."""

    NAME = "serviceaccount-controller"
    WATCHES = (Watch(Interest(NAMESPACES)), Watch(Interest(SERVICE_ACCOUNTS), namespace_key))

    def __init__(self, tools: Tools) -> None:
        self._client = tools.client
        self._namespaces = tools.store(Interest(NAMESPACES))
        self._accounts = tools.store(Interest(SERVICE_ACCOUNTS))

    async def reconcile(self, key: str) -> float | None:
        """Make the account if it is missing."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return None
        if self._accounts.get(f"{key}/{DEFAULT}") is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": key}}
            await create_missing(self._client, SERVICE_ACCOUNTS.path(key), account)
        return None
