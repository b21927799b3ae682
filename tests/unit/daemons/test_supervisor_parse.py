"""processes.json as the supervisor understands it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netlab.daemons.supervisor import Process, parse


def text(*processes: Any) -> str:
    return json.dumps({"processes": processes})


def test_defaults() -> None:
    assert parse(text({"name": "a/web", "argv": ["x"]})) == {
        "a/web": {
            "name": "a/web",
            "argv": ["x"],
            "netns": None,
            "inside": None,
            "cgroup": None,
            "init": False,
            "unplug": None,
            "listen": [],
            "call": None,
            "restart": "always",
            "env": {},
            "cwd": "/",
            "notify": False,
        }
    }


@pytest.mark.parametrize(
    "processes",
    [
        [{"argv": ["x"]}],
        [{"name": "a", "argv": []}],
        [{"name": "a", "argv": "x"}],
        [{"name": "a", "argv": ["x"], "restart": "sometimes"}],
        [{"name": "a", "argv": ["x"]}, {"name": "a", "argv": ["y"]}],
        [{"name": "a", "argv": ["x"], "call": "module"}],
        [{"name": "a", "argv": ["x"], "inside": "b"}],
        [{"name": "a", "argv": ["x"], "inside": "a"}],
    ],
)
def test_what_is_refused(processes: list[Any]) -> None:
    with pytest.raises(ValueError):
        parse(text(*processes))


@pytest.mark.parametrize(
    ("restart", "status", "state"),
    [
        ("always", 0, "backoff"),
        ("always", -9, "backoff"),
        ("on-failure", 0, "exited"),
        ("on-failure", 3, "backoff"),
        ("never", 3, "exited"),
    ],
)
def test_what_follows_an_end(restart: str, status: int, state: str) -> None:
    process = Process("a", parse(text({"name": "a", "argv": ["x"], "restart": restart}))["a"])
    process.due = None
    process.ended(status, stopping=False)
    assert (process.state, process.last_exit) == (state, status)
    assert (process.due is not None) == (state == "backoff")


def test_the_delay_doubles_up_to_ten_seconds_and_is_forgotten_after_a_healthy_life() -> None:
    process = Process("a", parse(text({"name": "a", "argv": ["x"]}))["a"])
    delays = []
    for _ in range(9):
        process.started = float("inf")  # has not lived at all
        delays.append(process.delay)
        process.ended(1, stopping=False)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    process.started = float("-inf")
    process.ended(1, stopping=False)
    assert process.reason == "restart in 0.1 s"
