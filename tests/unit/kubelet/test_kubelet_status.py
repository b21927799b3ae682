"""What is told of a pod, by what is known of it."""

from __future__ import annotations

from typing import Any

import pytest
from podvalues import NOW, container, exited, pod, running, state

from netlab.api import times
from netlab.kubelet import telling
from netlab.kubelet.backoff import Delay
from netlab.kubelet.seen import Ending, Health, Trouble
from netlab.kubelet.status import pod_status

SIDECAR = container("side", restartPolicy="Always")


def told(whole: Any, known: Any, **more: Any) -> dict[str, Any]:
    return pod_status(whole, known, NOW, NOW, host_ips=["10.0.0.1"], **more)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in status["conditions"]}


def first(status: dict[str, Any]) -> Any:
    return status["containerStatuses"][0]


def test_one_that_runs() -> None:
    status = told(pod(), state(running()))
    assert status["phase"] == "Running" and status["startTime"] == times.seconds(NOW)
    assert (status["podIP"], status["hostIPs"]) == ("10.0.0.5", [{"ip": "10.0.0.1"}])
    c = first(status)
    assert c["state"] == {"running": {"startedAt": times.seconds(NOW - 5)}} and c["containerID"] == "netlab://c0"
    assert (c["ready"], c["started"], c["restartCount"], c["lastState"]) == (True, True, 0, {})
    assert set(conditions(status).values()) == {("True", "", "")}


def test_one_that_is_begun_yet() -> None:
    for known, ready_to_start in ((state(box=None), "False"), (state(), "True")):
        status = told(pod(), known)
        assert status["phase"] == "Pending" and first(status)["state"] == {"waiting": {"reason": "ContainerCreating"}}
        assert conditions(status)["PodReadyToStartContainers"][0] == ready_to_start
        assert conditions(status)["Ready"] == (
            "False", "ContainersNotReady", "containers with unready status: [c]",
        )  # fmt: skip
    # what the hook has yet to do, has not begun
    assert "waiting" in first(told(pod(), state(running(), hooking=frozenset({"c0"}))))["state"]
    trouble = Trouble("ImagePullBackOff", 'Back-off pulling image "x"')
    assert first(told(pod(), state(troubles={"c": trouble})))["state"]["waiting"] == {
        "reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"',
    }  # fmt: skip


def test_one_that_crashes() -> None:
    crashed = exited(code=3, finished=NOW - 2, over=NOW - 2, message="bad")
    waits = state(crashed, delays={"c": Delay(10, NOW - 20)})
    c = first(told(pod(), waits))
    assert c["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": "back-off 10s restarting failed container=c pod=p_default(u1)",
    }
    last = c["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "bad")
    # not while it is begun again
    c = first(told(pod(), state(crashed, delays={"c": Delay(10, NOW - 20)}, starting="c")))
    assert c["state"]["terminated"]["reason"] == "Error"
    again = first(told(pod(), state(crashed, running(attempt=1))))
    assert again["restartCount"] == 1 and again["lastState"]["terminated"]["exitCode"] == 3
    killed = first(told(pod(), state(exited(code=137, oom_killed=True))))
    assert killed["state"]["terminated"]["reason"] == "OOMKilled"


PHASES = [
    # (restart policy, instances of c and d, ending, phase)
    ("Always", (exited("c", code=1), running("d")), None, "Running"),
    ("Always", (exited("c", code=1), exited("d")), None, "Running"),
    ("OnFailure", (exited("c"), exited("d")), None, "Succeeded"),
    ("OnFailure", (exited("c", code=1), exited("d")), None, "Running"),
    ("Never", (exited("c", code=1), exited("d")), None, "Failed"),
    ("Never", (exited("c"), exited("d")), None, "Succeeded"),
    ("Never", (exited("c", code=1), running("d")), None, "Running"),
    ("Always", (running("c"),), None, "Pending"),
    ("Always", (exited("c", code=137), exited("d")), Ending(deadline=NOW), "Failed"),
    ("Always", (exited("c"), exited("d")), Ending(deadline=NOW), "Succeeded"),
    ("Always", (exited("c"), running("d")), Ending(deadline=NOW), "Running"),
    ("Always", (), Ending(deadline=NOW), "Failed"),
    ("Always", (), Ending(deadline=0, reason="OutOfcpu", message="no"), "Failed"),
    ("Always", (running("c"), running("d")), Ending(deadline=NOW, reason="DeadlineExceeded", message="x"), "Running"),
    ("Always", (exited("c"), exited("d")), Ending(deadline=NOW, reason="DeadlineExceeded", message="x"), "Failed"),
]


@pytest.mark.parametrize(("policy", "instances", "ending", "phase"), PHASES)
def test_phases(policy: str, instances: Any, ending: Ending | None, phase: str) -> None:
    whole = pod(container("c"), container("d"), restartPolicy=policy)
    status = told(whole, state(*instances, ending=ending))
    assert status["phase"] == phase
    if phase == "Failed" and ending is not None and ending.reason:
        assert (status["reason"], status["message"]) == (ending.reason, ending.message)
    # a last phase is the last one, whatever is found later
    if phase in ("Succeeded", "Failed"):
        assert told(whole, state(box=None), old=status)["phase"] == phase
        assert told(whole, state(box=None), old=status)["podIP"] == "10.0.0.5"
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        assert conditions(status)["Ready"][:2] == ("False", reason)


def test_init_containers_and_sidecars() -> None:
    whole = pod(container(), init=(container("one"), SIDECAR))
    status = told(whole, state(running("one")))
    assert status["phase"] == "Pending"
    assert first(status)["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert conditions(status)["Initialized"] == (
        "False", "ContainersNotInitialized", "containers with incomplete status: [one side]",
    )  # fmt: skip
    done = exited("one")
    held = {"side0": Health(started=False, ready=False)}
    status = told(whole, state(done, running("side"), health=held))
    assert conditions(status)["Initialized"][2] == "containers with incomplete status: [side]"
    status = told(whole, state(done, running("side"), running()))
    assert status["phase"] == "Running" and conditions(status)["Initialized"][0] == "True"
    assert [s["ready"] for s in status["initContainerStatuses"]] == [True, True]
    # a sidecar that ends does not make the pod Pending again, but not Ready
    status = told(whole, state(done, exited("side", code=1), running()))
    assert status["phase"] == "Running" and conditions(status)["Ready"][0] == "False"


def test_gates_of_others_hold_readiness_back() -> None:
    whole = pod(readinessGates=[{"conditionType": "lb"}, {"conditionType": "dns"}])
    whole["status"] = {"conditions": [{"type": "dns", "status": "False"}]}
    found = conditions(told(whole, state(running())))
    assert found["ContainersReady"][0] == "True"
    assert found["Ready"] == (
        "False", "ReadinessGatesNotReady",
        'corresponding condition of pod readiness gate "lb" does not exist., the status of pod readiness gate "dns" is '
        'not "True", but False',
    )  # fmt: skip


def test_times_stay_where_nothing_has_changed() -> None:
    before = told(pod(), state(running()))
    later = pod_status(pod(), state(running()), NOW + 60, NOW + 60, host_ips=["10.0.0.1"], old=before)
    assert later == before
    worse = state(running(), health={"c0": Health(ready=False)})
    after = {c["type"]: c["lastTransitionTime"] for c in
             pod_status(pod(), worse, NOW + 60, NOW + 60, host_ips=["10.0.0.1"], old=before)["conditions"]}  # fmt: skip
    assert after["Ready"] == after["ContainersReady"] == times.seconds(NOW + 60)
    assert after["PodScheduled"] == times.seconds(NOW)


def test_only_what_has_changed_is_written() -> None:
    before = told(pod(), state(running()))
    assert telling.patch_of(before, before) is None
    # what a server leaves out of what it was told is no change
    bare = {**before, "conditions": [{k: v for k, v in c.items() if v is not None} for c in before["conditions"]]}
    assert telling.patch_of(bare, before) is None
    gates = {"type": "lb", "status": "True"}
    assert telling.patch_of({**before, "conditions": [*before["conditions"], gates]}, before) is None
    after = {**before, "podIPs": [{"ip": "10.0.0.6"}], "podIP": "10.0.0.6"}
    assert telling.patch_of(before, after) == {
        "podIP": "10.0.0.6", "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.6"}],
    }  # fmt: skip
    assert telling.patch_of({**before, "reason": "x"}, before) == {"reason": None}
    # the reason of what was so goes with it
    was = {"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "x"}]}
    now = {"conditions": [{"type": "Ready", "status": "True"}]}
    wanted = {"type": "Ready", "status": "True", "reason": None, "message": None}
    assert telling.patch_of(was, now) == {"conditions": [wanted]}
