"""`netlab bench store`: a small turn of every kind, and what is made of the figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from netlab.cli.main import cli
from netlab.daemons import bench_store
from netlab.daemons.bench import Figure
from netlab.daemons.bench_store import Report


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_a_small_turn(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KEYS": 80, "GETS": 80, "WATCHERS": 10, "RATE": 1000, "SECONDS": 0.02}.items():
        monkeypatch.setattr(bench_store, name, value)
    report = bench_store.run(1, [kind], folder=tmp_path)
    assert set(report.figures[kind]) == set(bench_store.PHASES)
    assert list(tmp_path.iterdir()) == []


def test_figures_ratios_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(factor: float) -> dict[str, Figure]:
        base = {"creates": 4000, "cpu": 0.04, "gets": 5e5, "list": 0.001, "p50": 0.01, "p99": 0.3}
        return {phase: Figure((value * factor, value * factor)) for phase, value in base.items()}

    report = Report(2, {"sqlite": figures(1), "memory": figures(2)}, {"etcd": "etcd is not installed"}, {"cpus": 2})
    assert [t.met for t in report.targets()] == [True, True, False]
    assert report.ratio("memory", "creates") == 2
    monkeypatch.setattr(bench_store, "run", lambda *_, **__: report)
    shown = json.loads(CliRunner().invoke(cli, ["bench", "store", "--json"]).stdout)
    assert shown["ratios_to_sqlite"]["memory"]["p99"] == 2
    assert shown["stores"]["sqlite"]["creates"]["median"] == 4000
    printed = CliRunner().invoke(cli, ["bench", "store"]).stdout
    assert "etcd is not installed" in printed and "missed" in printed and "2.00" in printed


def test_nothing_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    result = CliRunner().invoke(cli, ["bench", "store", "--only", "etcd"])
    assert result.exit_code == 3 and "apt-get install etcd-server" in result.output
