"""`netlab bench api`: a small turn against a real server process, and what is made of the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from netlab.cli.main import cli
from netlab.daemons import bench_api
from netlab.daemons.bench import Figure
from netlab.daemons.bench_api import Report


def test_a_small_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"PODS": 16, "GETS": 16, "WATCHERS": 10, "RATE": 100, "SECONDS": 0.1, "SPREAD": 4}
    for name, value in small.items():
        monkeypatch.setattr(bench_api, name, value)
    report = bench_api.run(1, ["memory"], folder=tmp_path)
    assert set(report.figures["memory"]) == set(bench_api.PHASES)
    assert all(f.median > 0 for p, f in report.figures["memory"].items() if not p.endswith("cpu"))
    assert list(tmp_path.iterdir()) == []


def test_figures_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"ready": 1.0, "creates": 900.0, "create_cpu": 0.001, "gets": 2000.0, "get_cpu": 0.0001, "list": 0.5,
              "spread": 0.1, "all": 2.0, "rss": 2e8}  # fmt: skip
    report = Report(1, {"sqlite": {p: Figure((v,)) for p, v in values.items()}}, {"etcd": "etcd is not installed"}, {})
    assert [t.met for t in report.targets()] == [True, True, False, True, False, True]
    monkeypatch.setattr(bench_api, "run", lambda *_, **__: report)
    shown = json.loads(CliRunner().invoke(cli, ["bench", "api", "--json"]).stdout)
    assert shown["stores"]["sqlite"]["creates"]["median"] == 900
    printed = CliRunner().invoke(cli, ["bench", "api"]).stdout
    assert "etcd is not installed" in printed
    assert "missed" in printed
