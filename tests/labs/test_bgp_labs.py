"""The BGP labs: up, checked, as computed, exercised by `solve` and by hand, and gone without a trace."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from exercising import unmet, until
from patience import patience

from netlab.base.errors import MachineError
from netlab.lab import engine as engine_module
from netlab.lab.capture import reading
from netlab.lab.capture.decode import fields
from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab
from netlab.lab.scripts import lab_script
from netlab.model import Route

ROOT = Path(__file__).parents[2]
NETLAB = [sys.executable, "-m", "netlab.cli.main"]
PATIENCE = patience(30)  # seconds until a wait is given up
OURS = ("bgp-border", "calico-bgp")
GRADING = "grading, as in test_exercises.py"
_MISSING = [name for name in ("bird", "/usr/lib/frr/bgpd", "/usr/lib/frr/zebra") if shutil.which(name) is None]
NEEDS_PEERS = pytest.mark.skipif(bool(_MISSING), reason=f"needs {' and '.join(_MISSING)}: apt-get install bird2 frr")
LABS = [*OURS, pytest.param("calico-peers", marks=NEEDS_PEERS)]
MENDED = [
    pytest.param(lab, e.id, marks=() if lab in OURS else NEEDS_PEERS)
    for lab in (*OURS, "calico-peers")
    for e in Book.of(Lab(ROOT / "labs" / lab / "lab.yaml")).exercises
    if not e.captures
]

#: what a learner does, by exercise: `NODE: command`, or `NODE edit TEXT => TEXT` in its speaker's configuration
CURES = {
    "no-way-back": [
        "router-2: ip route add 10.10.0.0/24 via 192.0.2.1 dev C",
        "router-2: ip -6 route add fd00:10:10::/64 via fd00:0:0:12::1 dev C",
    ],
    "wrong-as": ["router-2 edit as: 11 => as: 1"],
    "wrong-password": ["router-2 edit border-21 => border-12"],
    "ttl": ["router-2 edit   password: => \n  ttl_security: 1\n  password:", "router-1 reset"],
    "blackhole": ["router-2: ip route add blackhole 172.17.0.0/24"],
    "proxy-arp": [
        "pod-1a: ip neigh del 169.254.1.1 dev eth0",
        "node1: sysctl -q -w net.ipv4.conf.cali069321d8350.proxy_arp=1",
    ],
    "reflector": ["node1 edit   connect_retry: 1 =>   connect_retry: 1\n  route_reflector_client: true"],
    "leak": ["node3 edit - prefix: 192.0.2.0/24\n => "],
    "med": ["node3 edit - {prefix: 10.244.0.64/26, med: 10}\n => "],
    "strange-as": ["node2 edit as: 65020 => as: 65002"],
    "up-and-silent": ["node2 edit then: reject => then: accept"],
    "one-sided": ["node1 edit import: repairs => import: calico-import"],
    "host-route": ["node2 edit - {prefix: 10.244.0.0/32, blackhole: true}\n => "],
    "drain": ["node2 edit local_pref: 200} => local_pref: 200, communities: ['65535:0']}"],
}


def ask(lab: str, verb: str, node: str) -> None:
    asked = [*NETLAB, "bgp", verb, "--lab", lab, "--node", node]
    subprocess.run(asked, check=True, capture_output=True, timeout=PATIENCE)


@pytest.mark.parametrize("name", LABS)
def test_every_check_holds_and_nothing_drifts(name: str, up: Callable[[str], Lab], engine: Engine) -> None:
    lab = up(name)
    assert unmet(engine, lab) == []
    until(lambda: engine.drift(lab.name).clean, "a lab without drift")


@pytest.mark.parametrize("name", OURS)
def test_routing_comes_to_rest_where_it_was_computed(name: str, up: Callable[[str], Lab], engine: Engine) -> None:
    lab = up(name)

    def routes(states: object) -> set[tuple[object, ...]]:
        assert isinstance(states, dict)
        found = ((ns, route) for ns, state in states.items() for route in state.all(Route))
        return {(ns, r.dst, r.via, r.dev, r.type, r.metric, r.protocol) for ns, r in found if r.protocol != "boot"}

    computed = routes(lab.whole)
    assert computed
    until(
        lambda: routes(engine.others(engine.journal(lab.name), engine.record(lab.name))) == computed, "the same routes"
    )


@pytest.mark.parametrize("name", ["bgp-border", "calico-bgp", "calico-peers"])
def test_the_script_is_the_lab_s(name: str) -> None:
    text = lab_script(Lab(ROOT / "labs" / name / "lab.yaml"))
    assert (ROOT / "scripts" / "labs" / f"{name}.sh").read_text() == text, (
        f"netlab lab script {name} > scripts/labs/{name}.sh"
    )


# -- exercises


@pytest.mark.not_in_vm(GRADING)
@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_starts_broken_and_is_solved(
    name: str, ident: str, exercises: Callable[[str], Exercises], engine: Engine
) -> None:
    e = exercises(name)
    exercise = e.start(ident).exercise
    until(lambda: engine.drift(e.name).clean, "the break as it was asked for")
    lines = e.check().lines
    assert [line.outcome for line in lines] == ["failed"] * len(exercise.checks), lines
    e.solve()
    assert e.running() is None
    results = run_all(
        e.book.checks([*exercise.checks, *exercise.keeps]),
        Context(engine.machine, engine.record(e.name), e.lab.topology),
    )
    assert [(r.name, r.detail) for r in results if r.outcome != "passed"] == []


@pytest.mark.not_in_vm(GRADING)
@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_is_mended_by_hand(name: str, ident: str, exercises: Callable[[str], Exercises], engine: Engine) -> None:
    e = exercises(name)
    e.start(ident)
    end = time.monotonic() + PATIENCE
    for step in CURES[ident]:
        if step.endswith(" reset"):
            ask(e.name, "reset", step.removesuffix(" reset"))
            continue
        node, edit, change = step.partition(" edit ")
        if not edit:
            node, _, command = step.partition(": ")
            subprocess.run(["ip", "netns", "exec", f"{e.name}.{node}", *command.split()], check=True)
            continue
        before, _, after = change.partition(" => ")
        file = engine.journal(e.name).dir / "bgp" / f"{node}.yaml"
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
        ask(e.name, "reload", node)
    grade = e.check()
    while not grade.passed and time.monotonic() < end:
        grade = e.check()
    assert grade.passed, grade.lines


@pytest.mark.not_in_vm(GRADING)
@pytest.mark.parametrize(
    ("name", "ident", "places", "node", "senders"),
    [
        ("bgp-border", "open-update", ["router-1:C", "router-2:C"], "router-1", {"192.0.2.1"}),
        pytest.param(
            "calico-peers",
            "two-makers",
            ["node1:eth0"],
            "node1",
            {"10.168.0.1", "10.168.0.2", "10.168.0.9"},
            marks=NEEDS_PEERS,
        ),
    ],
)
def test_the_messages_of_a_session_in_a_capture(
    name: str,
    ident: str,
    places: list[str],
    node: str,
    senders: set[str],
    exercises: Callable[[str], Exercises],
    tmp_path: Path,
) -> None:
    e = exercises(name)
    e.start(ident)
    file = tmp_path / "session.pcapng"
    argv = [*NETLAB, "lab", "capture", e.name, *places, "-f", "tcp port 179", "-w", str(file)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as capture:
        try:
            until(lambda: file.exists() and file.stat().st_size > 0, "the capture to begin")
            ask(e.name, "reset", node)

            def told() -> set[str]:
                every = [fields(p) for p in reading.read(file)]
                return {str(f["ip.src"]) for f in every if f.get("bgp.nlri") and "ip.src" in f}

            until(lambda: senders <= told(), "everybody's UPDATE in the capture")
        finally:
            capture.send_signal(signal.SIGINT)
            capture.communicate(timeout=PATIENCE)
    grade = e.check(pcap=file)
    assert [line.outcome for line in grade.lines] == ["passed"] * len(grade.lines), grade.lines


def test_a_program_that_is_not_there_is_named_with_what_brings_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module.shutil, "which", lambda _name: None)
    with pytest.raises(MachineError, match=r"runs /usr/lib/frr/bgpd and /usr/lib/frr/zebra and bird") as e:
        engine.up(Lab(ROOT / "labs" / "calico-peers" / "lab.yaml"))
    assert e.value.exit_status == 3
    assert "apt-get install bird2 frr" in (e.value.hint or "")
