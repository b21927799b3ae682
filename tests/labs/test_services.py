"""The labs of Services: up, checked, as computed, exercised by `solve` and by hand, and gone without a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from exercising import LABS, SHORT, captured, exercises_of, type_in, unmet, until
from patience import patience

from netlab.base.errors import MachineError
from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab
from netlab.lab.scripts import lab_script

ROOT = Path(__file__).parents[2]
PATIENCE = patience(30)  # seconds until a wait is given up
#: the module, or the kernel itself, has this file
HAS_IPVS = Path("/proc/net/ip_vs").exists()
IPVS = pytest.param(
    "services-ipvs",
    marks=pytest.mark.skipif(not HAS_IPVS, reason="this kernel has no IPVS: modprobe ip_vs, or scripts/vm-test"),
)
NAMES = ["services-iptables", "nodeport", "services-nftables"]
ELSEWHERE = pytest.mark.not_in_vm("every kernel has what it takes, and Python is slow in an emulator")
LABS_UP = [*(pytest.param(name, marks=ELSEWHERE) for name in NAMES), IPVS]


def on(name: str, *more: object) -> object:
    """A lab's parameters for a test: not again in a VM, but for the one that can only be up there."""
    return pytest.param(name, *more, marks=IPVS.marks if name == "services-ipvs" else ELSEWHERE)


MENDED = [on(lab, e.id) for lab in [*NAMES, "services-ipvs"] for e in exercises_of(lab) if not e.captures]

SVC = "KUBE-SVC-ODX2UBAZM7RQWOIU"
#: what a learner types, by exercise
CURES = {
    "balance": [f"node1: iptables -t nat -R {SVC} 3 -m statistic --mode random --probability 0.5 -j KUBE-SEP-7MW3KEEC4RCNSIJ2"],
    "dead-end": ["node1: iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -p tcp -j DNAT --to-destination 10.244.3.6:9376"],
    "no-door": ["node2: iptables -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"],
    "localhost": ["node1: sysctl -q -w net.ipv4.conf.all.route_localnet=1"],
    "external-ip": ["router: ip route replace 80.11.12.10 via 10.168.0.4"],
    "same-bridge": ["node1: sysctl -q -w net.bridge.bridge-nf-call-iptables=1"],
    "drained": ["node1: ipvsadm -e -t 10.0.1.175:80 -r 10.244.2.3:9376 -m -w 1"],
    "homeless": ["node1: ip addr add 10.0.1.175/32 dev kube-ipvs0"],
    "untracked": ["node3: sysctl -q -w net.ipv4.vs.conntrack=1"],
    "no-masquerade": ["node3: iptables -t nat -A KUBE-POSTROUTING -j MASQUERADE"],
}  # fmt: skip


@pytest.mark.parametrize("name", LABS_UP)
def test_every_check_holds_and_nothing_drifts(name: str, up: Callable[[str], Lab], engine: Engine) -> None:
    lab = up(name)
    assert unmet(engine, lab) == []
    assert len(lab.file.checks) >= 15
    until(lambda: engine.drift(lab.name).clean, "a lab without drift")
    assert engine.up(lab).operations == 0


@pytest.mark.parametrize("name", LABS_UP)
def test_what_is_told_is_what_the_proxies_ask_for(name: str, up: Callable[[str], Lab], engine: Engine) -> None:
    lab = up(name)
    others = engine.others(engine.journal(lab.name), engine.record(lab.name))
    proxies = lab.file.agents.proxy.nodes  # type: ignore[union-attr]
    assert set(others) == {lab.topology.netns(node) for node in proxies}
    for netns, state in others.items():
        told = {item.order: item for item in lab.whole[netns]}
        for item in state:
            known = told[item.order]
            assert item.met_by(replace(known, owner=item.owner, why=item.why)), item


@ELSEWHERE
@pytest.mark.parametrize("name", [*NAMES, "services-ipvs"])
def test_the_script_is_the_lab_s(name: str) -> None:
    text = lab_script(Lab(ROOT / "labs" / name / "lab.yaml"))
    assert (ROOT / "scripts" / "labs" / f"{name}.sh").read_text() == text, (
        f"netlab lab script {name} -o scripts/labs/{name}.sh"
    )


@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_starts_broken_and_is_solved(
    name: str, ident: str, exercises: Callable[..., Exercises], engine: Engine
) -> None:
    e = exercises(name, within=SHORT)
    exercise = e.start(ident).exercise
    assert engine.drift(e.name).clean
    context = Context(engine.machine, engine.record(e.name), e.lab.topology)
    # all goals are missed, for which nobody has to wait, and nothing of what has to be kept is
    missed = run_all(e.book.checks(exercise.checks), context)
    assert [r.outcome for r in missed] == ["failed"] * len(exercise.checks), missed
    whole = Book.of(e.lab)
    kept = run_all(whole.checks(exercise.keeps), context)
    assert [(r.name, r.detail) for r in kept if r.outcome != "passed"] == []
    e.solve()
    assert e.running() is None
    results = run_all(whole.checks([*exercise.checks, *exercise.keeps]), context)
    assert [(r.name, r.detail) for r in results if r.outcome != "passed"] == []


@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_is_mended_by_hand(name: str, ident: str, exercises: Callable[..., Exercises]) -> None:
    e = exercises(name)
    e.start(ident)
    type_in(e.lab, *CURES[ident])
    grade = e.check()
    assert grade.passed, grade.lines


@pytest.mark.parametrize(
    ("name", "ident", "answers"),
    [
        on("services-iptables", "predict", ["10.244.1.7", "10.244.1.2", "10.244.3.1"]),
        on("services-nftables", "predict", ["10.244.1.7", "10.244.2.1"]),
        on("services-ipvs", "predict", ["10.244.1.7", "10.244.3.1"]),
        on("nodeport", "who-calls", ["192.0.2.80", "10.168.0.4", "62"]),
    ],
)
def test_what_can_be_predicted_is_what_happens(
    name: str, ident: str, answers: list[str], exercises: Callable[..., Exercises]
) -> None:
    e = exercises(name)
    e.start(ident)
    for answer in answers:
        assert [line.outcome for line in e.check(answer=answer).lines] == ["passed"], answer


@pytest.mark.parametrize("name", [on("services-iptables"), on("services-nftables"), on("services-ipvs")])
def test_before_and_after_in_a_capture(name: str, exercises: Callable[..., Exercises], tmp_path: Path) -> None:
    e = exercises(name)
    e.start("dnat")
    places = ["bbc:eth0", "node1:vethbbc", "node1:veth9klb2", "hostnames-9klb2:eth0"]
    file = captured(e.lab, tmp_path / "dnat.pcapng", places, "bbc: curl -s http://10.0.1.176/whoami")
    grade = e.check(pcap=file)
    assert [line.outcome for line in grade.lines] == ["passed"] * len(grade.lines), grade.lines


@pytest.mark.parametrize("name", [on("services-iptables"), on("services-nftables"), on("services-ipvs")])
def test_a_change_of_the_manifests_is_followed(name: str, up: Callable[[str], Lab], engine: Engine) -> None:
    """As the text says: a pod that loses its label gets no call any more."""
    lab = up(name)
    file = engine.journal(lab.name).dir / "manifests" / "hostnames.yaml"
    before = file.read_text()
    spec = next(c for c in lab.file.checks if c.balance).balance
    assert spec is not None
    two = spec.model_copy(update={"among": ["hostnames-9klb2", "hostnames-xths6"], "connections": 100})
    check = lab.file.checks[0].model_copy(update={"reach": None, "balance": two, "within": PATIENCE})
    try:
        write(
            file, before.replace("hostnames-khxpz, labels: {app: hostnames}", "hostnames-khxpz, labels: {app: other}")
        )
        (result,) = run_all([check], Context(engine.machine, engine.record(lab.name), lab.topology))
        assert result.outcome == "passed", result.detail
    finally:
        write(file, before)
    until(lambda: engine.drift(lab.name).clean, "the rules as they were")


def write(file: Path, text: str) -> None:
    beside = file.with_name("." + file.name)
    beside.write_text(text)
    beside.replace(file)


@ELSEWHERE
@pytest.mark.skipif(HAS_IPVS, reason="this kernel has IPVS, so nobody has to be told")
def test_a_kernel_without_ipvs_is_told_before_anything_is_made(engine: Engine) -> None:
    lab = Lab(LABS / "services-ipvs" / "lab.yaml")
    with pytest.raises(MachineError, match="no ipvs") as e:
        engine.up(lab)
    assert e.value.exit_status == 3 and "netlab vm run" in (e.value.hint or "")
    assert not set(lab.topology.namespaces) & engine.machine.namespaces()
