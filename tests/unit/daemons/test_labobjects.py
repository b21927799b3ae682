"""A lab's objects laid again, while controllers write to them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from netlab.base.manifests import Manifest
from netlab.client.resources import Resource
from netlab.client.rest import ApiError
from netlab.daemons import labobjects
from netlab.daemons.labcluster import LabCluster

WANTED = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}


class Client:
    """One Deployment, whose status is written between each look at it and the next write, for a while."""

    def __init__(self, *, conflicts: int) -> None:
        self.version, self.conflicts, self.written = 1, conflicts, cast(Any, None)

    async def get(self, path: str) -> Any:
        return {**WANTED, "metadata": {"name": "web", "resourceVersion": str(self.version)}}

    async def replace(self, path: str, body: Any, **params: str) -> Any:
        if self.conflicts:
            self.conflicts -= 1
            self.version += 1
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError("it has been modified", code=409, reason="Conflict")
        self.written = body
        return body

    async def delete(self, path: str, **how: Any) -> Any:
        raise AssertionError("its pods would be gone")


def test_what_has_been_written_meanwhile_is_replaced_and_not_made_anew() -> None:
    served = SimpleNamespace(resource=Resource("apps/v1", "deployments"), kind="Deployment", namespaced=True)
    client = Client(conflicts=2)

    async def known(*, anew: bool = False) -> list[Any]:
        return [served]

    cluster = cast(LabCluster, SimpleNamespace(client=client, served=known))
    asyncio.run(labobjects.change(cluster, [Manifest(WANTED, "web.yaml")]))
    assert client.written["spec"] == WANTED["spec"] and client.conflicts == 0
