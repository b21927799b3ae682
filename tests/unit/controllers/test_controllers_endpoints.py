"""Endpoints and EndpointSlices: which pods serve a Service, and as few writes as can be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import PODS, SERVICES, World, in_world, until

from netlab.client.rest import Object
from netlab.compile.endpoints import MANAGED_BY, SLICE_MAX, slices
from netlab.controllers.endpoints import Endpoints
from netlab.controllers.endpointslices import EndpointSlices
from netlab.controllers.garbage import GarbageCollector
from netlab.controllers.mirroring import EndpointSliceMirroring
from netlab.controllers.serving import ENDPOINTS, SLICES, parsed, settle
from netlab.controllers.slicing import plan

ONLY = (EndpointSlices, EndpointSliceMirroring, Endpoints, GarbageCollector)


async def service(w: World, name: str = "web", **spec: Any) -> Object:
    given = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}], **spec}
    return await w.make(SERVICES, name, spec={k: v for k, v in given.items() if v is not None})


async def serving_pod(w: World, name: str, ip: str, *, port: int = 8080, ready: bool = True, app: str = "web") -> None:
    """A pod as a kubelet would have it run."""
    ports = [{"name": "http", "containerPort": port}]
    await w.make(
        PODS, name, metadata={"labels": {"app": app}},
        spec={"nodeName": "n1", "containers": [{"name": "c", "image": "x", "ports": ports}]},
    )  # fmt: skip
    await ready_is(w, name, ready, ip)


async def ready_is(w: World, name: str, ready: bool, ip: str) -> None:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    state = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
    await w.client.patch(PODS.path("default", name, "status"), {"status": state})


async def slices_of(w: World, name: str = "web") -> list[Object]:
    label = f"kubernetes.io/service-name={name}"
    return list((await w.client.list(SLICES.path("default"), label_selector=label))["items"])


async def served(w: World, wanted: dict[str, bool], name: str = "web") -> None:
    """Wait until slices and Endpoints have these addresses, ready or not."""

    async def so() -> bool:
        pieces = await slices_of(w, name)
        found = {e["addresses"][0]: e["conditions"]["ready"] for p in pieces for e in p.get("endpoints") or ()}
        old = await w.get(ENDPOINTS, name)
        listed = {
            a["ip"]: key == "addresses"
            for subset in (old or {}).get("subsets") or ()
            for key in ("addresses", "notReadyAddresses")
            for a in subset.get(key) or ()
        }
        return found == wanted and listed == wanted and old is not None

    await until(so)


def test_endpoints_follow_pods() -> None:
    async def test(w: World) -> None:
        await service(w)
        await served(w, {})
        assert len(await slices_of(w)) == 1  # that there are none is said
        await serving_pod(w, "a", "10.1.0.1")
        await serving_pod(w, "b", "10.1.0.2", ready=False)
        await serving_pod(w, "stranger", "10.1.0.3", app="other")
        await served(w, {"10.1.0.1": True, "10.1.0.2": False})
        await ready_is(w, "b", True, "10.1.0.2")
        await served(w, {"10.1.0.1": True, "10.1.0.2": True})
        (piece,) = await slices_of(w)
        assert piece["ports"] == [{"name": "", "protocol": "TCP", "port": 8080}]
        assert piece["metadata"]["name"].startswith("web-") and piece["endpoints"][0]["nodeName"] == "n1"
        old = await w.get(ENDPOINTS, "web")
        assert old is not None and old["subsets"][0]["ports"] == [{"port": 8080, "protocol": "TCP"}]
        assert old["metadata"]["labels"] == {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
        # out of the selector, and another port
        await w.client.patch(PODS.path("default", "a"), {"metadata": {"labels": {"app": "other"}}})
        await served(w, {"10.1.0.2": True})
        await serving_pod(w, "c", "10.1.0.4", port=9090)
        await served(w, {"10.1.0.2": True, "10.1.0.4": True})
        assert sorted(p["ports"][0]["port"] for p in await slices_of(w)) == [8080, 9090]

    in_world(test, ONLY)


def test_S75_another_selector_and_none_at_all() -> None:
    async def test(w: World) -> None:
        await service(w)
        await serving_pod(w, "a", "10.1.0.1")
        await serving_pod(w, "b", "10.1.0.2", app="other")
        await served(w, {"10.1.0.1": True})
        await w.client.patch(SERVICES.path("default", "web"), {"spec": {"selector": {"app": "other"}}})
        await served(w, {"10.1.0.2": True})
        # from now on they are nobody's: what they say stays
        await w.client.patch(SERVICES.path("default", "web"), {"spec": {"selector": None}})
        await serving_pod(w, "c", "10.1.0.3", app="other")
        await service(w, "later", selector={"app": "other"})
        await served(w, {"10.1.0.2": True, "10.1.0.3": True}, "later")
        (piece,) = await slices_of(w)
        assert [e["addresses"] for e in piece["endpoints"]] == [["10.1.0.2"]]

    in_world(test, ONLY)


def test_they_end_with_their_service_and_are_mended() -> None:
    async def test(w: World) -> None:
        await service(w)
        await serving_pod(w, "a", "10.1.0.1")
        await served(w, {"10.1.0.1": True})
        (piece,) = await slices_of(w)
        await w.delete(SLICES, piece["metadata"]["name"])
        await w.delete(ENDPOINTS, "web")
        await served(w, {"10.1.0.1": True})
        (piece,) = await slices_of(w)
        await w.client.patch(SLICES.path("default", piece["metadata"]["name"]), {"endpoints": []})
        await served(w, {"10.1.0.1": True})
        await w.delete(SERVICES, "web")

        async def none() -> bool:
            return not await slices_of(w) and await w.get(ENDPOINTS, "web") is None

        await until(none)

    in_world(test, ONLY)


def test_a_cache_that_is_behind_makes_no_second_slice() -> None:
    async def test(w: World) -> None:
        made = await service(w)
        wanted = slices(parsed(made), [])
        for _ in range(2):
            await settle(w.client, "default/web", MANAGED_BY, cached=[], wanted=wanted)
        assert len(await slices_of(w)) == 1

    in_world(test, ())


def test_a_headless_service_without_ports() -> None:
    async def test(w: World) -> None:
        await service(w, clusterIP="None", ports=None)
        await serving_pod(w, "a", "10.1.0.1")
        await served(w, {"10.1.0.1": True})
        old = await w.get(ENDPOINTS, "web")
        assert old is not None and "service.kubernetes.io/headless" in old["metadata"]["labels"]

    in_world(test, ONLY)


def test_what_a_person_wrote_is_mirrored() -> None:
    async def test(w: World) -> None:
        await service(w, "db", selector=None)
        subset = {"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
                  "ports": [{"port": 5432, "name": "sql"}]}  # fmt: skip
        await w.make(ENDPOINTS, "db", subsets=[subset], metadata={"labels": {"team": "x"}})
        await served(w, {"192.0.2.1": True, "192.0.2.2": False}, "db")
        (piece,) = await slices_of(w, "db")
        assert piece["metadata"]["labels"] == {
            "team": "x", "kubernetes.io/service-name": "db",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }  # fmt: skip
        await w.client.patch(ENDPOINTS.path("default", "db"), {"subsets": [{"addresses": [{"ip": "192.0.2.9"}]}]})
        await served(w, {"192.0.2.9": True}, "db")
        await w.delete(ENDPOINTS, "db")

        async def none() -> bool:
            return not await slices_of(w, "db")

        await until(none)

    in_world(test, ONLY)


def test_endpoints_of_no_service_are_left_alone() -> None:
    async def test(w: World) -> None:
        await w.make(ENDPOINTS, "mine", subsets=[{"addresses": [{"ip": "192.0.2.1"}]}])
        await service(w)
        await served(w, {})
        assert await w.get(ENDPOINTS, "mine") is not None and await slices_of(w, "mine") == []
        kubernetes = await w.get(ENDPOINTS, "kubernetes")
        assert kubernetes is not None and kubernetes["subsets"]

    in_world(test, ONLY)


# -- which slices are written


def piece(name: str, ports: tuple[int, ...], *addresses: int) -> Object:
    return {
        "metadata": {"name": name, "uid": name, "labels": {}}, "addressType": "IPv4",
        "ports": [{"name": "", "protocol": "TCP", "port": p} for p in ports],
        "endpoints": [{"addresses": [f"10.0.{a // 256}.{a % 256}"]} for a in addresses],
    }  # fmt: skip


def head(ports: tuple[int, ...], *addresses: int) -> Object:
    return {**piece("", ports, *addresses), "metadata": {"generateName": "web-", "labels": {}}}


def test_one_more_pod_writes_one_slice() -> None:
    full = piece("a", (80,), *range(SLICE_MAX))
    free = piece("b", (80,), *range(100, 130))
    todo = plan([full, free], [head((80,), *range(130), 7000)])
    assert [p["metadata"]["name"] for p in todo.update] == ["b"] and not todo.create and not todo.delete
    assert len(todo.update[0]["endpoints"]) == 31
    # the slice that lost one is written, and the other is let be
    todo = plan([full, free], [head((80,), *range(1, 130))])
    assert [p["metadata"]["name"] for p in todo.update] == ["a"] and not todo.create and not todo.delete
    todo = plan([full, free], [head((80,), *range(100))])
    assert [p["metadata"]["name"] for p in todo.delete] == ["b"] and not todo.create and not todo.update


def test_none_is_said_by_one_slice() -> None:
    assert plan([], [head(())]).create == [head(())]
    todo = plan([piece("a", ()), piece("b", ())], [head(())])
    assert [p["metadata"]["name"] for p in todo.delete] == ["b"] and not todo.create and not todo.update
    todo = plan([piece("a", (80,), 1)], [head(())])
    assert [p["metadata"]["name"] for p in todo.delete] == ["a"] and len(todo.create) == 1


GROUPS = st.dictionaries(
    st.sampled_from([(), (80,), (80, 443)]), st.sets(st.integers(0, 400), max_size=300), max_size=3
)


@given(st.lists(GROUPS, min_size=1, max_size=5))
def test_after_a_plan_all_are_there_once_and_a_second_plan_is_empty(
    history: list[dict[tuple[int, ...], set[int]]],
) -> None:
    there: dict[str, Object] = {}
    number = 0
    for groups in history:
        wanted = [head(ports, *sorted(addresses)) for ports, addresses in groups.items()]
        todo = plan(list(there.values()), wanted)
        for made in todo.create:
            number += 1
            name = f"s{number:04}"
            there[name] = {**made, "metadata": {"name": name, "uid": name, "labels": {}}}
        for changed in todo.update:
            assert changed["metadata"]["name"] in there
            there[changed["metadata"]["name"]] = changed
        for gone in todo.delete:
            del there[gone["metadata"]["name"]]
        found: dict[tuple[int, ...], list[str]] = {}
        for p in there.values():
            assert len(p["endpoints"]) <= SLICE_MAX
            ports = tuple(sorted(q["port"] for q in p["ports"]))
            found.setdefault(ports, []).extend(e["addresses"][0] for e in p["endpoints"])
        expected = {tuple(sorted(g)): sorted(f"10.0.{a // 256}.{a % 256}" for a in s) for g, s in groups.items()}
        assert {g: sorted(a) for g, a in found.items()} == expected
        again = plan(list(there.values()), wanted)
        assert not (again.create or again.update or again.delete)
