"""ClusterRoles with an aggregationRule: their rules are gathered from the roles that it selects, and written down.

Decisions do not wait for it (`Rbac.rules_of` gathers by itself); readers see what holds. Source: kubernetes
pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from netlab.apiserver import objects
from netlab.apiserver.handlers import Context
from netlab.apiserver.lister import RETRY
from netlab.apiserver.rbac import Rbac
from netlab.store.protocol import Conflict, StoreError

log = logging.getLogger("apiserver")


class Aggregation:
    """Follows the cluster roles of an authorizer."""

    def __init__(self, ctx: Context, rbac: Rbac) -> None:
        self.ctx, self.rbac = ctx, rbac
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write what is there, then follow."""
        await self._settle()
        self._task = asyncio.create_task(self._run(), name="aggregation")

    async def aclose(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await self.rbac.cluster_roles.changed.wait()
            try:
                await self._settle()
            except StoreError as e:
                log.warning("aggregation of cluster roles: %s", e)
                await asyncio.sleep(RETRY)
                self.rbac.cluster_roles.changed.set()

    async def _settle(self) -> None:
        self.rbac.cluster_roles.changed.clear()
        # twice at most: `admin` aggregates `edit`, which aggregates `view`
        for role in list(self.rbac.cluster_roles.all()):
            if not role.get("aggregationRule"):
                continue
            rules = self.rbac.aggregated(role)
            if (role.get("rules") or []) == rules:
                continue
            kv, _ = await self.ctx.store.get(f"/registry/clusterroles/{role['metadata']['name']}")
            if kv is None or str(kv.revision) != role["metadata"]["resourceVersion"]:
                continue  # the cache will tell
            new = objects.load(kv)
            new["rules"] = rules
            with contextlib.suppress(Conflict):
                await self.ctx.store.update(kv.key, objects.encode(new), expected=kv.revision)
