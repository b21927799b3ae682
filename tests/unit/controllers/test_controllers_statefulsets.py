"""StatefulSets: what comes next (pure), and whole ones on simulated nodes."""

from __future__ import annotations

from typing import Any

from controlworld import EVENTS, PODS, World, in_world, until
from hypothesis import given
from hypothesis import strategies as st
from simkubelets import simulated

from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers.seats import REVISION, Shape, claim_owners, ordinal_of, revision_of, status_of, step
from netlab.controllers.statefulsets import numbered_pod

SETS, CLAIMS = Resource("apps/v1", "statefulsets"), Resource("v1", "persistentvolumeclaims")
REVISIONS = Resource("apps/v1", "controllerrevisions")


def shape(replicas: int, *, ordered: bool = True, partition: int = 0, rolling: bool = True, start: int = 0) -> Shape:
    return Shape("web", range(start, start + replicas), ordered, rolling, partition, 0)


def pod(number: int, state: str = "ready", revision: str = "new") -> Object:
    """state: ready, starting, ending, Failed or Succeeded."""
    ready = {"type": "Ready", "status": "True" if state in ("ready", "ending") else "False",
             "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    return {
        "metadata": {
            "name": f"web-{number}", "uid": f"u{number}", "labels": {REVISION: revision},
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if state == "ending" else {}),
        },
        "spec": {}, "status": {
            "phase": state if state in ("Failed", "Succeeded") else "Pending" if state == "starting" else "Running",
            "conditions": [ready],
        },
    }  # fmt: skip


def next_of(s: Shape, *pods: Object, current: str = "new") -> tuple[list[tuple[int, str]], list[str]]:
    found = step(s, pods, current=current, update="new", now=2e9)
    return found.make, [p["metadata"]["name"] for p in found.delete]


def test_whose_number_is_it() -> None:
    assert ordinal_of("web", "web-7") == 7 and ordinal_of("web-1", "web-1-0") == 0
    assert [ordinal_of("web", name) for name in ("web", "web-07", "web-x", "other-1", "web-1-0")] == [None] * 5


def test_in_order() -> None:
    three = shape(3)
    assert next_of(three) == ([(0, "new")], [])
    assert next_of(three, pod(0, "starting")) == ([], [])
    assert next_of(three, pod(0)) == ([(1, "new")], [])
    assert next_of(three, pod(0), pod(1), pod(2)) == ([], [])
    # the lowest first, whatever is wrong further up
    assert next_of(three, pod(1), pod(2)) == ([(0, "new")], [])
    assert next_of(three, pod(0), pod(1, "Failed"), pod(2)) == ([], ["web-1"])
    assert next_of(three, pod(0), pod(1, "ending"), pod(2)) == ([], [])
    # fewer: the highest first, one after another, and only when all that stay are well
    assert next_of(shape(1), pod(0), pod(1), pod(2)) == ([], ["web-2"])
    assert next_of(shape(1), pod(0), pod(1), pod(2, "ending")) == ([], [])
    assert next_of(shape(1), pod(0, "starting"), pod(1), pod(2)) == ([], [])
    assert next_of(shape(0), pod(0), pod(1, "starting")) == ([], ["web-1"])
    # one that is not well further down goes before the highest may
    assert next_of(shape(0), pod(0, "starting"), pod(1)) == ([], ["web-1"])


def test_in_parallel() -> None:
    three = shape(3, ordered=False)
    assert next_of(three) == ([(0, "new"), (1, "new"), (2, "new")], [])
    assert next_of(three, pod(1, "starting")) == ([(0, "new"), (2, "new")], [])
    assert next_of(shape(1, ordered=False), *(pod(n, "starting") for n in range(4))) == (
        [],
        ["web-3", "web-2", "web-1"],
    )
    assert next_of(shape(2, ordered=False, start=5), pod(0)) == ([(5, "new"), (6, "new")], ["web-0"])


def test_an_update_goes_from_the_top() -> None:
    old = [pod(n, revision="old") for n in range(3)]
    assert next_of(shape(3), *old, current="old") == ([], ["web-2"])
    assert next_of(shape(3), *old[:2], pod(2, "starting"), current="old") == ([], [])
    assert next_of(shape(3), *old[:2], pod(2), current="old") == ([], ["web-1"])
    assert next_of(shape(3, partition=2), *old[:2], pod(2), current="old") == ([], [])
    assert next_of(shape(3, rolling=False), *old, current="old") == ([], [])
    # below the partition the old revision is made again; with OnDelete it is the new one
    assert next_of(shape(3, partition=2), pod(0, revision="old"), current="old") == ([(1, "old")], [])
    assert next_of(shape(3, rolling=False), pod(0, revision="old"), current="old") == ([(1, "new")], [])


STATES = st.sampled_from(["ready", "starting", "ending", "Failed", "Succeeded", "missing"])


@given(
    st.lists(st.tuples(STATES, st.sampled_from(["old", "new"])), max_size=6), st.integers(0, 5), st.integers(0, 5),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_set_comes_to_rest(
    states: list[tuple[str, str]], replicas: int, partition: int, ordered: bool, rolling: bool
) -> None:
    """Whatever there is: if what is begun becomes ready and what is deleted goes, the set gets what it asks for, and in
    order never more than one pod is missing by our doing."""
    s = shape(replicas, ordered=ordered, partition=partition, rolling=rolling)
    pods = {n: pod(n, state, revision) for n, (state, revision) in enumerate(states) if state != "missing"}
    for _ in range(100):
        found = step(s, pods.values(), current="old", update="new", now=2e9)
        if ordered:
            assert len(found.make) + len(found.delete) <= 1
        assert all(number in s.numbers and number not in pods for number, _ in found.make)
        waiting = [
            n for n, p in pods.items() if p["status"]["phase"] == "Pending" or "deletionTimestamp" in p["metadata"]
        ]
        if not (found.make or found.delete or waiting):
            break
        for gone in found.delete:
            pods.pop(ordinal_of("web", gone["metadata"]["name"]) or 0, None)
        for n in waiting:
            if n in pods:
                if "deletionTimestamp" in pods[n]["metadata"]:
                    del pods[n]
                else:
                    pods[n] = pod(n, "ready", revision_of(pods[n]))
        for number, revision in found.make:
            pods[number] = pod(number, "starting", revision)
    assert sorted(pods) == list(s.numbers)
    assert all(p["status"]["phase"] == "Running" for p in pods.values())
    if rolling:
        assert all(revision_of(p) == "new" for n, p in pods.items() if n >= partition)


def a_set(replicas: int = 2, **more: Any) -> Object:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx:1.9.1"}]}}
    claim = {"metadata": {"name": "www"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    return {"serviceName": "nginx", "replicas": replicas, "selector": {"matchLabels": labels}, "template": template,
            "volumeClaimTemplates": [claim], **more}  # fmt: skip


def test_a_numbered_pod() -> None:
    obj: Object = {"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": a_set()}
    made = numbered_pod(obj, obj["spec"]["template"], 1, "web-abc")
    assert made["metadata"]["name"] == "web-1" and "generateName" not in made["metadata"]
    assert made["metadata"]["labels"] == {
        "app": "web", "statefulset.kubernetes.io/pod-name": "web-1", "apps.kubernetes.io/pod-index": "1",
        REVISION: "web-abc",
    }  # fmt: skip
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("web-1", "nginx")
    assert made["spec"]["volumes"] == [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-1"}}]
    assert "hostname" not in obj["spec"]["template"]["spec"], "the template is not touched"


def test_whose_a_claim_is() -> None:
    claim: Object = {"metadata": {"name": "www-web-1"}}

    def owners(deleted: str, scaled: str, *, leaving: bool) -> list[str]:
        policy = {"whenDeleted": deleted, "whenScaled": scaled}
        obj = {"metadata": {"name": "web", "uid": "u"}, "spec": {"persistentVolumeClaimRetentionPolicy": policy}}
        return [o["kind"] for o in claim_owners(obj, claim, pod(1), leaving=leaving)]

    assert owners("Retain", "Retain", leaving=True) == [] == owners("Retain", "Delete", leaving=False)
    assert owners("Retain", "Delete", leaving=True) == ["Pod"] == owners("Delete", "Delete", leaving=True)
    assert owners("Delete", "Retain", leaving=True) == ["StatefulSet"] == owners("Delete", "Delete", leaving=False)


def test_a_status() -> None:
    obj: Object = {"metadata": {"name": "web", "generation": 3}, "spec": {"replicas": 2}}
    half = status_of(obj, [pod(0, revision="old"), pod(1)], current="old", update="new", now=2e9)
    assert {k: half[k] for k in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas")} == {
        "replicas": 2, "readyReplicas": 2, "currentReplicas": 1, "updatedReplicas": 1,
    }  # fmt: skip
    assert half["currentRevision"] == "old"
    whole = status_of(obj, [pod(0), pod(1)], current="old", update="new", now=2e9)
    assert whole["currentRevision"] == whole["updateRevision"] == "new" and whole["currentReplicas"] == 2


async def settled(w: World, replicas: int, name: str = "web") -> Object:
    """The set, when so many pods are ready and of its newest revision."""

    async def so() -> Any:
        found = await w.get(SETS, name)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return None
        state, names = found["status"], await w.names(PODS)
        rest = state.get("replicas", 0) == state.get("readyReplicas", 0) == len(names) == replicas
        return found if rest and state["currentRevision"] == state["updateRevision"] else None

    found: Object = await until(so)
    return found


def test_a_set_on_nodes() -> None:
    async def test(w: World) -> None:
        async with simulated(w):
            spec = a_set(3)
            spec["volumeClaimTemplates"] = []
            await w.make(SETS, "web", spec=spec)
            await settled(w, 3)
            pods = {p["metadata"]["name"]: p for p in (await w.client.list(PODS.path("default")))["items"]}
            assert sorted(pods) == ["web-0", "web-1", "web-2"]
            made = [pods[f"web-{n}"]["metadata"]["creationTimestamp"] for n in range(3)]
            assert made == sorted(made)
            # an update by a partition, then whole, then back
            image = {"spec": {"containers": [{"name": "c", "image": "nginx:1.7.9"}]}}
            await w.client.patch(SETS.path("default", "web"), {"spec": {
                "template": image, "updateStrategy": {"rollingUpdate": {"partition": 2}}}})  # fmt: skip

            async def images() -> list[str]:
                listed = (await w.client.list(PODS.path("default")))["items"]
                return [
                    p["spec"]["containers"][0]["image"] for p in sorted(listed, key=lambda p: p["metadata"]["name"])
                ]

            async def only_the_last() -> bool:
                return await images() == ["nginx:1.9.1", "nginx:1.9.1", "nginx:1.7.9"]

            await until(only_the_last)
            await w.delete(PODS, "web-0")

            async def old_again() -> bool:
                fresh = await w.get(PODS, "web-0")
                return fresh is not None and fresh["metadata"]["uid"] != pods["web-0"]["metadata"]["uid"]

            await until(old_again)
            assert await only_the_last()
            await w.client.patch(
                SETS.path("default", "web"), {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
            )
            await settled(w, 3)
            assert await images() == ["nginx:1.7.9"] * 3
            assert len(await w.names(REVISIONS)) == 2
            await w.client.patch(SETS.path("default", "web"), {"spec": {"replicas": 1}})
            await settled(w, 1)
            said = {e["message"] for e in (await w.client.list(EVENTS.path("default")))["items"]}
            assert {f"create Pod web-{n} in StatefulSet web successful" for n in range(3)} <= said
            assert "delete Pod web-2 in StatefulSet web successful" in said

    in_world(test)


def test_claims_are_made_and_kept_or_not() -> None:
    async def test(w: World) -> None:
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        await w.make(
            SETS, "web", spec=a_set(2, podManagementPolicy="Parallel", persistentVolumeClaimRetentionPolicy=policy)
        )

        async def claims(*names: str) -> bool:
            return sorted(await w.names(CLAIMS)) == list(names)

        await until(lambda: claims("www-web-0", "www-web-1"))

        async def pods(count: int) -> bool:
            return len(await w.names(PODS)) == count

        await until(lambda: pods(2))
        claim = await w.get(CLAIMS, "www-web-0")
        assert claim is not None and claim["metadata"]["labels"] == {"app": "web"}
        assert [o["kind"] for o in claim["metadata"]["ownerReferences"]] == ["StatefulSet"]
        await w.client.patch(SETS.path("default", "web"), {"spec": {"replicas": 1}})
        await until(lambda: claims("www-web-0"))
        await w.delete(SETS, "web", how="Background")
        await until(lambda: claims())

    in_world(test)
