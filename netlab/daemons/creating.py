"""Objects that a cluster begins with, made if they are not there: what a person has changed since stays as it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from netlab.client.rest import ApiError, ApiUnavailable, RestClient, path

#: seconds between two attempts
AGAIN = 0.05

#: where objects of a kind are
_PLURALS = {
    "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "ConfigMap": "configmaps",
    "EndpointSlice": "endpointslices", "Namespace": "namespaces", "Pod": "pods", "Role": "roles",
    "RoleBinding": "rolebindings", "Secret": "secrets", "Service": "services",
}  # fmt: skip


async def create(client: RestClient, objects: Sequence[Mapping[str, Any]], *, limit: float = 0.0) -> None:
    """All of them, namespaces before what is in them. limit: seconds for which a server that does not answer is asked
    again: one that has just begun on a busy machine has such moments. ApiError, ApiUnavailable."""
    end = time.monotonic() + limit
    await asyncio.gather(*(_persisted(client, obj, end) for obj in objects if obj["kind"] == "Namespace"))
    await asyncio.gather(*(_persisted(client, obj, end) for obj in objects if obj["kind"] != "Namespace"))


async def _persisted(client: RestClient, obj: Mapping[str, Any], end: float) -> None:
    while True:
        try:
            await _created(client, obj)
            return
        except ApiUnavailable:
            if time.monotonic() >= end:
                raise
        await asyncio.sleep(AGAIN)


async def _created(client: RestClient, obj: Mapping[str, Any]) -> None:
    metadata, plural = obj["metadata"], _PLURALS[obj["kind"]]
    at = path(obj["apiVersion"], plural, namespace=metadata.get("namespace"))
    try:
        await client.get(path(obj["apiVersion"], plural, namespace=metadata.get("namespace"), name=metadata["name"]))
        return
    except ApiError as e:
        if e.code != 404:
            raise
    try:
        await client.create(at, dict(obj))
    except ApiError as e:
        if e.reason != "AlreadyExists":
            raise
