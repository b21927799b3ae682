"""`netlab doctor`, over features that are made up."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from netlab.cli.main import cli
from netlab.kernel import probe
from netlab.kernel.probe import Feature

VETH = Feature("veth", True, True, "ip link add")
NETEM = Feature("netem", False, False, "Specified qdisc kind is unknown.", "modprobe sch_netem")
ROOT = Feature("root", False, True, "not root", "run it with sudo")


def doctor(monkeypatch: pytest.MonkeyPatch, features: tuple[Feature, ...], *arguments: str) -> Result:
    monkeypatch.setattr(probe, "survey", lambda: features)
    return CliRunner().invoke(cli, ["doctor", *arguments], prog_name="netlab")


def test_what_is_optional_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = doctor(monkeypatch, (VETH, NETEM))
    assert result.exit_code == 0
    assert result.stdout == (
        "status   feature  detail                            what brings it\n"
        "ok       veth     ip link add\n"
        "missing  netem    Specified qdisc kind is unknown.  modprobe sch_netem\n"
    )


def test_what_is_required_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    result = doctor(monkeypatch, (ROOT, VETH, NETEM))
    assert result.exit_code == 3
    assert result.stdout.splitlines()[1].split() == ["required", "root", "not", "root", "run", "it", "with", "sudo"]
    assert result.stderr == "required, and missing: root\n"


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = doctor(monkeypatch, (ROOT, VETH, NETEM), "--json")
    assert (result.exit_code, result.stderr) == (3, "")
    shown = json.loads(result.stdout)
    assert shown["ok"] is False
    assert [f["status"] for f in shown["features"]] == ["required", "ok", "missing"]
    assert shown["features"][2] == {
        "name": "netem",
        "status": "missing",
        "required": False,
        "detail": "Specified qdisc kind is unknown.",
        "hint": "modprobe sch_netem",
    }
