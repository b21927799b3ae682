"""ReplicaSets and Deployments, with a kubelet that runs no containers."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import EVENTS, PODS, World, in_world, until
from workloads import DEPLOYMENTS, SETS, deploy, kubelet, pods_of, template

from netlab.client.rest import Object
from netlab.controllers.deployments import Deployments, same_template, template_hash
from netlab.controllers.garbage import GarbageCollector
from netlab.controllers.replicas import COST, first_to_go
from netlab.controllers.replicasets import ReplicaSets

ONLY = (ReplicaSets, Deployments, GarbageCollector)


def a_pod(name: str, *, node: str = "n", phase: str = "Running", ready: str = "", cost: str = "", restarts: int = 0,
          made: str = "2026-01-01T00:00:00Z") -> Object:  # fmt: skip
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    return {
        "metadata": {"name": name, "creationTimestamp": made, "annotations": {COST: cost} if cost else {}},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": [{"restartCount": restarts}]},
    }


def test_who_goes_first() -> None:
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    order = [
        a_pod("nowhere", node="", phase="Pending"), a_pod("pending", phase="Pending"), a_pod("unready"),
        a_pod("cheap", ready=early, cost="-5"), a_pod("crowded", node="m", ready=early), a_pod("young", ready=late),
        a_pod("restarted", ready=early, restarts=3), a_pod("new", ready=early, made=late), a_pod("old", ready=early),
    ]  # fmt: skip
    crowds = Counter({"m": 5, "n": 2})
    assert [p["metadata"]["name"] for p in first_to_go(reversed(order), crowds)] == [
        p["metadata"]["name"] for p in order
    ]


def test_hashes_are_of_the_template() -> None:
    one, other = template("nginx:1"), template("nginx:2")
    assert re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{8,10}", template_hash(one))
    assert template_hash(one) != template_hash(other) and template_hash(one) != template_hash(one, 1)
    hashed = template("nginx:1", app="web", **{"pod-template-hash": "x"})
    assert same_template(one, hashed) and not same_template(other, hashed)


async def status(w: World, wanted: Object, name: str = "web") -> Object:
    """Wait until the Deployment's status has these counts, and no others."""
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")

    async def there() -> Any:
        d = await w.get(DEPLOYMENTS, name)
        state = (d or {}).get("status") or {}
        counts = {n: state[n] for n in names if n in state}
        current = d is not None and state.get("observedGeneration") == d["metadata"]["generation"]
        return d if current and counts == wanted else None

    return dict(await until(there))


def all_of(count: int) -> Object:
    return dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)


def progressing(d: Object) -> tuple[str, str]:
    condition = next(c for c in d["status"]["conditions"] if c["type"] == "Progressing")
    return condition["reason"], condition["message"]


async def sets(w: World) -> dict[str, tuple[str, int]]:
    """By revision: image and replicas."""
    listed = await w.client.list(SETS.path("default"))
    return {
        rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: (
            rs["spec"]["template"]["spec"]["containers"][0]["image"], rs["spec"]["replicas"])
        for rs in listed["items"]
    }  # fmt: skip


async def image(w: World, name: str) -> None:
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}
    await w.client.patch(DEPLOYMENTS.path("default", "web"), change)


def test_a_deployment_from_its_making_to_its_end() -> None:
    async def test(w: World) -> None:
        async with kubelet(w):
            await deploy(w)
            d = await status(w, all_of(3))
            reason, message = progressing(d)
            name = re.fullmatch(r'ReplicaSet "(web-[a-z2-9]+)" has successfully progressed\.', message)
            assert reason == "NewReplicaSetAvailable" and name is not None
            rs = await w.get(SETS, name[1])
            assert rs is not None and rs["status"] == {
                "replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
                "observedGeneration": 1,
            }  # fmt: skip
            pods = await pods_of(w)
            assert all(re.fullmatch(rf"{name[1]}-[a-z0-9]{{5}}", p["metadata"]["name"]) for p in pods)
            assert all("pod-template-hash" in p["metadata"]["labels"] for p in pods)
            await w.delete(PODS, pods[0]["metadata"]["name"])

            async def replaced() -> bool:
                now = {p["metadata"]["uid"] for p in await pods_of(w)}
                return len(now) == 3 and pods[0]["metadata"]["uid"] not in now

            await until(replaced)
            await w.client.patch(DEPLOYMENTS.path("default", "web"), {"spec": {"replicas": 1}})
            await status(w, all_of(1))
            await w.delete(DEPLOYMENTS, "web", how="Background")

            async def empty() -> bool:
                return not await w.names(SETS) and not await w.names(PODS)

            await until(empty)
        events = (await w.client.list(EVENTS.path("default")))["items"]
        said = {e["message"] for e in events if e["reason"] == "ScalingReplicaSet"}
        assert said == {
            f"Scaled {way} replica set {name[1]} from {n} to {m}" for way, n, m in (("up", 0, 3), ("down", 3, 1))
        }

    in_world(test, ONLY)


def test_rolls_go_on_and_back_and_leave_a_history() -> None:
    async def test(w: World) -> None:
        seen: list[int] = []
        async with kubelet(w):
            await deploy(w, replicas=4, revisionHistoryLimit=2)
            await status(w, all_of(4))
            for number in (2, 3):
                await image(w, f"nginx:{number}")
                await status(w, all_of(4))
                seen.append(len(await pods_of(w)))
            assert await sets(w) == {"1": ("nginx:1", 0), "2": ("nginx:2", 0), "3": ("nginx:3", 4)}
            await image(w, "nginx:1")  # what kubectl rollout undo --to-revision=1 writes
            d = await status(w, all_of(4))
            assert await sets(w) == {"2": ("nginx:2", 0), "3": ("nginx:3", 0), "4": ("nginx:1", 4)}
            assert d["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "4"
            await image(w, "nginx:5")
            await status(w, all_of(4))

            async def cleaned() -> bool:
                return set(await sets(w)) == {"3", "4", "5"}

            await until(cleaned)

    in_world(test, ONLY)


def test_a_roll_that_hangs_takes_no_more_than_it_may_and_times_out() -> None:
    async def test(w: World) -> None:
        def runs(pod: Object) -> str:
            return "" if pod["spec"]["containers"][0]["image"] == "nginx:91" else "Running"

        async with kubelet(w, runs):
            await deploy(w, progressDeadlineSeconds=1, minReadySeconds=0)
            await status(w, all_of(3))
            await image(w, "nginx:91")
            stuck = {"replicas": 4, "updatedReplicas": 1, "readyReplicas": 3, "availableReplicas": 3,
                     "unavailableReplicas": 1}  # fmt: skip
            await status(w, stuck)

            async def late() -> Any:
                d = await w.get(DEPLOYMENTS, "web")
                return d if d is not None and progressing(d)[0] == "ProgressDeadlineExceeded" else None

            d = await until(late)
            assert re.fullmatch(r'ReplicaSet "web-\w+" has timed out progressing\.', progressing(d)[1])
            await image(w, "nginx:1")
            await status(w, all_of(3))

    in_world(test, ONLY)


def test_recreate_lets_all_go_before_the_first_comes() -> None:
    async def test(w: World) -> None:
        mixed: list[set[str]] = []

        def runs(pod: Object) -> str:
            return "Running"

        async with kubelet(w, runs):
            await deploy(w, strategy={"type": "Recreate"})
            await status(w, all_of(3))
            await image(w, "nginx:2")

            async def done() -> bool:
                images = {
                    p["spec"]["containers"][0]["image"] for p in (await w.client.list(PODS.path("default")))["items"]
                }
                mixed.append(images)
                return images == {"nginx:2"}

            await until(done)
            await status(w, all_of(3))
        assert not [images for images in mixed if len(images) > 1]

    in_world(test, ONLY)


def test_what_is_paused_does_not_roll_but_scales() -> None:
    async def test(w: World) -> None:
        async with kubelet(w):
            await deploy(w)
            await status(w, all_of(3))
            await w.client.patch(DEPLOYMENTS.path("default", "web"), {"spec": {"paused": True}})
            await image(w, "nginx:2")
            await w.client.patch(DEPLOYMENTS.path("default", "web"), {"spec": {"replicas": 5}})
            d = await status(w, {"replicas": 5, "readyReplicas": 5, "availableReplicas": 5})
            assert progressing(d)[0] == "DeploymentPaused" and set(await sets(w)) == {"1"}
            await w.client.patch(DEPLOYMENTS.path("default", "web"), {"spec": {"paused": False}})
            await status(w, all_of(5))
            assert await sets(w) == {"1": ("nginx:1", 0), "2": ("nginx:2", 5)}

    in_world(test, ONLY)


def test_pods_are_adopted_and_released() -> None:
    async def test(w: World) -> None:
        await w.pod("stray", labels={"app": "set"})
        selector = {"matchLabels": {"app": "set"}}
        await w.make(SETS, "rs", spec={"replicas": 2, "selector": selector, "template": template(app="set")})

        async def two() -> Any:
            pods = await pods_of(w)
            mine = [p for p in pods if p["metadata"].get("ownerReferences")]
            return mine if len(mine) == 2 else None

        assert "stray" in {p["metadata"]["name"] for p in await until(two)}
        await w.client.patch(PODS.path("default", "stray"), {"metadata": {"labels": {"app": "other"}}})

        async def released() -> bool:
            stray, mine = await w.get(PODS, "stray"), await two()
            return stray is not None and not stray["metadata"].get("ownerReferences") and bool(mine)

        await until(released)
        assert len(await pods_of(w)) == 3

    in_world(test, ONLY)
