"""The node's own object, who may begin on it, its static pods, its images."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from podvalues import NOW, container, pod

from netlab.api import times
from netlab.base.errors import InputError
from netlab.kubelet.admitting import refusal
from netlab.kubelet.evicting import Amount, Pressure, Use, thresholds, unwelcome, victim, words
from netlab.kubelet.imaging import Images, NoImage
from netlab.kubelet.needs import Clock
from netlab.kubelet.node import Machine, Moment, conditions_told, cordon_told, fresh, patch_of, status
from netlab.kubelet.static import Manifests, mirror_of, static_pod
from netlab.runtime.images import build, catalogue
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import Store

MACHINE = Machine(
    name="n1", ips=["10.0.0.1", "fd00::1"], cpus=2, memory=4 << 30, storage=100 << 30, reserved={"cpu": 100},
    info={"architecture": "amd64", "operatingSystem": "linux"}, labels={"zone": "a"},
)  # fmt: skip


def test_the_node_tells_what_it_has_and_how_it_does() -> None:
    found = status(MACHINE, Moment(), NOW, old={})
    assert found["capacity"] == {"cpu": "2", "memory": "4194304Ki", "pods": "110", "ephemeral-storage": "104857600Ki"}
    assert found["allocatable"]["cpu"] == "1900m"
    assert [a["address"] for a in found["addresses"]] == ["10.0.0.1", "fd00::1", "n1"]
    assert {c["type"]: c["status"] for c in found["conditions"]} == {
        "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True",
    }  # fmt: skip
    assert fresh(MACHINE)["metadata"]["labels"].items() >= {"zone": "a", "kubernetes.io/arch": "amd64"}.items()


def test_only_what_changes_is_written_and_keeps_its_time() -> None:
    old = status(MACHINE, Moment(), NOW, old={})
    later = status(MACHINE, Moment(), NOW + 60, old=old)
    assert patch_of(old, later) is None
    silent = status(MACHINE, Moment(network="cni plugin not initialized"), NOW + 60, old=old)
    patch = patch_of(old, silent)
    assert patch is not None and set(patch) == {"conditions"}
    ready = next(c for c in silent["conditions"] if c["type"] == "Ready")
    assert ready["lastTransitionTime"] == times.seconds(NOW + 60) and ready["reason"] == "KubeletNotReady"
    assert ready["message"].endswith("Network plugin returns error: cni plugin not initialized")
    pressed = status(MACHINE, Moment(pressures=frozenset({"DiskPressure"})), NOW, old=old)
    assert [c["reason"] for c in pressed["conditions"]][1] == "KubeletHasDiskPressure"
    shown = status(MACHINE, Moment(images=[(("a:1",), 5), (("b:1",), 9)]), NOW, old=old)
    assert [i["names"] for i in shown["images"]] == [["b:1"], ["a:1"]]


def test_what_is_said_when_a_node_changes() -> None:
    good = status(MACHINE, Moment(), NOW, old={})
    fine = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]
    assert conditions_told({}, good) == fine and conditions_told(good, good) == []
    bad = status(MACHINE, Moment(network="none", pressures=frozenset({"DiskPressure"})), NOW, old=good)
    assert conditions_told(good, bad) == ["NodeHasDiskPressure", "NodeNotReady"]
    assert conditions_told(bad, good) == ["NodeHasNoDiskPressure", "NodeReady"]
    cordoned = {"spec": {"unschedulable": True}}
    assert cordon_told({}, cordoned) == ["NodeNotSchedulable"] and cordon_told(cordoned, cordoned) == []
    assert cordon_told(cordoned, {"spec": {}}) == ["NodeSchedulable"]


NODE: dict[str, Any] = {
    "metadata": {"name": "n1", "labels": {"zone": "a"}}, "spec": {},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
}  # fmt: skip


def asking(cpu: str = "", name: str = "p", **spec: Any) -> Any:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    found = pod(container(resources=resources), **spec)
    found["metadata"]["name"] = name
    return found


def port(number: int) -> list[Any]:
    return [container(ports=[{"containerPort": 80, "hostPort": number, "protocol": "TCP"}])]


def test_who_may_begin_here() -> None:
    assert refusal(asking("2"), NODE, []) is None
    assert refusal(asking("500m", "q"), NODE, [asking("1600m")]) == (
        "OutOfcpu", "Node didn't have enough resource: cpu, requested: 500, used: 1600, capacity: 2000",
    )  # fmt: skip
    full = [asking(name=f"p{n}") for n in range(3)]
    assert refusal(asking(name="q"), NODE, full) == (
        "OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
    )  # fmt: skip
    taken = refusal(pod(*port(80)), NODE, [{**pod(*port(80)), "metadata": {"name": "o", "uid": "o"}}])
    assert taken is not None and taken[0] == "NodePorts"
    elsewhere = refusal(asking(nodeSelector={"zone": "b"}), NODE, [])
    assert elsewhere is not None and elsewhere[0] == "NodeAffinity"
    # cordoned is for the scheduler to mind; what evicts, for us, too
    assert refusal(asking(), {**NODE, "spec": {"unschedulable": True}}, []) is None
    tainted = {**NODE, "spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}
    assert refusal(asking(), tainted, []) is not None
    assert refusal(asking(tolerations=[{"operator": "Exists"}]), tainted, []) is None
    static = asking("100")
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert refusal(static, NODE, []) is None


def test_static_pods_and_their_mirrors(tmp_path: Path) -> None:
    data = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]}}  # fmt: skip
    found = static_pod(data, "n1", "web.yaml:1", NOW)
    again = static_pod(data, "n1", "web.yaml:1", NOW + 9)
    assert found["metadata"]["name"] == "web-n1" and found["metadata"]["uid"] == again["metadata"]["uid"]
    assert found["spec"]["nodeName"] == "n1" and found["spec"]["restartPolicy"] == "Always"
    other = static_pod({**data, "spec": {"containers": [{"name": "c", "image": "b"}]}}, "n1", "web.yaml:1", NOW)
    assert other["metadata"]["uid"] != found["metadata"]["uid"]
    mirror = mirror_of(found, {"metadata": {"name": "n1", "uid": "u"}})
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] == found["metadata"]["uid"]
    assert "uid" not in mirror["metadata"] and mirror["metadata"]["labels"] == {"a": "b"}
    for bad in ({"kind": "Pod"}, {"kind": "Service", "spec": {}}, {**data, "metadata": {}}, []):
        with pytest.raises(InputError):
            static_pod(bad, "n1", "web.yaml:1", NOW)  # type: ignore[arg-type]
    # what makes no sense any more stays as it was
    manifests = Manifests(tmp_path, "n1")
    file = tmp_path / "web.yaml"
    file.write_text("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: x}]}}")
    (tmp_path / ".hidden.yaml").write_text("no")
    before = manifests.look(NOW)
    assert [p["metadata"]["name"] for p in before.values()] == ["a-n1"]
    file.write_text("{")
    assert manifests.look(NOW) == before
    file.unlink()
    assert manifests.look(NOW) == {}


class Held(Clock):
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


def test_an_image_of_the_catalogue_has_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Always is to ask for a newer one: of these there is none, and a person without a network may use them."""
    monkeypatch.setattr(build, "CATALOGUE", (catalogue.Recipe(names=("note",), texts={"note": "x"}),))
    build.build(Store(tmp_path), ["note"])
    monkeypatch.setenv("PATH", "/nowhere")
    said: list[str] = []
    images = Images(Store(tmp_path), Held(), pulls=True)
    asked = images.get("u1", {"image": "note", "imagePullPolicy": "Always"}, lambda r, m, w: said.append(m))
    assert asyncio.run(asked).built
    assert said == ['Container image "note" already present on machine']


def test_images_that_are_not_here(tmp_path: Path) -> None:
    store, clock = Store(tmp_path), Held()
    images = Images(store, clock)
    said: list[tuple[str, str]] = []

    def get(name: str, policy: str = "IfNotPresent") -> NoImage | None:
        said.clear()
        asked = images.get("u1", {"image": name, "imagePullPolicy": policy}, lambda r, m, w: said.append((r, m)))
        try:
            asyncio.run(asked)
        except NoImage as e:
            return e
        return None

    first = get("nginx:1.91")
    assert first is not None and first.trouble.reason == "ErrImagePull" and first.trouble.until == NOW + 1
    assert [r for r, _ in said] == ["Pulling", "Failed", "Failed"] and said[-1] == ("Failed", "Error: ErrImagePull")
    clock.time += 1
    second = get("nginx:1.91")
    assert second is not None and second.trouble.reason == "ImagePullBackOff" and second.trouble.until == NOW + 10
    assert second.trouble.message.startswith('Back-off pulling image "nginx:1.91": ErrImagePull: ')
    assert said == [("BackOff", 'Back-off pulling image "nginx:1.91"'), ("Failed", "Error: ImagePullBackOff")]
    clock.time = NOW + 10
    third = get("nginx:1.91")
    assert third is not None and third.trouble.reason == "ErrImagePull"
    clock.time += 1
    fourth = get("nginx:1.91")
    assert fourth is not None and fourth.trouble.until == NOW + 30
    never, wrong = get("nginx:1.91", "Never"), get("Not:An:Image")
    assert never is not None and never.trouble.reason == "ErrImageNeverPull"
    assert wrong is not None and wrong.trouble.reason == "InvalidImageName"
    # it comes
    store.add(Reference.parse("nginx:1.91"), {"rootfs": {"type": "layers", "diff_ids": []}}, [])
    assert get("nginx:1.91", "Always") is None
    assert said == [("Pulled", 'Container image "nginx:1.91" already present on machine')]


MIB = 1 << 20


def use(uid: str, used: int, asked: str = "", priority: int = 0) -> Use:
    resources = {"requests": {"memory": asked}} if asked else {}
    found = pod(container(resources=resources), priority=priority)
    found["metadata"]["uid"] = uid
    return Use(pod=found, used={"c": used * MIB})


def test_thresholds_and_their_pressures() -> None:
    memory, disk = thresholds("memory.available<100Mi,nodefs.available<10%")
    assert memory.met(Amount(1000 * MIB, 99 * MIB)) and not memory.met(Amount(1000 * MIB, 100 * MIB))
    assert disk.met(Amount(1000, 99)) and not disk.met(Amount(1000, 100))
    for bad in ("memory.available", "cpu<1", "nodefs.available<x", "memory.available<-1"):
        with pytest.raises(InputError):
            thresholds(bad)
    pressure = Pressure((memory, disk))
    low, fine = Amount(1000, 50), Amount(1000 * MIB, 500 * MIB)
    assert pressure.look({"memory.available": fine, "nodefs.available": low}, NOW) == [disk]
    assert pressure.conditions(NOW) == {"DiskPressure"}
    assert pressure.look({"memory.available": fine}, NOW + 299) == []
    assert pressure.conditions(NOW + 299) == {"DiskPressure"} and not pressure.conditions(NOW + 300)


def test_who_has_to_go() -> None:
    # above what was asked for, the least important, the furthest above
    modest, greedy = use("a", 400, "500Mi"), use("b", 300, "100Mi")
    assert victim([modest, greedy], "memory") is greedy
    assert victim([use("c", 900, priority=5), greedy], "memory") is greedy
    assert victim([use("c", 900), greedy], "memory") == use("c", 900)
    assert victim([modest, use("d", 1, "500Mi")], "memory") is modest
    assert victim([use("e", 900, priority=2_000_001_000)], "memory") is None
    [memory] = thresholds("memory.available<100Mi")
    assert words(memory, Amount(1000 * MIB, 50 * MIB), greedy) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. Container c was using "
        "307200Ki, request is 102400Ki, has larger consumption of memory. "
    )


def test_who_is_not_welcome_under_pressure() -> None:
    best, better = pod(status={"qosClass": "BestEffort"}), pod(status={"qosClass": "Burstable"})
    assert unwelcome(best, ()) is None
    assert unwelcome(best, {"MemoryPressure"}) == ("Evicted", "The node had condition: [MemoryPressure]. ")
    assert unwelcome(better, {"MemoryPressure"}) is None
    assert unwelcome(better, {"DiskPressure"}) == ("Evicted", "The node had condition: [DiskPressure]. ")
    assert unwelcome(pod(priority=2_000_000_000), {"DiskPressure"}) is None
