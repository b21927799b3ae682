"""What is next for a pod: tables of what is there and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podvalues import NOW, container, exited, pod, running, state

from netlab.kubelet import backoff
from netlab.kubelet.backoff import Delay
from netlab.kubelet.decide import DropSandbox, Kill, MakeSandbox, Plan, Remove, Start, decide
from netlab.kubelet.seen import POD, Box, Ending, Health, Instance, Trouble

SIDECAR = container("side", restartPolicy="Always")
DEAD = Box(id="s", running=False)
ENDING = Ending(deadline=NOW + 30)


def actions(found: Plan) -> list[Any]:
    return list(found.actions)


def test_a_sandbox_comes_first() -> None:
    assert decide(pod(), state(box=None), NOW) == Plan((MakeSandbox(0),))
    assert decide(pod(), state(box=None, attempts={POD: 2}), NOW) == Plan((MakeSandbox(2),))
    assert decide(pod(), state(box=None, starting=POD), NOW) == Plan()
    wait = state(box=None, troubles={POD: Trouble("FailedMount", "no", NOW + 4)})
    assert decide(pod(), wait, NOW) == Plan((), NOW + 4)
    assert decide(pod(), wait, NOW + 4) == Plan((MakeSandbox(0),))


def test_one_that_has_died_takes_all_with_it() -> None:
    [kill] = decide(pod(), state(running(), box=DEAD), NOW).actions
    assert isinstance(kill, Kill) and kill.deadline == NOW + 30
    assert decide(pod(), state(running(), box=DEAD, killing={"c0": NOW + 30}), NOW + 1) == Plan()
    assert decide(pod(), state(exited(code=137), box=DEAD), NOW) == Plan((DropSandbox("s"),))


def test_containers_begin_one_after_the_other() -> None:
    two = pod(container("a"), container("b"))
    assert decide(two, state(), NOW) == Plan((Start("a", 0),))
    assert decide(two, state(starting="a"), NOW) == Plan()
    assert decide(two, state(running("a")), NOW) == Plan((Start("b", 0),))
    # what waits does not keep the next one waiting
    held = state(troubles={"a": Trouble("ErrImagePull", "no", NOW + 10)})
    assert decide(two, held, NOW) == Plan((Start("b", 0),), NOW + 10)
    assert decide(two, state(attempts={"a": 3}), NOW).actions == (Start("a", 3),)


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 1, True), ("OnFailure", 0, False), ("Never", 1, False)],
)
def test_what_begins_again(policy: str, code: int, again: bool) -> None:
    # another one runs, so that the pod itself is not over
    both = pod(container("c"), container("d"), restartPolicy=policy)
    found = decide(both, state(exited(code=code), running("d")), NOW)
    assert found.actions == ((Start("c", 1),) if again else ())


def test_crashes_wait_ever_longer() -> None:
    crashed = exited(code=1, over=NOW - 3)
    assert decide(pod(), state(crashed, delays={"c": Delay(40, NOW - 50)}), NOW) == Plan((), NOW + 37)
    assert decide(pod(), state(crashed, delays={"c": Delay(40, NOW - 50)}), NOW + 37).actions == (Start("c", 1),)
    # who has run for long enough begins from the start
    assert decide(pod(), state(crashed, delays={"c": Delay(300, NOW - 700)}), NOW).actions == (Start("c", 1),)


def test_delays_double_up_to_five_minutes_and_are_forgotten() -> None:
    delay, now, seen = None, NOW, []
    for _ in range(7):
        delay = backoff.following(delay, now, now)
        seen.append(delay.seconds)
        now = backoff.until(delay, now)
    assert seen == [10, 20, 40, 80, 160, 300, 300]
    assert backoff.following(delay, now + 700, now + 700) == Delay(10, now + 700)
    assert backoff.until(None, NOW) == 0
    assert [backoff.spelled(s) for s in (10, 80, 300, 160)] == ["10s", "1m20s", "5m0s", "2m40s"]


def test_init_containers_run_until_they_succeed_and_sidecars_until_they_are_started() -> None:
    whole = pod(container(), init=(container("one"), SIDECAR, container("two")))
    assert actions(decide(whole, state(), NOW)) == [Start("one", 0)]
    assert actions(decide(whole, state(running("one")), NOW)) == []
    assert actions(decide(whole, state(exited("one", code=1)), NOW)) == [Start("one", 1)]
    done = exited("one")
    assert actions(decide(whole, state(done), NOW)) == [Start("side", 0)]
    unstarted = {"side0": Health(started=False, ready=False)}
    assert actions(decide(whole, state(done, running("side"), health=unstarted), NOW)) == []
    assert actions(decide(whole, state(done, running("side"), hooking=frozenset({"side0"})), NOW)) == []
    assert actions(decide(whole, state(done, running("side")), NOW)) == [Start("two", 0)]
    ready = state(done, running("side"), exited("two"))
    assert actions(decide(whole, ready, NOW)) == [Start("c", 0)]
    # once the containers have begun, a sidecar that ends begins again beside them, and no init container does
    late = state(done, exited("side", code=0), exited("two"), running())
    assert actions(decide(whole, late, NOW)) == [Start("side", 1)]
    never = pod(container(), init=(container("one"),), restartPolicy="Never")
    assert actions(decide(never, state(exited("one", code=1)), NOW)) == [DropSandbox("s")]


def test_a_new_sandbox_runs_the_init_containers_again() -> None:
    whole = pod(container(), init=(container("one"),))
    other = Box(id="t")
    before = (exited("one"), exited("c", code=137))
    assert actions(decide(whole, state(*before, box=other), NOW)) == [Start("one", 1)]
    again = exited("one", 1, sandbox="t")
    assert actions(decide(whole, state(exited("one"), again, exited("c", code=137), box=other), NOW)) == [Start("c", 1)]


def test_probes_and_changes_end_a_container() -> None:
    probed = container(livenessProbe={"terminationGracePeriodSeconds": 3})
    failed = {"c0": Health(failed="liveness")}
    assert actions(decide(pod(probed), state(running(), health=failed), NOW)) == [
        Kill("c0", "c", NOW + 3, "Container c failed liveness probe, will be restarted")
    ]
    [kill] = decide(pod(probed, restartPolicy="Never"), state(running(), health=failed), NOW).actions
    assert isinstance(kill, Kill) and kill.message == "Container c failed liveness probe"
    other = pod(container(image="nginx:2"))
    assert actions(decide(other, state(running()), NOW)) == [
        Kill("c0", "c", NOW + 30, "Container c definition changed, will be restarted")
    ]


def test_the_end_of_a_pod() -> None:
    whole = pod(container(), init=(SIDECAR, container("later", restartPolicy="Always")))
    up = (running("side"), running("later"), running())
    kill = Kill("c0", "c", ENDING.deadline, "Stopping container c")
    assert actions(decide(whole, state(*up, ending=ENDING), NOW)) == [kill]
    assert actions(decide(whole, state(*up, ending=ENDING, killing={"c0": NOW + 30}), NOW)) == []
    # asked again with less patience
    sooner = Ending(deadline=NOW + 1)
    [kill] = decide(whole, state(*up, ending=sooner, killing={"c0": NOW + 30}), NOW).actions
    assert isinstance(kill, Kill) and kill.deadline == NOW + 1
    # sidecars are last, in reverse
    [kill] = decide(whole, state(*up[:2], exited(), ending=ENDING), NOW).actions
    assert isinstance(kill, Kill) and kill.name == "later"
    [kill] = decide(whole, state(up[0], exited("later"), exited(), ending=ENDING), NOW).actions
    assert isinstance(kill, Kill) and kill.name == "side"
    over = (exited("side"), exited("later"), exited())
    assert decide(whole, state(*over, ending=ENDING), NOW) == Plan((DropSandbox("s"),))
    assert decide(whole, state(*over, ending=ENDING, starting=POD), NOW) == Plan()
    assert decide(whole, state(*over, ending=ENDING, box=None), NOW) == Plan(done=True)
    assert decide(pod(), state(box=None, ending=ENDING), NOW) == Plan(done=True)


def test_what_is_over_ends_by_itself() -> None:
    job = pod(container(), init=(SIDECAR,), restartPolicy="Never")
    [kill] = decide(job, state(running("side"), exited()), NOW).actions
    assert isinstance(kill, Kill) and kill.name == "side"
    assert decide(job, state(exited("side"), exited()), NOW) == Plan((DropSandbox("s"),))
    told = pod(container(), status={"phase": "Succeeded"})
    assert decide(told, state(box=None), NOW) == Plan(done=True)


def test_leftovers_go() -> None:
    many = [exited(attempt=n, code=1) for n in range(4)]
    found = decide(pod(), state(*many, running(attempt=4)), NOW)
    assert actions(found) == [Remove("c0"), Remove("c1"), Remove("c2")]
    unfinished = running(state="created")
    assert actions(decide(pod(), state(unfinished), NOW)) == [Remove("c0")]
    assert actions(decide(pod(), state(unfinished, starting="c"), NOW)) == []


def test_ephemeral_containers_begin_once() -> None:
    whole = pod(container(), ephemeralContainers=[container("debug")])
    assert actions(decide(whole, state(running()), NOW)) == [Start("debug", 0)]
    assert actions(decide(whole, state(running(), exited("debug", code=1)), NOW)) == []


# -- whatever is there: rules that always hold

_STATES = st.sampled_from(["none", "created", "running", "exited well", "exited badly"])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Any, Any]:
    init = [container(f"i{n}", **({"restartPolicy": "Always"} if draw(st.booleans()) else {}))
            for n in range(draw(st.integers(0, 2)))]  # fmt: skip
    main = [container(f"m{n}") for n in range(draw(st.integers(1, 2)))]
    policy = draw(st.sampled_from(["Always", "OnFailure", "Never"]))
    whole = pod(*main, init=tuple(init), restartPolicy=policy)
    instances: list[Instance] = []
    for spec in (*init, *main):
        match draw(_STATES):
            case "created":
                instances.append(running(spec["name"], state="created"))
            case "running":
                instances.append(running(spec["name"]))
            case "exited well":
                instances.append(exited(spec["name"]))
            case "exited badly":
                instances.append(exited(spec["name"], code=1))
    box = draw(st.sampled_from([None, DEAD, Box(id="s"), Box(id="t")]))
    starting = draw(st.sampled_from(["", POD, "m0"]))
    ending = draw(st.sampled_from([None, ENDING]))
    killing = {i.id: NOW + 30 for i in instances if i.state == "running" and draw(st.booleans())}
    delays = {s["name"]: Delay(10, NOW - 2) for s in main if draw(st.booleans())}
    return whole, state(*instances, box=box, starting=starting, ending=ending, killing=killing, delays=delays)


@given(situations())
def test_rules_that_always_hold(situation: tuple[Any, Any]) -> None:
    whole, known = situation
    found = decide(whole, known, NOW)
    begun = [a for a in found.actions if isinstance(a, Start | MakeSandbox | DropSandbox)]
    # one thing at a time, and nothing beside what is under way
    assert len(begun) <= 1 and not (begun and known.starting)
    box = known.seen.sandbox
    for action in found.actions:
        if isinstance(action, Start):
            assert box is not None and box.running and known.ending is None
            newest = known.seen.newest(action.name)
            assert newest is None or newest.state == "exited"
            assert action.attempt == (newest.attempt + 1 if newest else 0)
        if isinstance(action, DropSandbox):
            assert not known.seen.running()
        if isinstance(action, Kill):
            assert action.deadline < known.killing.get(action.id, float("inf"))
    if found.done:
        assert not found.actions and not known.seen.running() and box is None and not known.starting
    # nothing is asked for twice
    assert len(set(found.actions)) == len(found.actions)


@given(situations())
def test_nobody_is_forgotten(situation: tuple[Any, Any]) -> None:
    """There is something to do, something under way, something that runs, a time to wait for, or all is done."""
    whole, known = situation
    found = decide(whole, known, NOW)
    under_way = known.starting or known.killing or known.seen.running()
    assert found.actions or found.wake or found.done or under_way
