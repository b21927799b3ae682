"""ControllerRevisions: what a workload's template was and is, for kubectl rollout history and undo.

Source: kubernetes pkg/controller/history.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object, RestClient
from netlab.controllers.owning import owner_reference
from netlab.controllers.shape import Store

API = "apps/v1"
REVISIONS = Resource(API, "controllerrevisions")


async def note(
    client: RestClient, store: Store, owner: Object, kind: str, name: str, labels: Mapping[str, str],
    used: Collection[str],
) -> None:  # fmt: skip
    """Keep the owner's template as the revision of a name, the newest; the oldest that are not used go.

    used: names of revisions. ApiError.
    """
    meta = owner["metadata"]
    mine = sorted(store.find("controller", meta["uid"]), key=lambda r: int(r.get("revision", 0)))
    current = next((r for r in mine if r["metadata"]["name"] == name), None)
    last = int(mine[-1]["revision"]) if mine else 0
    if current is None:
        template = {**owner["spec"]["template"], "$patch": "replace"}
        made = {
            "apiVersion": API, "kind": "ControllerRevision", "revision": last + 1,
            "data": {"spec": {"template": template}},
            "metadata": {"name": name, "namespace": meta["namespace"], "labels": dict(labels),
                         "annotations": dict(meta.get("annotations") or {}),
                         "ownerReferences": [owner_reference(owner, API, kind)]},
        }  # fmt: skip
        try:
            await client.create(REVISIONS.path(meta["namespace"]), made)
        except ApiError as e:
            if e.reason != "AlreadyExists":
                raise
    elif int(current["revision"]) < last:
        await client.patch(REVISIONS.at(key_of(current)), {"revision": last + 1})
    idle = [r for r in mine if r is not current and r["metadata"]["name"] not in used]
    for revision in idle[: max(0, len(idle) - int(owner["spec"].get("revisionHistoryLimit", 10)))]:
        await client.delete(REVISIONS.at(key_of(revision)), uid=revision["metadata"]["uid"])
