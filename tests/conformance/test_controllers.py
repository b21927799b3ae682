"""Behaviours that take a controller: the garbage collector, the end of namespaces, quotas, endpoints, the root CA.

Where the original has pods come from a Job or Deployment, they are made here by hand with the owner they would have.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "controllers"))

from controlworld import CA, MAPS, NAMESPACES, PODS, QUOTAS, SERVICES, SETS, World, in_world, until
from test_controllers_endpoints import ready_is, served, service, serving_pod, slices_of
from test_controllers_garbage import a_set, owner

from netlab.client.resources import Resource
from netlab.client.rest import ApiError, Object
from netlab.controllers.serving import ENDPOINTS, SLICES

CONTROLLERS = Resource("v1", "replicationcontrollers")


async def a_controller(w: World, pods: int = 2) -> Object:
    """A ReplicationController with its pods."""
    await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
    labels = {"app": "rc"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    rc = await w.make(CONTROLLERS, "rc", spec={"replicas": pods, "selector": labels, "template": template})

    async def seen() -> bool:
        return len(w.runner.kinds.owned_by(rc["metadata"]["uid"])) == pods

    await until(seen)
    return rc


async def no_pods(w: World) -> bool:
    return not await w.names(PODS)


async def no_controller(w: World) -> bool:
    return await w.get(CONTROLLERS, "rc") is None


def test_gc_rc_background() -> None:
    async def test(w: World) -> None:
        await a_controller(w)
        await w.delete(CONTROLLERS, "rc", how="Background")
        assert await no_controller(w)
        await until(lambda: no_pods(w))

    in_world(test)


def test_gc_rc_foreground() -> None:
    async def test(w: World) -> None:
        await a_controller(w)
        slow = (await w.names(PODS))[0]
        await w.client.patch(PODS.path("default", slow), {"metadata": {"finalizers": ["example.com/slow"]}})
        await w.delete(CONTROLLERS, "rc", how="Foreground")

        async def one_left() -> bool:
            return await w.names(PODS) == [slow]

        await until(one_left)
        there = await w.get(CONTROLLERS, "rc")
        assert there is not None and there["metadata"]["finalizers"] == ["foregroundDeletion"]
        await w.client.patch(PODS.path("default", slow), {"metadata": {"finalizers": None}})
        await until(lambda: no_controller(w))
        assert await no_pods(w)

    in_world(test)


def test_gc_ownership_cycle() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
        pods = [await w.pod(f"pod{n}") for n in (1, 2, 3)]
        for mine, owning in ((0, 2), (1, 0), (2, 1)):
            body = {"metadata": {"ownerReferences": [owner(pods[owning], blocks=True, controller=True)]}}
            await w.client.patch(PODS.path("default", f"pod{mine + 1}"), body)
        await w.delete(PODS, "pod1")
        await until(lambda: no_pods(w))

    in_world(test)


def test_gc_rc_orphan() -> None:
    async def test(w: World) -> None:
        await a_controller(w)
        names = await w.names(PODS)
        await w.delete(CONTROLLERS, "rc", how="Orphan")
        await until(lambda: no_controller(w))
        pods = (await w.client.list(PODS.path("default")))["items"]
        assert [p["metadata"]["name"] for p in pods] == names
        assert all("ownerReferences" not in p["metadata"] for p in pods)

    in_world(test)


async def emptied(w: World, resource: Resource, make: Any) -> None:
    """Delete a namespace with something in it, and make it anew."""
    await w.make(NAMESPACES, "nsdeletetest", "")
    await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default", "nsdeletetest"))
    await make()
    assert await w.names(resource, "nsdeletetest")
    await w.delete(NAMESPACES, "nsdeletetest", "")

    async def gone() -> bool:
        return await w.get(NAMESPACES, "nsdeletetest", "") is None

    await until(gone)
    await w.make(NAMESPACES, "nsdeletetest", "")
    assert await w.names(resource, "nsdeletetest") == []


def test_namespace_delete_pods() -> None:
    async def test(w: World) -> None:
        await emptied(w, PODS, lambda: w.pod("test-pod", "nsdeletetest"))

    in_world(test)


def test_namespace_delete_services() -> None:
    async def test(w: World) -> None:
        await emptied(
            w, SERVICES, lambda: w.make(SERVICES, "test-service", "nsdeletetest", spec={"ports": [{"port": 80}]})
        )  # fmt: skip

    in_world(test)


async def quota(w: World, name: str = "q", **spec: Any) -> None:
    await w.make(QUOTAS, name, spec=spec)


async def used(w: World, wanted: dict[str, str], name: str = "q") -> None:
    """Wait until the quota counts so much."""

    async def so() -> bool:
        found = await w.get(QUOTAS, name)
        state = ((found or {}).get("status") or {}).get("used") or {}
        return all(state.get(key) == value for key, value in wanted.items())

    await until(so)


def test_resourcequota_status_calculated() -> None:
    async def test(w: World) -> None:
        hard = {"pods": "5", "services": "10", "requests.cpu": "1", "configmaps": "10"}
        await quota(w, hard=hard)
        await used(w, {"pods": "0", "requests.cpu": "0"})
        found = await w.get(QUOTAS, "q")
        assert found is not None and found["status"]["hard"] == hard

    in_world(test)


def test_resourcequota_configmap_life() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(MAPS, "kube-root-ca.crt"))
        await quota(w, hard={"configmaps": "10"})
        await used(w, {"configmaps": "1"})
        await w.make(MAPS, "m")
        await used(w, {"configmaps": "2"})
        await w.delete(MAPS, "m")
        await used(w, {"configmaps": "1"})

    in_world(test)


def test_resourcequota_pod_life() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
        gpu = "requests.example.com/dongle"
        hard = {"pods": "5", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "50Gi", gpu: "3"}
        await quota(w, hard=hard)
        await used(w, dict.fromkeys(hard, "0"))

        def asks(cpu: str, dongles: str = "2") -> Any:
            requests = {"cpu": cpu, "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": dongles}
            limits = {"example.com/dongle": dongles}
            resources = {"requests": requests, "limits": limits}
            return {"containers": [{"name": "c", "image": "nginx", "resources": resources}]}

        await w.make(PODS, "fits", spec=asks("500m"))
        taken = {"pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", gpu: "2"}
        await used(w, taken)
        for cpu, dongles in (("600m", "1"), ("100m", "2")):
            with pytest.raises(ApiError, match="exceeded quota: q") as refused:
                await w.make(PODS, "too-much", spec=asks(cpu, dongles))
            assert refused.value.code == 403
        container = {"name": "c", "resources": {"requests": {"cpu": "100m"}}}
        with pytest.raises(ApiError):
            await w.client.patch(
                PODS.path("default", "fits"), {"spec": {"containers": [container]}},
                kind="application/strategic-merge-patch+json",
            )  # fmt: skip
        await used(w, taken)
        await w.delete(PODS, "fits")
        await used(w, dict.fromkeys(hard, "0"))

    in_world(test)


def test_resourcequota_replicaset_life() -> None:
    async def test(w: World) -> None:
        await quota(w, hard={"count/replicasets.apps": "5"})
        await used(w, {"count/replicasets.apps": "0"})
        await a_set(w)
        await used(w, {"count/replicasets.apps": "1"})
        await w.delete(SETS, "rs")
        await used(w, {"count/replicasets.apps": "0"})

    in_world(test)


def test_resourcequota_rc_life() -> None:
    async def test(w: World) -> None:
        await quota(w, hard={"replicationcontrollers": "10"})
        await used(w, {"replicationcontrollers": "0"})
        await a_controller(w, pods=0)
        await used(w, {"replicationcontrollers": "1"})
        await w.delete(CONTROLLERS, "rc")
        await used(w, {"replicationcontrollers": "0"})

    in_world(test)


def test_resourcequota_service_life() -> None:
    async def test(w: World) -> None:
        await quota(w, hard={"services": "3", "services.nodeports": "1", "services.loadbalancers": "1"})
        await used(w, {"services": "1", "services.nodeports": "0", "services.loadbalancers": "0"})
        ports = [{"port": 80}]
        await w.make(SERVICES, "plain", spec={"ports": ports})
        await w.make(SERVICES, "node", spec={"ports": ports, "type": "NodePort"})
        await used(w, {"services": "3", "services.nodeports": "1", "services.loadbalancers": "0"})
        with pytest.raises(ApiError, match="exceeded quota: q"):
            await w.make(SERVICES, "balancer", spec={"ports": ports, "type": "LoadBalancer"})
        await w.delete(SERVICES, "plain")
        await w.delete(SERVICES, "node")
        await used(w, {"services": "1", "services.nodeports": "0", "services.loadbalancers": "0"})

    in_world(test)


def test_resourcequota_besteffort_scopes() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
        await quota(w, "best", hard={"pods": "5"}, scopes=["BestEffort"])
        await quota(w, "other", hard={"pods": "5"}, scopes=["NotBestEffort"])
        for name in ("best", "other"):
            await used(w, {"pods": "0"}, name)
        await w.pod("poor")
        await used(w, {"pods": "1"}, "best")
        await used(w, {"pods": "0"}, "other")
        await w.delete(PODS, "poor")
        await used(w, {"pods": "0"}, "best")
        resources = {"requests": {"cpu": "500m"}, "limits": {"cpu": "600m"}}
        await w.make(PODS, "rich", spec={"containers": [{"name": "c", "image": "x", "resources": resources}]})
        await used(w, {"pods": "1"}, "other")
        await used(w, {"pods": "0"}, "best")

    in_world(test)


def test_kube_root_ca_crt() -> None:
    async def test(w: World) -> None:
        async def right() -> bool:
            found = await w.get(MAPS, "kube-root-ca.crt")
            return found is not None and found["data"] == {"ca.crt": CA.decode()}

        await until(right)
        await w.delete(MAPS, "kube-root-ca.crt")
        await until(right)
        await w.client.patch(MAPS.path("default", "kube-root-ca.crt"), {"data": {"ca.crt": ""}})
        await until(right)

    in_world(test)


def test_endpointslice_matches_pods() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
        await service(w)  # its targetPort has a name
        await serving_pod(w, "a", "10.1.0.1", port=3000)
        await serving_pod(w, "b", "10.1.0.2", port=3001, ready=False)
        await served(w, {"10.1.0.1": True, "10.1.0.2": False})
        found = {p["endpoints"][0]["addresses"][0]: p["ports"][0]["port"] for p in await slices_of(w)}
        assert found == {"10.1.0.1": 3000, "10.1.0.2": 3001}
        await ready_is(w, "b", True, "10.1.0.2")
        await served(w, {"10.1.0.1": True, "10.1.0.2": True})

    in_world(test)


def test_endpointslice_create_delete_with_service() -> None:
    async def test(w: World) -> None:
        await service(w)

        async def there() -> bool:
            return bool(await slices_of(w)) and await w.get(ENDPOINTS, "web") is not None

        await until(there)
        await w.delete(SERVICES, "web")

        async def gone() -> bool:
            return not await slices_of(w) and await w.get(ENDPOINTS, "web") is None

        await until(gone)

    in_world(test)


def test_endpointslice_mirroring() -> None:
    async def test(w: World) -> None:
        await service(w, "custom", selector=None)

        async def mirrored(*addresses: str) -> None:
            async def so() -> bool:
                pieces = await slices_of(w, "custom")
                return sorted(e["addresses"][0] for p in pieces for e in p["endpoints"]) == sorted(addresses)

            await until(so)

        await w.make(ENDPOINTS, "custom", subsets=[{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}])
        await mirrored("10.1.2.3")
        await w.client.patch(ENDPOINTS.path("default", "custom"), {"subsets": [{"addresses": [{"ip": "10.2.3.4"}]}]})
        await mirrored("10.2.3.4")
        await w.delete(ENDPOINTS, "custom")
        await mirrored()

    in_world(test)


async def endpoints(w: World, name: str, wanted: dict[str, list[int]]) -> None:
    """Wait until the Endpoints have these addresses with these ports."""

    async def so() -> bool:
        found: dict[str, list[int]] = {}
        for subset in (await w.get(ENDPOINTS, name) or {}).get("subsets") or ():
            for address in subset.get("addresses") or ():
                found.setdefault(address["ip"], []).extend(p["port"] for p in subset["ports"])
        return {ip: sorted(ports) for ip, ports in found.items()} == wanted

    await until(so)


def test_service_endpoints_follow_pods() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
        await service(w)
        await endpoints(w, "web", {})
        await serving_pod(w, "pod1", "10.1.0.1", port=80)
        await endpoints(w, "web", {"10.1.0.1": [80]})
        await serving_pod(w, "pod2", "10.1.0.2", port=80)
        await endpoints(w, "web", {"10.1.0.1": [80], "10.1.0.2": [80]})
        await w.client.delete(PODS.path("default", "pod1"), grace=0)
        await endpoints(w, "web", {"10.1.0.2": [80]})
        await w.client.delete(PODS.path("default", "pod2"), grace=0)
        await endpoints(w, "web", {})

    in_world(test)


def test_service_multiport_endpoints() -> None:
    async def test(w: World) -> None:
        await until(lambda: w.get(Resource("v1", "serviceaccounts"), "default"))
        ports = [
            {"name": "portname1", "port": 80, "targetPort": "svc1"},
            {"name": "portname2", "port": 81, "targetPort": "svc2"},
        ]
        await service(w, ports=ports)
        for name, ip, declared in (("pod1", "10.1.0.1", ("svc1", 100)), ("pod2", "10.1.0.2", ("svc2", 101))):
            container = {"name": "c", "image": "x", "ports": [{"name": declared[0], "containerPort": declared[1]}]}
            await w.make(
                PODS, name, spec={"nodeName": "n1", "containers": [container]}, metadata={"labels": {"app": "web"}}
            )  # fmt: skip
            await ready_is(w, name, True, ip)
        await endpoints(w, "web", {"10.1.0.1": [100], "10.1.0.2": [101]})
        await w.client.delete(PODS.path("default", "pod1"), grace=0)
        await endpoints(w, "web", {"10.1.0.2": [101]})

    in_world(test)


def test_endpoints_controller_no_pods() -> None:
    async def test(w: World) -> None:
        await service(w, selector={"nothing": "matches"})
        found = await until(lambda: w.get(ENDPOINTS, "web"))
        assert not found.get("subsets")
        assert (await w.client.list(SLICES.path("default"), label_selector="kubernetes.io/service-name=web"))["items"]
        await w.delete(SERVICES, "web")

        async def gone() -> bool:
            return await w.get(ENDPOINTS, "web") is None

        await until(gone)

    in_world(test)
