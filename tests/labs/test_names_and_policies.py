"""The labs dns-services and network-policy: checked, as computed, exercised by `solve` and by hand."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from exercising import unmet, until
from patience import patience

from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab

ROOT = Path(__file__).parents[2]
PATIENCE = patience(30)  # seconds until a wait is given up
LABS = ["dns-services", "network-policy"]
GRADING = "grading, as in test_exercises.py"
MENDED = [(lab, e.id) for lab in LABS for e in Book.of(Lab(ROOT / "labs" / lab / "lab.yaml")).exercises]

SHOP = (ROOT / "labs" / "network-policy" / "manifests" / "shop.yaml").read_text()
#: what a learner does, by exercise: `NODE: command`, or `FILE edit TEXT => TEXT` in the manifests
CURES = {
    "typo": ["test-network-policy.yaml edit fronted => frontend"],
    "and-or": ["test-network-policy.yaml edit       podSelector:\n        match =>     - podSelector:\n        match"],
    # either is an answer: the policy is not needed, or has to let everybody in
    "blocked": ["audit.yaml edit from: [{podSelector: {}}] => from: []"],
    "three-tiers": [f"shop.yaml edit # NetworkPolicies => {SHOP}# NetworkPolicies"],
    "bridge": ["node1: sysctl -q -w net.bridge.bridge-nf-call-iptables=1"],
    "notrack": ["node1: iptables -t raw -D PREROUTING -s 10.244.1.10/32 -j CT --notrack"],
    "selector": ["hostnames.yaml edit app: hostname\n => app: hostnames\n"],
    "external-name": ["my-service.yaml edit databse => database"],
    "subdomain": ["nginx.yaml edit subdomain: web} => subdomain: nginx}"],
    "upstream": ["kind-control-plane: iptables -D FORWARD -p udp -m udp --dport 53 -d 192.168.100.1/32 -j DROP"],
}


@pytest.mark.parametrize("name", LABS)
def test_every_check_holds_and_nothing_drifts(name: str, up: Callable[[str], Lab], engine: Engine) -> None:
    lab = up(name)
    assert unmet(engine, lab) == []
    until(lambda: engine.drift(lab.name).clean, "a lab without drift")


@pytest.mark.not_in_vm(GRADING)
@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_starts_broken_and_is_solved(
    name: str, ident: str, exercises: Callable[[str], Exercises], engine: Engine
) -> None:
    e = exercises(name)
    exercise = e.start(ident).exercise
    broken = ["failed"] * len(exercise.checks)
    # agents follow their manifests in a moment, not at once
    until(lambda: [line.outcome for line in e.check().lines] == broken, "all of its checks to fail, and no other")
    e.solve()
    assert e.running() is None
    context = Context(engine.machine, engine.record(e.name), e.lab.topology)
    results = run_all(e.book.checks([*exercise.checks, *exercise.keeps]), context)
    assert [(r.name, r.detail) for r in results if r.outcome != "passed"] == []


@pytest.mark.not_in_vm(GRADING)
@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_is_mended_by_hand(name: str, ident: str, exercises: Callable[[str], Exercises], engine: Engine) -> None:
    e = exercises(name)
    e.start(ident)
    for step in CURES[ident]:
        place, edit, change = step.partition(" edit ")
        if not edit:
            node, _, command = step.partition(": ")
            subprocess.run(["ip", "netns", "exec", f"{e.name}.{node}", *shlex.split(command)], check=True)
            continue
        before, _, after = change.partition(" => ")
        file = engine.journal(e.name).dir / "manifests" / place
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
    until(lambda: e.check().passed, f"the grade of {ident}")
