"""Every exercise of docker0 as a learner does it: broken as it should be, mended by hand or by `solve`, graded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from exercising import TestBook, captured, exercises_of, failing, netlab, type_in

from netlab.base.errors import ConflictError, InputError
from netlab.lab.capture import reading
from netlab.lab.engine import Engine
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab

DOCKER0 = exercises_of("docker0")
pytestmark = pytest.mark.not_in_vm(
    "grading, which has no part in the kernel, takes half an hour in an emulator: labs and their checks are run there"
)
GRADED = [e.id for e in DOCKER0 if not e.captures]
MENDED = [e.id for e in DOCKER0 if e.kind == "mend"]

#: what a learner would type, by exercise: node, command
CURES = {
    "port": ["node1: ip link set vethf7399eb up"],
    "gateway": ["nginx-1: ip route replace default via 172.17.0.1"],
    "forward": ["node1: sysctl -q -w net.ipv4.ip_forward=1"],
    "masquerade": [
        "node1: iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        "node1: ip6tables -t nat -A POSTROUTING -s fd00:172:17::/64 ! -o docker0 -j MASQUERADE",
    ],
    "duplicate": [
        "nginx-2: ip addr del 172.17.0.2/16 dev eth0",
        "nginx-2: ip addr add 172.17.0.3/16 brd 172.17.255.255 dev eth0",
        "nginx-2: ip route add default via 172.17.0.1",
        "node1: ip neigh flush dev docker0",
    ],
    "drop": ["node1: iptables -D FORWARD -s 172.17.0.2/32 ! -o docker0 -j DROP"],
    "nailed": ["nginx-1: ip neigh del 172.17.0.1 dev eth0"],
}

#: the build, command by command; the number is that of the stages that stand after it
BUILD: list[tuple[int, str]] = [
    (0, "node1: ip link add docker0 type bridge"),
    (1, "node1: ip link set docker0 up"),
    (2, "node1: ip addr add 172.17.0.1/16 dev docker0"),
    (3, "node1: ip link add vethea91a87 type veth peer name eth0 netns {lab}.nginx-1"),
    (4, "node1: ip link add vethf7399eb type veth peer name eth0 netns {lab}.nginx-2"),
    (4, "node1: ip link set vethea91a87 master docker0 up"),
    (5, "node1: ip link set vethf7399eb master docker0 up"),
    (5, "nginx-1: ip addr add 172.17.0.2/16 dev eth0"),
    (5, "nginx-1: ip link set eth0 up"),
    (5, "nginx-2: ip addr add 172.17.0.3/16 dev eth0"),
    (8, "nginx-2: ip link set eth0 up"),
    (8, "nginx-1: ip route add default via 172.17.0.1"),
    (9, "nginx-2: ip route add default via 172.17.0.1"),
    (10, "node1: sysctl -q -w net.ipv4.ip_forward=1"),
    (11, "node1: iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"),
]


@pytest.fixture(scope="module")
def exercises(lab_copy: Callable[[str], Lab], engine: Engine) -> Exercises:
    # what is to fail here fails for good: it need not be waited for
    return Exercises(engine, replace(TestBook.of(lab_copy("docker0")), within=1.0))


@pytest.fixture(autouse=True)
def whole(exercises: Exercises) -> Iterator[None]:
    """Each test leaves the lab as its file says, with no exercise running."""
    yield
    if exercises.running():
        exercises.solve()
    assert exercises.engine.drift(exercises.name).clean


# -- build and mend


@pytest.mark.parametrize("ident", GRADED)
def test_it_starts_broken_as_it_should_and_is_solved(exercises: Exercises, ident: str) -> None:
    exercise = exercises.start(ident).exercise
    assert exercises.engine.drift(exercises.name).clean  # broken is what was asked for
    grade = exercises.check()
    assert not grade.passed
    if exercise.stages:
        assert [line.outcome for line in grade.lines] == ["failed"] + ["waiting"] * (len(exercise.stages) - 1)
    else:
        # all goals are missed, and nothing of what has to be kept is listed as broken
        assert [line.outcome for line in grade.lines] == ["failed"] * len(exercise.checks)
    assert exercises.solve().steps
    assert exercises.running() is None
    assert failing(exercises, exercise) == []


@pytest.mark.parametrize("ident", GRADED)
def test_the_commands_of_the_solution_work_when_typed(exercises: Exercises, ident: str) -> None:
    exercises.start(ident)
    for netns, command in exercises.solve(dry_run=True).steps:
        subprocess.run(["sh", "-ec", command.shell(netns)], check=True)
    assert exercises.check().passed
    assert not exercises.engine.drift(exercises.name).clean  # nothing was applied: what is asked for is the break


@pytest.mark.parametrize("ident", MENDED)
def test_it_is_mended_by_hand(exercises: Exercises, ident: str) -> None:
    exercises.start(ident)
    type_in(exercises.lab, *CURES[ident])
    grade = exercises.check()
    assert grade.passed, grade.lines
    running = exercises.running()
    assert running and running.solved


def test_a_cure_that_lets_everybody_in_is_not_taken_for_one(exercises: Exercises) -> None:
    exercises.start("drop")
    type_in(exercises.lab, "node1: iptables -F FORWARD", "node1: iptables -P FORWARD ACCEPT")
    grade = exercises.check()
    assert not grade.passed
    assert [line.title for line in grade.lines if line.outcome == "failed"] == [
        "what node1 allows is still said rule by rule"
    ]
    assert "no longer" in grade.say


def test_it_is_built_by_hand_and_each_stage_is_noticed(exercises: Exercises) -> None:
    stages = exercises.start("build").exercise.stages
    reached = 0
    for stands, line in BUILD:
        type_in(exercises.lab, line)
        if stands > reached:  # the grading of a stage that does not stand waits for it, so ask where something changes
            outcomes = [line.outcome for line in exercises.check().lines]
            later = max(0, len(stages) - stands - 1)
            assert outcomes == ["passed"] * stands + ["failed"] * (stands < len(stages)) + ["waiting"] * later, line
            reached = stands
    assert exercises.check().passed


# -- the learner's own things


def test_reset_and_solve_clear_away_what_nobody_asked_for(exercises: Exercises) -> None:
    exercises.start("build")
    mess = [
        "node1: ip link add docker0 type veth peer name tmp0",  # a wanted name, of the wrong kind
        "node1: ip link add vethea91a87 type veth peer name eth1",  # forgot the namespace
        "nginx-1: ip link add eth0 type bridge",
        "nginx-1: ip addr add 172.17.0.9/16 dev eth0",
        "nginx-1: ip link set eth0 up",
        "nginx-1: ip route add default via 172.17.0.254",
        "node1: iptables -N MINE",
        "node1: iptables -A INPUT -s 192.0.2.1 -j MINE",
        "node1: iptables -P OUTPUT DROP",
        "node1: ip route add blackhole 198.51.100.0/24",
    ]
    type_in(exercises.lab, *mess)
    removed = "\n".join(exercises.reset().removed)
    for trace in ("tmp0", "eth1", "MINE", "198.51.100.0/24"):
        assert trace in removed, trace
    assert exercises.engine.drift(exercises.name).clean
    type_in(exercises.lab, *mess)
    solution = exercises.solve()
    assert solution.exercise
    assert failing(exercises, solution.exercise) == []
    shown = subprocess.run(
        ["ip", "netns", "exec", f"{exercises.name}.node1", "iptables-save"], capture_output=True, text=True, check=True
    ).stdout
    assert "MINE" not in shown
    assert ":OUTPUT ACCEPT" in shown


def test_half_a_build_is_adopted(exercises: Exercises) -> None:
    exercises.start("build")
    type_in(exercises.lab, *(line for _, line in BUILD[:9]))
    assert failing(exercises, exercises.solve().exercise or pytest.fail("no exercise")) == []


def test_what_was_learnt_of_a_duplicate_address_is_forgotten(exercises: Exercises) -> None:
    exercises.start("duplicate")
    # node1 is made to believe nginx-2
    type_in(
        exercises.lab,
        "node1: ip neigh replace 172.17.0.2 lladdr 02:42:ac:11:00:03 nud reachable dev docker0",
    )
    shown = [command.shell(netns) for netns, command in exercises.solve().steps]
    assert f"ip -n {exercises.name}.node1 neigh del 172.17.0.2 dev docker0" in shown
    type_in(exercises.lab, "node1: ping -c 1 -W 1 -q 172.17.0.2")


# -- hints, and one at a time


def test_hints_come_one_by_one_and_run_out(exercises: Exercises) -> None:
    exercise = exercises.start("gateway").exercise
    assert [exercises.hint().text for _ in exercise.hints] == list(exercise.hints)
    assert exercises.hint().text is None
    exercises.reset()
    assert exercises.hint().text is None  # what was told stays told


def test_one_exercise_at_a_time(exercises: Exercises) -> None:
    exercises.start("gateway")
    with pytest.raises(ConflictError, match="gateway is running"):
        exercises.start("forward")
    with pytest.raises(ConflictError, match="gateway is running, not arp"):
        exercises.check("arp")
    with pytest.raises(InputError, match="takes no capture file"):
        exercises.check(pcap=Path("x"))
    exercises.start("forward", force=True)
    running = exercises.running()
    assert running and running.id == "forward"
    exercises.solve()
    with pytest.raises(InputError, match="has not been started"):
        exercises.check("forward")
    with pytest.raises(InputError, match="no exercise is running"):
        exercises.hint()


# -- captures


CABLES = ["nginx-1:eth0", "node1:vethea91a87", "node1:vethf7399eb", "nginx-2:eth0"]
WAY_OUT = ["nginx-1:eth0", "node1:docker0", "node1:eth0", "outside:eth0"]
PORTS = ["node1:vethea91a87", "node1:vethf7399eb", "node1:port3"]
PING = "nginx-1: ping -q -c 2 -i 0.2 172.17.0.3"
FORGET = "nginx-1: ip neigh flush dev eth0"
LEARN = "nginx-1: ping -q -c 1 172.17.0.3"
UNLEARN = "node1: ip link set vethf7399eb type bridge_slave fdb_flush"
OUT, IN = "nginx-1: ping -q -c 1 10.168.0.100", "outside: curl -s -o /dev/null http://10.168.0.2:8080/"

#: exercise, places, commands that show it; places and commands that do not, and what is said of that
CAPTURES = {
    "arp": (CABLES, [FORGET, PING], CABLES, [LEARN, PING], "no packet with arp.op=1"),
    "nat": (WAY_OUT, [OUT, IN], WAY_OUT[1:], [OUT, IN], "the file has no packet of nginx-1:eth0"),
    "flood": (PORTS, [FORGET, PING], PORTS[:2], [FORGET, PING], "the file has no packet of node1:port3"),
    "unlearnt": (PORTS, [LEARN, UNLEARN, PING], PORTS, [FORGET, PING], "node1:port3: not seen there"),
}


@pytest.mark.parametrize("ident", CAPTURES)
def test_a_right_and_a_wrong_capture(exercises: Exercises, ident: str, tmp_path: Path) -> None:
    right_places, right, wrong_places, wrong, said = CAPTURES[ident]
    exercise = exercises.start(ident).exercise
    grade = exercises.check(pcap=captured(exercises.lab, tmp_path / "wrong.pcapng", wrong_places, *wrong))
    assert not grade.passed
    assert said in "\n".join(line.detail for line in grade.lines)
    file = captured(exercises.lab, tmp_path / "right.pcapng", right_places, *right)
    grade = exercises.check(pcap=file)
    assert [line.outcome for line in grade.lines] == ["passed"] * len(grade.lines), (
        grade.lines,
        [str(p.place) for p in reading.read(file)],
    )
    assert grade.passed == (not exercise.questions)


@pytest.mark.parametrize(
    ("ident", "answers"),
    [
        ("arp", ["02-42-AC-11-00-03", "ff:ff:ff:ff:ff:ff", " 02:42:d8:e4:53:ce "]),
        ("nat", ["10.168.0.2", "63", "80", "10.168.0.100"]),
    ],
)
def test_right_answers_in_turn(exercises: Exercises, ident: str, answers: list[str], tmp_path: Path) -> None:
    questions = exercises.start(ident).exercise.questions
    for n, answer in enumerate(answers):
        assert questions[n].ask in exercises.check().say
        grade = exercises.check(answer=answer)
        assert [line.outcome for line in grade.lines] == ["passed"], grade.lines
    assert "FILE" in grade.say  # the capture is still to do
    places, right, *_ = CAPTURES[ident]
    assert exercises.check(pcap=captured(exercises.lab, tmp_path / "x.pcapng", places, *right)).passed
    with pytest.raises(InputError, match="answered already"):
        exercises.check(answer="63")


def test_wrong_answers_give_nothing_away_but_a_direction_after_the_third(exercises: Exercises) -> None:
    question = exercises.start("arp").exercise.questions[0]
    for n in (1, 2, 3):
        line = exercises.check(answer="02:42:ac:11:00:02").lines[0]
        assert line.outcome == "failed"
        assert "00:03" not in line.detail
        assert line.hint == (question.look if n == 3 else None)
    assert exercises.check(answer="02:42:ac:11:00:03").lines[0].outcome == "passed"


def test_an_answer_starts_the_exercise(exercises: Exercises) -> None:
    assert exercises.check("nat", answer="10.168.0.2").lines[0].outcome == "passed"
    running = exercises.running()
    assert running and (running.id, running.answered) == ("nat", 1)


# -- from the command line


def test_from_start_to_solution_on_the_command_line(exercises: Exercises) -> None:
    folder = str(exercises.lab.folder)
    listed = json.loads(netlab("exercise", "list", folder, "--json").stdout)
    assert [row["id"] for row in listed] == [e.id for e in DOCKER0]
    exercises.engine.down(exercises.name)
    started = netlab("exercise", "start", folder, "gateway")
    assert (started.returncode, "is not up: bringing it up" in started.stderr) == (0, True)
    assert exercises.book.get("gateway").task.strip() in started.stdout
    name = exercises.name  # the journal knows where its file is
    assert "1 of 3" in netlab("exercise", "hint", name).stdout
    assert netlab("exercise", "check", name).returncode == 1
    graded = netlab("exercise", "check", name, "--json")
    assert (graded.returncode, json.loads(graded.stdout)["passed"]) == (1, False)
    command = f"ip -n {name}.nginx-1 route replace default via 172.17.0.1 dev eth0"
    assert netlab("exercise", "solve", name, "--dry-run").stdout.splitlines()[0] == command
    subprocess.run(command.split(), check=True)
    passed = netlab("exercise", "check", name)
    assert (passed.returncode, "mended" in passed.stdout) == (0, True)
    assert netlab("exercise", "reset", name).returncode == 0
    assert netlab("exercise", "check", name).returncode == 1
    assert netlab("exercise", "solve", name).returncode == 0
    assert netlab("exercise", "hint", name).returncode == 2
    assert netlab("exercise", "text", name).stdout == (exercises.lab.folder / "exercise.md").read_text()
    assert netlab("lab", "drift", name).returncode == 0
