"""Objects that a cluster begins with, made if they are not there: what a person has changed since stays as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from netlab.client.rest import ApiError, RestClient, path

#: where objects of a kind are
_PLURALS = {
    "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "ConfigMap": "configmaps",
    "EndpointSlice": "endpointslices", "Namespace": "namespaces", "Role": "roles", "RoleBinding": "rolebindings",
    "Secret": "secrets", "Service": "services",
}  # fmt: skip


async def create(client: RestClient, objects: Sequence[Mapping[str, Any]]) -> None:
    """All of them, namespaces before what is in them. ApiError, ApiUnavailable."""
    await asyncio.gather(*(_created(client, obj) for obj in objects if obj["kind"] == "Namespace"))
    await asyncio.gather(*(_created(client, obj) for obj in objects if obj["kind"] != "Namespace"))


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
