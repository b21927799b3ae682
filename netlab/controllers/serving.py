"""What the controllers of Endpoints and EndpointSlices share: which Services a change concerns, and how slices are
written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netlab.base.errors import InputError
from netlab.client.resources import Resource, key_of, split_key
from netlab.client.rest import ApiError, Object, RestClient
from netlab.compile.objects import LABEL_MANAGED_BY, LABEL_SERVICE
from netlab.compile.parse import one
from netlab.controllers.shape import Hopeless, Store, create_missing
from netlab.controllers.slicing import plan

SLICES = Resource("discovery.k8s.io/v1", "endpointslices")
ENDPOINTS = Resource("v1", "endpoints")


def labels_of(obj: Object | None) -> Object:
    """Its labels, none of what is not there."""
    return {} if obj is None else obj["metadata"].get("labels") or {}


def parsed(obj: Object) -> Any:
    """What the compilers read of an object. Hopeless if it makes no sense."""
    try:
        return one(obj)
    except InputError as e:
        raise Hopeless(e.message) from e


def services_of(services: Store, old: Object | None, new: Object | None) -> Iterable[str]:
    """The Services whose selectors take a pod in, as it is or as it was."""
    pod = new if new is not None else old
    if pod is None:
        return
    for service in services.find("namespace", str(pod["metadata"].get("namespace", ""))):
        selector = (service.get("spec") or {}).get("selector")
        states = [state for state in (old, new) if state is not None]
        if selector and any(selector.items() <= labels_of(state).items() for state in states):
            yield key_of(service)


def service_key(old: Object | None, new: Object | None) -> Iterable[str]:
    """The Service that a slice says it is of."""
    for piece in (old, new):
        if piece is not None and LABEL_SERVICE in labels_of(piece):
            yield f"{piece['metadata']['namespace']}/{labels_of(piece)[LABEL_SERVICE]}"


async def settle(
    client: RestClient, service: str, managed_by: str, *, cached: Iterable[Object], wanted: list[Object]
) -> None:
    """Make the slices of a Service (its key) that are `managed_by` somebody as they should be.

    cached: as the cache has them. It may not have yet what was written a moment ago, and slices have names of chance:
    so before anything is written, the server is asked which there are.
    """
    if not plan(cached, wanted):
        return
    namespace, name = split_key(service)
    selector = f"{LABEL_SERVICE}={name},{LABEL_MANAGED_BY}={managed_by}"
    listed = await client.list(SLICES.path(namespace), label_selector=selector)
    todo = plan(listed["items"], wanted)
    for piece in todo.create:
        await create_missing(client, SLICES.path(namespace), piece)
    for piece in todo.update:
        await client.replace(SLICES.path(namespace, piece["metadata"]["name"]), piece)
    for piece in todo.delete:
        try:
            await client.delete(SLICES.path(namespace, piece["metadata"]["name"]), uid=piece["metadata"]["uid"])
        except ApiError as e:
            if e.code != 404:  # somebody else was quicker
                raise
