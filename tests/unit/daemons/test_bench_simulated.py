"""What `netlab bench cluster --simulated` tells, and what a simulated node says of its pods."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from netlab.cli.main import cli
from netlab.daemons import bench_simulated
from netlab.daemons.bench_simulated import Report
from netlab.daemons.simnodes import Addresses, node_object, pending_status, running_status

USED = {"apiserver": 40.0, "controllers": 10.0, "scheduler": 8.0, "nodes": 12.0}


def report(running: float) -> Report:
    seconds = {"nodes": 9.0, "running": running, "deleted": 41.0}
    rss = {"apiserver": 3e8, "controllers": 1e8, "scheduler": 1e8}
    return Report(1000, 10_000, seconds, dict.fromkeys(seconds, USED), rss, 0, {"load": [0.5, 0.5, 0.5]})


def test_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(*args: Any, **more: Any) -> Report:
        asked.append((args, more["store"]))
        return report(55.0)

    monkeypatch.setattr(bench_simulated, "run", run)
    shown = json.loads(CliRunner().invoke(cli, ["bench", "cluster", "--simulated", "--json"]).stdout)
    assert [t["met"] for t in shown["targets"]] == [True, True] and shown["seconds"]["running"] == 55.0
    printed = CliRunner().invoke(
        cli, ["bench", "cluster", "--simulated", "--nodes", "3", "--pods", "9", "--store", "memory"]
    )
    assert "pods created to Running" in printed.stdout and "apiserver: 300 MB" in printed.stdout
    assert asked == [((1000, 10_000), "sqlite"), ((3, 9), "memory")]
    assert [t.met for t in report(61.0).targets()] == [False, True]


def test_addresses_of_a_node() -> None:
    addresses = Addresses()
    assert [addresses.give(uid, "10.128.7.0/24") for uid in ("a", "b", "a")] == [
        "10.128.7.2",
        "10.128.7.3",
        "10.128.7.2",
    ]
    addresses.take("a")
    addresses.take("never there")
    assert addresses.give("c", "10.128.7.0/24") == "10.128.7.2" and addresses.give("d", "10.128.7.0/24") == "10.128.7.4"


def test_what_a_node_says() -> None:
    stamp = "2026-01-01T00:00:00Z"
    node = node_object("sim-1", "172.16.0.2", stamp)
    assert [c["type"] for c in node["status"]["conditions"] if c["status"] == "True"] == ["Ready"]
    pod = {"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}}
    waits, runs = pending_status(pod, "172.16.0.2", stamp), running_status(pod, "10.128.7.2", stamp)
    assert waits["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert (runs["phase"], runs["podIPs"]) == ("Running", [{"ip": "10.128.7.2"}])
    assert [c["containerID"] for c in runs["containerStatuses"]] == ["simulated://u/a", "simulated://u/b"]
    assert {c["type"]: c["status"] for c in runs["conditions"]}["Ready"] == "True"
