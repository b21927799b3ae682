"""What a cluster has from its first moment: namespaces, default roles, priority classes, the Service `kubernetes`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from netlab.api import Json, times
from netlab.apiserver import metadata, objects, policy
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.store.protocol import Conflict, KeyExists


def _kind(ctx: Context, group: str, version: str, plural: str) -> Kind:
    kind = ctx.registry.find(group, version, plural)
    assert kind is not None
    return kind


async def _ensure(ctx: Context, kind: Kind, obj: Json, namespace: str = "") -> None:
    """Make an object if it is not there."""
    path = objects.key(kind.resource, namespace, obj["metadata"]["name"])
    kv, _ = await ctx.store.get(path)
    if kv is not None:
        return
    made = kind.decode(obj, [])
    if namespace:
        made["metadata"]["namespace"] = namespace
    metadata.for_create(made, times.seconds(ctx.now()), generation=kind.strategy.generation)
    kind.default(made)
    try:
        await ctx.store.create(path, objects.encode(made))
    except KeyExists:
        pass  # another server was quicker


async def _reconcile_role(ctx: Context, kind: Kind, role: Json) -> None:
    """A default role that an older server made gets what newer ones have more; what people added stays."""
    rules, name = role["rules"], role["metadata"]["name"]
    await _ensure(ctx, kind, role)
    kv, _ = await ctx.store.get(objects.key(kind.resource, "", name))
    if kv is None:
        return
    there = objects.load(kv)
    auto = (there["metadata"].get("annotations") or {}).get(f"{policy.RBAC}/autoupdate") == "true"
    missing = [r for r in rules if r not in (there.get("rules") or [])]
    if auto and missing and not there.get("aggregationRule"):
        there["rules"] = [*(there.get("rules") or []), *missing]
        with contextlib.suppress(Conflict):
            await ctx.store.update(kv.key, objects.encode(there), expected=kv.revision)


_CRITICAL = {
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to "
    "another node if necessary.",
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
}


async def prepare(ctx: Context, *, service_ip: str, addresses: Sequence[str], port: int) -> None:
    """Make what is missing. service_ip: of the Service `kubernetes`; addresses, port: where this server answers.

    All at once: a durable store keeps what comes together by one write to the disk.
    """
    namespaces = _kind(ctx, "", "v1", "namespaces")
    works = [
        _ensure(ctx, namespaces, {"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}})
        for name in policy.NAMESPACES
    ]
    roles = _kind(ctx, policy.RBAC, "v1", "clusterroles")
    works += [_reconcile_role(ctx, roles, role) for role in policy.cluster_roles()]
    bindings = _kind(ctx, policy.RBAC, "v1", "clusterrolebindings")
    works += [_ensure(ctx, bindings, binding) for binding in policy.cluster_role_bindings()]
    classes = _kind(ctx, "scheduling.k8s.io", "v1", "priorityclasses")
    for name, value in policy.PRIORITY_CLASSES.items():
        obj = {"metadata": {"name": name}, "value": value, "description": _CRITICAL[name]}
        works.append(_ensure(ctx, classes, obj))
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service: Json = {
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {
            "clusterIP": service_ip, "clusterIPs": [service_ip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "type": "ClusterIP", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    }  # fmt: skip
    works.append(_ensure(ctx, _kind(ctx, "", "v1", "services"), service, "default"))
    works.append(_endpoints(ctx, addresses, port))
    await asyncio.gather(*works)


async def _endpoints(ctx: Context, addresses: Sequence[str], port: int) -> None:
    skip = "endpointslice.kubernetes.io/skip-mirror"
    kind = _kind(ctx, "", "v1", "endpoints")
    subsets = [{"addresses": [{"ip": a} for a in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]  # fmt: skip
    await _replace(ctx, kind, {"metadata": {"name": "kubernetes", "labels": {skip: "true"}}, "subsets": subsets})
    slices = _kind(ctx, "discovery.k8s.io", "v1", "endpointslices")
    await _replace(ctx, slices, {
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "endpoints": [{"addresses": list(addresses), "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })  # fmt: skip


async def _replace(ctx: Context, kind: Kind, obj: Json) -> None:
    path = objects.key(kind.resource, "default", obj["metadata"]["name"])
    await _ensure(ctx, kind, {**obj, "metadata": dict(obj["metadata"])}, "default")
    kv, _ = await ctx.store.get(path)
    if kv is None:
        return
    there = objects.load(kv)
    wanted = {k: v for k, v in kind.decode(obj, []).items() if k not in ("kind", "apiVersion", "metadata")}
    if any(there.get(k) != v for k, v in wanted.items()):
        there.update(wanted)
        try:
            await ctx.store.update(kv.key, objects.encode(there), expected=kv.revision)
        except Conflict:
            pass
