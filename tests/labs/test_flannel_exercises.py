"""Every exercise of the flannel labs: broken as it should be, mended by `solve`, by its commands, and by hand; graded."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from exercising import NETLAB, SHORT, TestBook, captured, exercises_of, failing, type_in

from netlab.lab.checks import Context, Result, run_all
from netlab.lab.engine import Engine
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.exercises.spec import CheckRef
from netlab.lab.labfile import Lab

pytestmark = pytest.mark.not_in_vm("grading, as in test_exercises.py; test_flannel.py is run there")

#: what a learner would type, by lab and exercise: node, command
CURES: dict[str, dict[str, list[str]]] = {
    "flannel-vxlan": {
        "fdb": ["node1: bridge fdb append 02:d8:77:63:26:20 dev flannel.1 dst 10.168.0.3"],
        "arp": ["node2: ip neigh replace 10.244.0.0 lladdr 02:74:23:ca:52:67 dev flannel.1 nud permanent"],
        "dead": ["flanneld node2"],
        "mtu": ["infra-container-1: ip link set eth0 mtu 1430", "infra-container-2: ip link set eth0 mtu 1430"],
        "duplicate": [
            "node3: ip addr del 10.244.1.1/24 dev cni0",
            "node3: ip addr add 10.244.2.1/24 dev cni0",
            "infra-container-3: ip addr del 10.244.1.3/24 dev eth0",
            "infra-container-3: ip addr add 10.244.2.2/24 dev eth0",
            "infra-container-3: ip route add default via 10.244.2.1",
        ],
        "port": ["node2: iptables -D INPUT -p udp -m udp --dport 8472 -j DROP"],
    },
    "flannel-host-gw": {
        "route": ["node1: ip route add 10.244.1.0/24 via 10.168.0.3 dev eth0"],
        "next-hop": ["node1: ip neigh del 10.168.0.3 dev eth0"],
        "dead": ["flanneld node2"],
        "mtu": ["node1: ip link set eth0 mtu 1500"],
        "duplicate": [
            "node3: ip addr del 10.244.1.1/24 dev cni0",
            "node3: ip addr add 10.244.2.1/24 dev cni0",
            "infra-container-3: ip addr del 10.244.1.3/24 dev eth0",
            "infra-container-3: ip addr add 10.244.2.2/24 dev eth0",
            "infra-container-3: ip route add default via 10.244.2.1",
        ],
        "masquerade": ["node1: iptables -t nat -D POSTROUTING -s 10.244.0.0/24 ! -o cni0 -j MASQUERADE"],
    },
    "flannel-udp": {
        "dead": ["flanneld node2"],
        "bip": [
            "node2: ip addr del 172.17.0.1/16 dev docker0",
            "node2: ip addr add 100.96.2.1/24 dev docker0",
            "container-2: ip addr del 172.17.0.2/16 dev eth0",
            "container-2: ip addr add 100.96.2.3/24 dev eth0",
            "container-2: ip route add default via 100.96.2.1",
        ],
        "mtu": ["container-1: ip link set eth0 mtu 1472", "container-2: ip link set eth0 mtu 1472"],
        "duplicate": [
            "node3: ip addr del 100.96.2.1/24 dev docker0",
            "node3: ip addr add 100.96.3.1/24 dev docker0",
            "container-3: ip addr del 100.96.2.3/24 dev eth0",
            "container-3: ip addr add 100.96.3.2/24 dev eth0",
            "container-3: ip route add default via 100.96.3.1",
        ],
        "port": ["node2: iptables -D INPUT -p udp -m udp --dport 8285 -j DROP"],
    },
}

#: a second cure that is as good
OTHER_CURES: dict[str, dict[str, list[str]]] = {
    "flannel-vxlan": {
        "fdb": ["flanneld node1"],
        "mtu": [
            "node1: iptables -D OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP",
            "node2: iptables -D OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP",
        ],
    },
    "flannel-udp": {
        "mtu": [
            "node1: iptables -D OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP",
            "node2: iptables -D OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP",
        ],
    },
}


def _vxlan_peer(stands: tuple[int, int, int], node: str, to: int, mac: str) -> list[tuple[int, str]]:
    """A node's three entries for the VTEP of node `to`, each with the stages that stand after it."""
    first = f"10.244.{to - 1}.0"
    return [
        (stands[0], f"{node}: ip route add {first}/24 via {first} dev flannel.1 onlink"),
        (stands[1], f"{node}: ip neigh add {first} lladdr {mac} dev flannel.1 nud permanent"),
        (stands[2], f"{node}: bridge fdb append {mac} dev flannel.1 dst 10.168.0.{to + 1}"),
    ]


_MAC = {1: "02:74:23:ca:52:67", 2: "02:d8:77:63:26:20", 3: "0e:00:00:00:00:03"}
_ADD_VTEP = f"ip link add flannel.1 address {_MAC[3]} type vxlan id 1 local 10.168.0.4 dev eth0 dstport 8472 nolearning"

#: the builds, command by command; the number is that of the stages that stand after it
BUILDS: dict[str, dict[str, list[tuple[int, str]]]] = {
    "flannel-vxlan": {
        "third-node": [
            (0, f"node3: {_ADD_VTEP}"),
            (1, "node3: ip link set flannel.1 up"),
            (2, "node3: ip addr add 10.244.2.0/32 dev flannel.1"),
            *_vxlan_peer((2, 2, 2), "node3", 1, _MAC[1]),
            *_vxlan_peer((3, 4, 5), "node3", 2, _MAC[2]),
            *_vxlan_peer((5, 5, 5), "node1", 3, _MAC[3]),
            *_vxlan_peer((6, 8, 9), "node2", 3, _MAC[3]),
        ],
    },
    "flannel-host-gw": {
        "third-node": [
            (0, "node3: ip link add cni0 type bridge"),
            (0, "node3: ip addr add 10.244.2.1/24 dev cni0"),
            (1, "node3: ip link set cni0 up"),
            (1, "node3: ip link add veth9c0d1e2f type veth peer name eth0 netns {lab}.infra-container-3"),
            (1, "node3: ip link set veth9c0d1e2f master cni0 up"),
            (1, "infra-container-3: ip addr add 10.244.2.2/24 dev eth0"),
            (2, "infra-container-3: ip link set eth0 up"),
            (4, "infra-container-3: ip route add default via 10.244.2.1"),
            (4, "node3: ip route add 10.244.0.0/24 via 10.168.0.2"),
            (5, "node3: ip route add 10.244.1.0/24 via 10.168.0.3"),
            (5, "node1: ip route add 10.244.2.0/24 via 10.168.0.4"),
            (7, "node2: ip route add 10.244.2.0/24 via 10.168.0.4"),
        ],
    },
    "flannel-udp": {
        "third-node": [
            (2, "flanneld node3"),
            (2, "node3: ip link add docker0 type bridge"),
            (2, "node3: ip link set docker0 mtu 1472 up"),
            (3, "node3: ip addr add 100.96.3.1/24 dev docker0"),
            (3, "node3: ip link add vetha8c3e32 mtu 1472 type veth peer name eth0 mtu 1472 netns {lab}.container-3"),
            (3, "node3: ip link set vetha8c3e32 master docker0 up"),
            (3, "container-3: ip addr add 100.96.3.2/24 dev eth0"),
            (4, "container-3: ip link set eth0 up"),
            (6, "container-3: ip route add default via 100.96.3.1"),
        ],
    },
}

#: capture exercises: places, commands that show it; answers in turn
_WIRE = ["infra-container-1:eth0", "{node}:flannel.1", "node1:eth0", "node2:eth0", "infra-container-2:eth0"]
CAPTURES: dict[str, dict[str, tuple[list[str], list[str], list[str]]]] = {
    "flannel-vxlan": {
        "wire": (
            [
                "infra-container-1:eth0", "node1:flannel.1", "node1:eth0", "node2:eth0", "node2:flannel.1",
                "infra-container-2:eth0",
            ],
            ["infra-container-1: ping -q -c 1 10.244.1.3"],
            ["10.168.0.3", "8472", "02-D8-77-63-26-20", "134", "62"],
        ),
    },
    "flannel-host-gw": {
        "frames": (
            [
                "infra-container-1:eth0", "node1:cni0", "node1:eth0", "node2:eth0", "node2:cni0",
                "infra-container-2:eth0",
            ],
            ["infra-container-1: ping -q -c 1 10.244.1.3"],
            ["0a:58:0a:f4:00:01", "02:42:0a:a8:00:03", "10.244.1.3", "10.168.0.3", "62"],
        ),
    },
    "flannel-udp": {
        "wire": (
            ["container-1:eth0", "node1:flannel0", "node1:eth0", "node2:eth0", "node2:flannel0", "container-2:eth0"],
            ["container-1: ping -q -c 1 100.96.2.3"],
            ["10.168.0.3", "8285", "112", "61", "60"],
        ),
    },
}  # fmt: skip

LABS = sorted(CURES)


def of_kind(kind: str) -> list[tuple[str, str]]:
    """Lab and id of each exercise of a kind."""
    return [(lab, e.id) for lab in LABS for e in exercises_of(lab) if e.kind == kind]


def test_every_exercise_is_tried() -> None:
    assert {lab: set(CURES[lab]) for lab in LABS} == {
        lab: {ident for name, ident in of_kind("mend") if name == lab} for lab in LABS
    }
    assert {(lab, ident) for lab in LABS for ident in BUILDS[lab]} == set(of_kind("build"))
    assert {(lab, ident) for lab in LABS for ident in CAPTURES[lab]} == set(of_kind("capture"))
    for lab in LABS:
        assert len(exercises_of(lab)) >= 5


@pytest.fixture(scope="module")
def up(lab_copy: Callable[[str], Lab], engine: Engine) -> Callable[[str], Exercises]:
    """`up("flannel-vxlan")`: the exercises of that lab, which is up."""
    known: dict[str, Exercises] = {}

    def get(name: str) -> Exercises:
        if name not in known:
            known[name] = Exercises(engine, Book.of(lab_copy(name)))
        return known[name]

    return get


@contextmanager
def healed(exercises: Exercises) -> Iterator[None]:
    """Whatever happens, the lab is as its file says afterwards, with no exercise running."""
    try:
        yield
    finally:
        if exercises.running():
            exercises.solve()
    assert exercises.engine.drift(exercises.name).clean


def outcomes(exercises: Exercises, refs: list[CheckRef], *, within: float = 60) -> list[Result]:
    book = replace(TestBook.of(exercises.lab), within=within)
    context = Context(exercises.engine.machine, exercises.engine.record(exercises.name), exercises.lab.topology)
    return run_all(book.checks(refs), context)


@contextmanager
def flanneld(netns: str, argv: tuple[str, ...], folder: Path) -> Iterator[None]:
    """A flanneld that is started by hand, until Ctrl-C. It is ready when it says so."""
    words = ["ip", "netns", "exec", netns, *NETLAB, *argv[1:]]
    with (folder / "flanneld.log").open("w+") as log, subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as one:
        assert one.stderr
        for line in one.stderr:
            log.write(line)
            if "ready" in line:
                break
        else:
            raise AssertionError(f"flanneld has ended: {(folder / 'flanneld.log').read_text()}")
        yield
        one.send_signal(signal.SIGINT)
        one.communicate(timeout=10)


def cure(exercises: Exercises, lines: list[str], stack: ExitStack, folder: Path) -> None:
    """Type what mends it; `flanneld node2` starts the one that was stopped there."""
    for line in lines:
        if line.startswith("flanneld "):
            netns = exercises.lab.topology.netns(line.split()[1])
            argv = dict(exercises.solve(dry_run=True).starts)[netns]
            stack.enter_context(flanneld(netns, argv, folder))
        else:
            type_in(exercises.lab, line)


@pytest.mark.parametrize(("lab", "ident"), of_kind("mend"))
def test_it_is_broken_as_it_should_be_and_mended_by_hand(
    up: Callable[[str], Exercises], lab: str, ident: str, tmp_path: Path
) -> None:
    exercises = up(lab)
    with healed(exercises):
        started = exercises.start(ident)
        exercise = started.exercise
        assert started.removed == ()  # nothing is told that would give it away
        assert exercises.engine.drift(exercises.name).clean  # broken is what was asked for
        # all goals are missed, and nothing of what has to be kept is
        missed = outcomes(exercises, exercise.checks, within=SHORT)
        assert {r.outcome for r in missed} == {"failed"}, missed
        kept = outcomes(exercises, exercise.keeps)
        assert {r.outcome for r in kept} <= {"passed"}, kept
        for lines in filter(None, (CURES[lab][ident], OTHER_CURES.get(lab, {}).get(ident))):
            exercises.reset()
            with ExitStack() as stack:
                cure(exercises, lines, stack, tmp_path)
                grade = exercises.check()
                assert grade.passed, grade.lines
            running = exercises.running()
            assert running and running.solved


@pytest.mark.parametrize(("lab", "ident"), [*of_kind("mend"), *of_kind("build")])
def test_the_commands_of_the_solution_work_when_typed_and_so_does_solve(
    up: Callable[[str], Exercises], lab: str, ident: str, tmp_path: Path
) -> None:
    exercises = up(lab)
    with healed(exercises), ExitStack() as stack:
        exercise = exercises.start(ident).exercise
        solution = exercises.solve(dry_run=True)
        assert solution.steps or solution.starts
        for netns, command in solution.steps:
            subprocess.run(["sh", "-ec", command.shell(netns)], check=True)
        if lab == "flannel-udp":  # nothing is carried by what a flanneld leaves behind
            for n, (netns, argv) in enumerate(solution.starts):
                folder = tmp_path / str(n)
                folder.mkdir()
                stack.enter_context(flanneld(netns, argv, folder))
        grade = exercises.check()
        assert grade.passed, grade.lines
        stack.close()
        exercises.solve()
        assert exercises.running() is None
        assert failing(exercises, exercise) == []


@pytest.mark.parametrize(("lab", "ident"), of_kind("build"))
def test_it_is_built_by_hand_and_each_stage_is_noticed(
    up: Callable[[str], Exercises], lab: str, ident: str, tmp_path: Path
) -> None:
    exercises = up(lab)
    with healed(exercises), ExitStack() as stack:
        stages = exercises.start(ident).exercise.stages
        assert [line.outcome for line in exercises.check().lines] == ["failed"] + ["waiting"] * (len(stages) - 1)
        reached = 0
        for stands, line in BUILDS[lab][ident]:
            cure(exercises, [line], stack, tmp_path)
            if stands > reached:
                found = [line.outcome for line in exercises.check().lines]
                later = max(0, len(stages) - stands - 1)
                assert found == ["passed"] * stands + ["failed"] * (stands < len(stages)) + ["waiting"] * later, line
                reached = stands
        assert exercises.check().passed


@pytest.mark.parametrize(("lab", "ident"), of_kind("capture"))
def test_a_capture_and_its_questions(up: Callable[[str], Exercises], lab: str, ident: str, tmp_path: Path) -> None:
    places, lines, answers = CAPTURES[lab][ident]
    exercises = up(lab)
    with healed(exercises):
        exercise = exercises.start(ident).exercise
        deaf = exercises.check(pcap=captured(exercises.lab, tmp_path / "wrong.pcapng", places[1:], *lines))
        assert {line.outcome for line in deaf.lines} == {"failed"}
        right = exercises.check(pcap=captured(exercises.lab, tmp_path / "right.pcapng", places, *lines))
        assert {line.outcome for line in right.lines} == {"passed"}, right.lines
        assert len(answers) == len(exercise.questions)
        for question, answer in zip(exercise.questions, answers, strict=True):
            assert exercises.check(answer="10.0.0.77").lines[0].outcome == "failed", question.ask
            grade = exercises.check(answer=answer)
            assert grade.lines[0].outcome == "passed", (question.ask, answer)
        assert grade.passed


def test_a_flanneld_of_the_learners_is_not_in_the_way(up: Callable[[str], Exercises], tmp_path: Path) -> None:
    """With a subnet file of its own, as the hint says, it may still run when the exercise ends."""
    exercises = up("flannel-vxlan")
    with healed(exercises):
        exercises.start("dead")
        netns, argv = exercises.solve(dry_run=True).starts[0]
        own = tuple(str(tmp_path / "by-hand.env") if word.endswith("subnet.env") else word for word in argv)
        with flanneld(netns, own, tmp_path):
            assert exercises.check().passed
            exercises.solve()
            assert exercises.engine.drift(exercises.name).clean
