"""Owners and what they own: background, foreground, orphan, circles, owners that never were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import EVENTS, MAPS, NAMESPACES, PODS, SETS, World, in_world, until
from test_controllers_namespaces import WIDGETS, widgets

from netlab.client.resources import Resource
from netlab.client.rest import Object, RestClient
from netlab.controllers.garbage import GarbageCollector
from netlab.controllers.runner import WORKERS

ROLES = Resource("rbac.authorization.k8s.io/v1", "clusterroles")
ONLY = (GarbageCollector,)


def owner(obj: Object, *, blocks: bool = False, **more: Any) -> Object:
    meta = obj["metadata"]
    found = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"], **more}
    return {**found, "blockOwnerDeletion": True} if blocks else found


async def owned(w: World, name: str, *owners: Object, namespace: str = "default", **metadata: Any) -> Object:
    """A ConfigMap with owners."""
    return await w.make(MAPS, name, namespace, metadata={"ownerReferences": list(owners), **metadata})


async def a_set(w: World, name: str = "rs") -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    return await w.make(SETS, name, spec={"selector": {"matchLabels": labels}, "template": template})


async def left(w: World, *names: str) -> None:
    """Wait until just these ConfigMaps are there."""

    async def settled() -> bool:
        return sorted(n for n in await w.names(MAPS) if n != "kube-root-ca.crt") == sorted(names)

    await until(settled)


async def _no_set(w: World) -> bool:
    return await w.get(SETS, "rs") is None


async def quiet(w: World) -> None:
    """All ConfigMaps that were written have been seen, for a mark has come through, and nothing is left to do."""

    async def seen() -> bool:
        newest = await w.make(MAPS, "mark")
        await w.delete(MAPS, "mark")
        uid = newest["metadata"]["uid"]
        await until(lambda: _absent(w, uid))
        return w.runner.idle

    await until(seen)


async def _absent(w: World, uid: str) -> bool:
    return w.runner.kinds.with_uid(uid) is None


def test_in_the_background_what_is_owned_goes_after_its_owner() -> None:
    async def test(w: World) -> None:
        rs = await a_set(w)
        first = await owned(w, "first", owner(rs))
        await owned(w, "second", owner(first))
        await owned(w, "free")
        await w.delete(SETS, "rs", how="Background")
        assert await w.get(SETS, "rs") is None
        await left(w, "free")

    in_world(test, ONLY)


def test_in_the_foreground_an_owner_waits_for_those_that_block_it() -> None:
    async def test(w: World) -> None:
        rs = await a_set(w)
        await owned(w, "held", owner(rs, blocks=True), finalizers=["example.com/hold"])
        await owned(w, "quick", owner(rs, blocks=True))
        # one that does not block is waited for by nobody
        await owned(w, "slow", owner(rs), finalizers=["example.com/hold"])
        await w.delete(SETS, "rs", how="Foreground")
        await left(w, "held", "slow")
        waiting = await w.get(SETS, "rs")
        assert waiting is not None and waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
        await w.client.patch(MAPS.path("default", "held"), {"metadata": {"finalizers": None}})
        await until(lambda: _no_set(w))
        await left(w, "slow")

    in_world(test, ONLY)


def test_the_foreground_goes_down_to_the_leaves() -> None:
    async def test(w: World) -> None:
        rs = await a_set(w)
        middle = await owned(w, "middle", owner(rs, blocks=True))
        await owned(w, "leaf", owner(middle, blocks=True), finalizers=["example.com/hold"])
        await quiet(w)
        await w.delete(SETS, "rs", how="Foreground")

        async def leaf_goes() -> bool:
            leaf = await w.get(MAPS, "leaf")
            return leaf is not None and "deletionTimestamp" in leaf["metadata"]

        await until(leaf_goes)
        there = await w.get(MAPS, "middle")
        assert there is not None and there["metadata"]["finalizers"] == ["foregroundDeletion"]
        await w.client.patch(MAPS.path("default", "leaf"), {"metadata": {"finalizers": None}})
        await left(w)
        await until(lambda: _no_set(w))

    in_world(test, ONLY)


def test_orphans_stay_and_forget_their_owner() -> None:
    async def test(w: World) -> None:
        rs, other = await a_set(w), await a_set(w, "other")
        await owned(w, "only", owner(rs))
        await owned(w, "both", owner(rs), owner(other))
        await quiet(w)
        await w.delete(SETS, "rs", how="Orphan")
        await until(lambda: _no_set(w))
        await quiet(w)
        await left(w, "only", "both")
        only, both = await w.get(MAPS, "only"), await w.get(MAPS, "both")
        assert only is not None and "ownerReferences" not in only["metadata"]
        assert both is not None and [o["name"] for o in both["metadata"]["ownerReferences"]] == ["other"]

    in_world(test, ONLY)


def test_one_owner_that_is_left_is_enough() -> None:
    async def test(w: World) -> None:
        rs, other = await a_set(w), await a_set(w, "other")
        await owned(w, "both", owner(rs), owner(other))
        await w.delete(SETS, "rs", how="Background")

        async def one() -> bool:
            both = await w.get(MAPS, "both")
            return both is not None and [o["name"] for o in both["metadata"]["ownerReferences"]] == ["other"]

        await until(one)
        await w.delete(SETS, "other", how="Foreground")
        await left(w)

    in_world(test, ONLY)


@pytest.mark.parametrize("how", ["Background", "Foreground"])
def test_a_circle_does_not_hold_itself(how: str) -> None:
    async def test(w: World) -> None:
        pods = [await w.pod(f"pod{n}") for n in (1, 2, 3)]
        for mine, owning in ((0, 2), (1, 0), (2, 1)):
            path = PODS.path("default", f"pod{mine + 1}")
            await w.client.patch(path, {"metadata": {"ownerReferences": [owner(pods[owning], blocks=True)]}})
        await quiet(w)
        await w.delete(PODS, "pod1", how=how)

        async def none() -> bool:
            return await w.names(PODS) == []

        await until(none)

    in_world(test, ONLY)


def test_an_owner_that_never_was_is_none() -> None:
    async def test(w: World) -> None:
        rs = await a_set(w)
        ghost = owner(rs, uid="00000000-0000-0000-0000-000000000000")
        await owned(w, "haunted", {**ghost, "name": "ghost"})
        await owned(w, "mistaken", ghost)  # the name is right, the uid is not
        await left(w)
        assert await w.get(SETS, "rs") is not None

    in_world(test, ONLY)


def test_the_many_of_one_owner_that_is_gone_do_not_each_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    get = RestClient.get

    async def counted(self: RestClient, path: str, **more: Any) -> Object:
        asked.append(path)
        return await get(self, path, **more)

    async def test(w: World) -> None:
        rs = await a_set(w)
        for number in range(4 * WORKERS):
            await owned(w, f"m{number}", owner(rs))
        monkeypatch.setattr(RestClient, "get", counted)
        await w.delete(SETS, "rs", how="Background")
        await left(w)
        # those that are looked at at once do not wait for each other
        assert 1 <= sum(path.endswith("/replicasets/rs") for path in asked) <= WORKERS

    in_world(test, ONLY)


def test_an_owner_in_another_namespace_is_none_and_that_is_said() -> None:
    async def test(w: World) -> None:
        rs = await a_set(w)
        await w.make(NAMESPACES, "far", "")
        await quiet(w)
        await owned(w, "stray", owner(rs), namespace="far")

        async def told() -> Any:
            return [
                e
                for e in (await w.client.list(EVENTS.path("far")))["items"]
                if e["reason"] == "OwnerRefInvalidNamespace"
            ]

        event = (await until(told))[0]
        assert event["message"] == (
            f"ownerRef [apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: {rs['metadata']['uid']}] does not exist in "
            'namespace "far"'
        )
        assert event["involvedObject"]["kind"] == "ConfigMap" and event["source"] == {
            "component": GarbageCollector.NAME
        }
        assert await w.get(MAPS, "stray", "far") is None

    in_world(test, ONLY)


def test_what_is_in_no_namespace_is_never_deleted_for_an_owner_that_is_in_one() -> None:
    async def test(w: World) -> None:
        rs = await a_set(w)
        await w.make(ROLES, "r", "", rules=[], metadata={"ownerReferences": [owner(rs)]})
        await w.delete(SETS, "rs")
        await quiet(w)
        assert await w.get(ROLES, "r", "") is not None

    in_world(test, ONLY)


def test_custom_objects_own_and_are_owned() -> None:
    async def test(w: World) -> None:
        await widgets(w)
        boss = await w.make(WIDGETS, "boss", apiVersion="example.com/v1", kind="Widget")
        await owned(w, "m", owner(boss))
        await w.make(
            WIDGETS, "hand", apiVersion="example.com/v1", kind="Widget", metadata={"ownerReferences": [owner(boss)]}
        )  # fmt: skip

        async def followed() -> bool:
            return w.runner.kinds.with_uid(boss["metadata"]["uid"]) is not None

        await until(followed)
        await w.delete(WIDGETS, "boss")
        await left(w)

        async def none_left() -> bool:
            return await w.names(WIDGETS) == []

        await until(none_left)

    in_world(test, ONLY)


@settings(max_examples=15)
@given(
    parents=st.lists(st.lists(st.integers(0, 6), max_size=2, unique=True), min_size=2, max_size=7),
    doomed=st.integers(0, 6), how=st.sampled_from(["Background", "Foreground", "Orphan"]), early=st.booleans(),
)  # fmt: skip
def test_any_family_ends_as_its_owners_say(parents: list[list[int]], doomed: int, how: str, early: bool) -> None:
    """Owners come before what they own: no circles. `early`: deleted before the collector has seen anything."""
    tree = [sorted(p for p in some if p < n) for n, some in enumerate(parents)]
    doomed %= len(tree)
    lives = [n != doomed for n in range(len(tree))]
    if how != "Orphan":
        for n, owners in enumerate(tree):
            lives[n] = lives[n] and (not owners or any(lives[p] for p in owners))

    async def test(w: World) -> None:
        made: list[Object] = []
        for n, owners in enumerate(tree):
            made.append(await owned(w, f"m{n}", *(owner(made[p], blocks=True) for p in owners)))
        if not early or how == "Orphan":  # whoever orphans has to know whom
            await quiet(w)
        await w.delete(MAPS, f"m{doomed}", how=how)
        await left(w, *(f"m{n}" for n, alive in enumerate(lives) if alive))
        await quiet(w)
        await left(w, *(f"m{n}" for n, alive in enumerate(lives) if alive))
        for n, alive in enumerate(lives):
            if alive:
                found = await w.get(MAPS, f"m{n}")
                assert found is not None
                names = [o["name"] for o in found["metadata"].get("ownerReferences", ())]
                assert names == [f"m{p}" for p in tree[n] if lives[p]]

    in_world(test, ONLY)


def test_nothing_goes_while_a_kind_is_not_served() -> None:
    async def test(w: World) -> None:
        unknown = {"apiVersion": "example.com/v9", "kind": "Later", "name": "x", "uid": "u-u"}
        kept = await owned(w, "kept", unknown)

        async def failed() -> bool:
            return w.runner.counts()[GarbageCollector.NAME][1] > 1

        await until(failed)
        there = await w.get(MAPS, "kept")
        assert there is not None and there["metadata"]["uid"] == kept["metadata"]["uid"]

    in_world(test, ONLY)
