"""Claims and volumes: which fits which (pure), how they are bound, and when they may go."""

from __future__ import annotations

from typing import Any

from controlworld import EVENTS, PODS, World, in_world, until
from hypothesis import given
from hypothesis import strategies as st
from simkubelets import simulated

from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.scheduler.matching import choose, fits, usable, waits

CLAIMS, VOLUMES = Resource("v1", "persistentvolumeclaims"), Resource("v1", "persistentvolumes")
NODES, CLASSES = Resource("v1", "nodes"), Resource("storage.k8s.io/v1", "storageclasses")
RWO, RWX = "ReadWriteOnce", "ReadWriteMany"


def a_volume(name: str, size: str = "1Gi", modes: tuple[str, ...] = (RWO,), **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"disk": name}},
        "spec": {"capacity": {"storage": size}, "accessModes": list(modes), "hostPath": {"path": f"/srv/{name}"}, **spec},
        "status": {"phase": "Available"},
    }  # fmt: skip


def a_claim(size: str = "1Gi", modes: tuple[str, ...] = (RWO,), name: str = "c", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": "u1"},
        "spec": {"resources": {"requests": {"storage": size}}, "accessModes": list(modes), **spec},
    }


def test_what_fits() -> None:
    one = a_volume("v")
    assert fits(one, a_claim()) and fits(one, a_claim("500Mi")) and not fits(one, a_claim("2Gi"))
    assert not fits(one, a_claim(modes=(RWO, RWX))) and fits(a_volume("v", modes=(RWO, RWX)), a_claim(modes=(RWX,)))
    assert not fits(one, a_claim(storageClassName="fast")) and not fits(one, a_claim(volumeMode="Block"))
    assert fits(one, a_claim(selector={"matchLabels": {"disk": "v"}}))
    assert not fits(one, a_claim(selector={"matchLabels": {"disk": "w"}}))
    assert not fits({**one, "status": {"phase": "Released"}}, a_claim())
    mine = a_volume("v", claimRef={"namespace": "default", "name": "c"})
    assert fits({**mine, "status": {}}, a_claim()) and not fits(mine, a_claim(name="d"))
    assert not fits(a_volume("v", claimRef={"namespace": "default", "name": "c", "uid": "u0"}), a_claim())


def test_the_smallest_and_what_is_meant_for_it() -> None:
    volumes = [a_volume("large", "10Gi"), a_volume("small", "2Gi"), a_volume("tiny", "100Mi")]

    def chosen(*more: Object) -> str:
        found = choose(a_claim(), [*volumes, *more])
        return "" if found is None else str(found["metadata"]["name"])

    assert chosen() == "small"
    assert chosen(a_volume("mine", "50Gi", claimRef={"namespace": "default", "name": "c"})) == "mine"
    assert choose(a_claim("20Gi"), volumes) is None


@given(st.lists(st.integers(1, 50), max_size=8), st.integers(1, 50))
def test_nothing_smaller_would_do(sizes: list[int], wanted: int) -> None:
    volumes = [a_volume(f"v{n}", f"{size}Gi") for n, size in enumerate(sizes)]
    found = choose(a_claim(f"{wanted}Gi"), volumes)
    enough = [size for size in sizes if size >= wanted]
    assert (found is None) == (not enough)
    assert found is None or found["spec"]["capacity"]["storage"] == f"{min(enough)}Gi"


def local(name: str, node: str) -> Object:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return a_volume(name, storageClassName="local", nodeAffinity={"required": {"nodeSelectorTerms": [term]}})


def test_volumes_of_one_node() -> None:
    node = {"metadata": {"name": "n2", "labels": {"kubernetes.io/hostname": "n2"}}}
    assert usable(local("v", "n2"), "n2", node["metadata"]["labels"]) and not usable(local("v", "n1"), "n2", {})
    claim = a_claim(storageClassName="local")
    found = choose(claim, [local("a", "n1"), local("b", "n2")], node)
    assert found is not None and found["metadata"]["name"] == "b"
    late = {"volumeBindingMode": "WaitForFirstConsumer"}
    assert waits(claim, late) and not waits(claim, {}) and not waits(claim, None)
    claim["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "n2"}
    assert not waits(claim, late)


async def volume(w: World, made: Object) -> None:
    body = {"metadata": made["metadata"], "spec": {"persistentVolumeReclaimPolicy": "Retain", **made["spec"]}}
    await w.client.create(VOLUMES.path(), body)


async def claim(w: World, name: str, **more: Any) -> None:
    await w.make(CLAIMS, name, spec=a_claim(**more)["spec"])


async def phases(w: World, resource: Resource, namespace: str = "") -> dict[str, str]:
    listed = (await w.client.list(resource.path(namespace)))["items"]
    return {o["metadata"]["name"]: (o.get("status") or {}).get("phase", "") for o in listed}


async def so(w: World, volumes: dict[str, str], claims: dict[str, str]) -> bool:
    return await phases(w, VOLUMES) == volumes and await phases(w, CLAIMS, "default") == claims


def test_a_claim_is_bound_and_its_volume_released() -> None:
    async def test(w: World) -> None:
        await volume(w, a_volume("v1"))
        await volume(w, a_volume("v2", "5Gi"))
        await until(lambda: so(w, {"v1": "Available", "v2": "Available"}, {}))
        await claim(w, "c1")
        await claim(w, "c9", size="9Gi")
        await until(lambda: so(w, {"v1": "Bound", "v2": "Available"}, {"c1": "Bound", "c9": "Pending"}))
        bound, there = await w.get(CLAIMS, "c1"), await w.get(VOLUMES, "v1", "")
        assert bound is not None and there is not None
        assert bound["spec"]["volumeName"] == "v1" and there["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]
        assert bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
        assert bound["status"]["capacity"] == {"storage": "1Gi"}

        async def said() -> bool:
            events = (await w.client.list(EVENTS.path("default")))["items"]
            return any(e["reason"] == "FailedBinding" and e["involvedObject"]["name"] == "c9" for e in events)

        await until(said)
        # one that comes later is taken by who waits
        await volume(w, a_volume("v9", "10Gi"))
        await until(lambda: so(w, {"v1": "Bound", "v2": "Available", "v9": "Bound"}, {"c1": "Bound", "c9": "Bound"}))
        await w.delete(CLAIMS, "c1")
        await until(lambda: so(w, {"v1": "Released", "v2": "Available", "v9": "Bound"}, {"c9": "Bound"}))
        # what is Released is for nobody
        await claim(w, "c1")
        await until(lambda: so(w, {"v1": "Released", "v2": "Bound", "v9": "Bound"}, {"c1": "Bound", "c9": "Bound"}))
        await w.delete(VOLUMES, "v9", "")
        await w.delete(VOLUMES, "v1", "")
        await until(lambda: so(w, {"v2": "Bound", "v9": "Bound"}, {"c1": "Bound", "c9": "Bound"}))

    in_world(test)


def test_what_is_used_is_not_deleted() -> None:
    async def test(w: World) -> None:
        await volume(w, a_volume("v1"))
        await claim(w, "c1")
        await until(lambda: so(w, {"v1": "Bound"}, {"c1": "Bound"}))
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "c1"}}]
        await w.make(PODS, "user", spec={"containers": [{"name": "c", "image": "x"}], "volumes": volumes})

        await w.delete(CLAIMS, "c1")
        await until(lambda: so(w, {"v1": "Bound"}, {"c1": "Bound"}))
        await w.delete(PODS, "user")
        await until(lambda: so(w, {"v1": "Released"}, {}))

    in_world(test)


def test_a_claim_waits_for_its_consumer() -> None:
    async def test(w: World) -> None:
        await w.client.create(CLASSES.path(), {
            "metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        })  # fmt: skip
        for node in ("n1", "n2"):
            await w.client.create(
                NODES.path(), {"metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}}}
            )
            await volume(w, local(f"on-{node}", node))
        await claim(w, "c1", storageClassName="local")
        await until(lambda: so(w, {"on-n1": "Available", "on-n2": "Available"}, {"c1": "Pending"}))

        selected = {"volume.kubernetes.io/selected-node": "n2"}
        await w.client.patch(CLAIMS.path("default", "c1"), {"metadata": {"annotations": selected}})
        await until(lambda: so(w, {"on-n1": "Available", "on-n2": "Bound"}, {"c1": "Bound"}))

    in_world(test)


def test_a_pod_and_its_local_volume_find_each_other() -> None:
    """The node is chosen for the volume's sake, the claim is bound there, and the pod follows."""

    async def test(w: World) -> None:
        await w.client.create(CLASSES.path(), {
            "metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        })  # fmt: skip
        async with simulated(w, 3):
            await volume(w, local("disk", "node2"))
            for name in ("c1", "c2"):
                await claim(w, name, storageClassName="local")
                volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
                await w.make(PODS, name, spec={"containers": [{"name": "c", "image": "x"}], "volumes": volumes})

            async def one_runs() -> bool:
                pods = (await w.client.list(PODS.path("default")))["items"]
                return [p["spec"].get("nodeName") for p in pods if p["status"]["phase"] == "Running"] == ["node2"]

            await until(one_runs)
            # the other waits for a volume, and takes it where it comes
            await volume(w, local("late", "node0"))

            async def both_run() -> bool:
                pods = (await w.client.list(PODS.path("default")))["items"]
                running = [p["spec"].get("nodeName", "") for p in pods if p["status"]["phase"] == "Running"]
                return sorted(running) == ["node0", "node2"]

            await until(both_run)

    in_world(test)
