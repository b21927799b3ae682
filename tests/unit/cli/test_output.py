"""What verbs print: for a pipe, for a terminal, as JSON."""

from __future__ import annotations

import enum
import io
import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple

import pytest

from netlab.cli import output

ESCAPE = "\x1b"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Both streams of `output` are this terminal, 80 columns wide and with colours."""
    stream = Terminal()
    # Not sys.stdout itself: pytest puts its own there between a fixture and its test.
    monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=stream, stderr=stream))
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return stream


ROWS = [
    (output.Styled("ok", "green"), "veth", 1),
    (output.Styled("missing", "red"), "a [red] name\nin two lines", None),
]


def test_a_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("status", "name", "n"), ROWS)
    assert capsys.readouterr().out == (
        "status   name                       n\n"
        "ok       veth                       1\n"
        "missing  a [red] name in two lines\n"
    )


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("a", "b"), [], title="none")
    assert capsys.readouterr().out == "none\na  b\n"


def test_a_table_on_a_terminal_has_colour_and_takes_no_markup(terminal: Terminal) -> None:
    output.table(("status", "name", "n"), ROWS)
    assert f"{ESCAPE}[32mok" in terminal.getvalue()
    assert "a [red] name" in terminal.getvalue()


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    assert output.style("x", "red") == f"{ESCAPE}[31mx{ESCAPE}[0m"
    monkeypatch.setenv(variable, value)
    output.table(("status", "name", "n"), ROWS)
    assert output.style("x", "red") == "x"
    assert f"{ESCAPE}[3" not in terminal.getvalue()


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Thing:
    address: IPv4Address
    path: Path


def test_json_takes_what_verbs_have(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_json(
        {
            "thing": Thing(IPv4Address("172.17.0.2"), Path("/run/netlab")),
            "network": IPv6Network("fd00::/64"),
            "set": frozenset({"b", "a"}),
            "pair": Pair(1, 2),
            "enum": Colour.RED,
            "view": MappingProxyType({"k": b"\x02"}),
            7: None,
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "thing": {"address": "172.17.0.2", "path": "/run/netlab"},
        "network": "fd00::/64",
        "set": ["a", "b"],
        "pair": {"left": 1, "right": 2},
        "enum": "red",
        "view": {"k": "02"},
        "7": None,
    }


def test_json_refuses_what_has_no_plain_form() -> None:
    with pytest.raises(TypeError):
        output.emit_json(object())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_shows_what_takes_long_and_cleans_up(terminal: Terminal) -> None:
    clock = Clock()
    with output.progress("nodes", 10, clock=clock) as bar:
        bar.advance()
        assert terminal.getvalue() == ""
        clock.now = output.PROGRESS_DELAY
        bar.advance(2, description="links")
        assert "links" in terminal.getvalue()
        drawn = len(terminal.getvalue())
        clock.now += output.PROGRESS_INTERVAL / 2
        bar.advance()
        assert len(terminal.getvalue()) == drawn
    assert bar.done == 4


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with output.progress("nodes", 2, clock=clock) as bar:
        clock.now = 10.0
        bar.advance(2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
