"""`netlab bench topology`: what is built, what is made of the figures, how it is printed. Nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netlab.cli.main import cli
from netlab.daemons import bench
from netlab.daemons.bench import Figure, Plan, Report, Size
from netlab.lab.labfile import Lab
from netlab.model import Address, HostState, Link, Route


def figure(wall: float, *more: float) -> dict[str, Figure]:
    return {"wall": Figure((wall, *more)), "cpu": Figure((wall / 2,)), "rss": Figure((30e6,))}


def size(hosts: int, up: float) -> Size:
    netlab = {"up": figure(up, up * 2, up / 2), "again": figure(0.2), "down": figure(0.1)}
    netlab["network"] = {"wall": Figure((up / 2.5,))}
    ip = {"up": figure(0.2), "down": figure(0.01), "freed": {"wall": Figure((0.1,))}}
    return Size(hosts, {"netlab": netlab, "ip": ip}, {"mininet": "mn is not installed"})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    asked: list[tuple[object, ...]] = []

    def fake(sizes: Sequence[int], repeat: int, *, mininet: bool, tell: Callable[[str, int], None]) -> Report:
        asked.append((sizes, repeat, mininet))
        tell("100 hosts: netlab", 1)
        found = tuple(size(n, 0.25 if n == 100 else 2.0) for n in sizes)
        return Report(repeat, Figure((0.1, 0.12, 0.11)), found, {"cpus": 2})

    monkeypatch.setattr(bench, "run", fake)

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["bench", "topology", *arguments], prog_name="netlab")
        result.asked = asked  # type: ignore[attr-defined]
        return result

    return call


def test_json_has_everything(run: Callable[..., Result]) -> None:
    result = run("--hosts", "100", "--hosts", "1000", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.asked == [((100, 1000), 5, True)]  # type: ignore[attr-defined]
    shown = json.loads(result.stdout)
    assert shown["help"] == {"median": 0.11, "min": 0.1, "max": 0.12, "samples": [0.1, 0.12, 0.11]}
    first, second = shown["sizes"]
    assert first["contenders"]["mininet"] is None
    assert first["absent"] == {"mininet": "mn is not installed"}
    assert first["contenders"]["netlab"]["up"]["wall"]["median"] == 0.25
    assert first["ratios"] == {"up_to_ip": 1.25, "network_to_ip": 0.5, "again_to_ip": 1.0, "down_to_ip": 10.0}
    assert (first["growth"], second["growth"]) == (1.0, 8.0)
    assert {t["what"]: t["met"] for t in shown["targets"]} == {
        "netlab --help (s)": True,
        "100 hosts: down / up": True,
        "100 hosts: up, from the value / ip -batch": True,
        "100 hosts: up, the whole command / ip -batch": True,
        "100 hosts: second up (s)": True,
        "1000 hosts: down / up": True,
        "1000 / 100 hosts: up": True,
    }


def test_a_pipe_gets_plain_tables(run: Callable[..., Result]) -> None:
    result = run("--repeat", "3", "--no-mininet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.asked == [((100,), 3, False)]  # type: ignore[attr-defined]
    assert result.stdout.splitlines()[0] == "100 hosts, median of 3"
    assert "netlab     up, the whole command          0.250  0.125..0.500  0.125  30       1.25" in result.stdout
    assert "Mininet: mn is not installed" in result.stdout


def test_a_missed_target_is_no_failure(run: Callable[..., Result]) -> None:
    missed = Report(1, Figure((0.3,)), (size(100, 9.0),))
    assert [t.what for t in missed.targets() if not t.met] == [
        "netlab --help (s)",
        "100 hosts: up, from the value / ip -batch",
        "100 hosts: up, the whole command / ip -batch",
    ]


def test_sizes_are_checked(run: Callable[..., Result]) -> None:
    assert run("--hosts", "0").exit_code == 2


@pytest.mark.parametrize(("hosts", "switches"), [(1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_a_bridge_takes_a_thousand(hosts: int, switches: int) -> None:
    plan = Plan("b", hosts)
    assert plan.switches == switches
    assert sum(len(plan.members(s)) for s in range(1, switches + 1)) == hosts
    assert len(set(plan.namespaces)) == hosts + switches


def test_the_lab_and_the_batches_are_one_topology(tmp_path: Path) -> None:
    plan = Plan("b", 1002)
    (tmp_path / "lab.yaml").write_text(bench.lab_file(plan))
    states = Lab(tmp_path / "lab.yaml").states
    files = bench.batches(plan)
    assert sorted(states) == sorted(plan.namespaces)
    for ns, state in states.items():
        assert files[ns.removeprefix("b.")] == in_words(state)
    assert files["up"].splitlines()[0] == "netns add b.s1"
    assert len(files["down"].splitlines()) == 1004
    assert files["up.sh"].splitlines()[-1] == "ip -n b.h1002 -batch h1002"


def in_words(state: HostState) -> str:
    """The batch that a state of this topology amounts to, with what the other end of a cable makes left out."""
    lines = ["link set lo up"]
    ports = sorted((link for link in state.all(Link) if link.master), key=lambda p: int(p.name[1:].split("-")[0]))
    lines += [f"link add {b.name} up type bridge" for b in state.all(Link) if b.kind.NAME == "bridge"]
    for port in ports:
        assert port.up and port.kind.NAME == "veth"
        lines.append(
            f"link add {port.name} up master {port.master} type veth peer name {port.kind.peer}"  # type: ignore[union-attr]
            f" netns {port.kind.peer_netns}"  # type: ignore[union-attr]
        )
    lines += [f"addr add {a.address} brd + dev {a.dev}" for a in state.all(Address)]
    lines += ["link set eth0 up"] if state.link("eth0") else []
    lines += [f"route add default via {r.via}" for r in state.all(Route)]
    return "".join(f"{line}\n" for line in lines)


def test_mininet_runs_confined_and_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    command = bench.Mininet(Plan("", 7)).argv
    assert command[:7] == ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    assert "single,7" in command
    monkeypatch.setattr(bench.shutil, "which", lambda tool: None)
    assert bench.mininet_absent(7) == "mn is not installed (apt-get install mininet bridge-utils)"
    monkeypatch.setattr(bench.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    assert bench.mininet_absent(7) is None
    assert "a bridge takes 1000 hosts" in (bench.mininet_absent(1001) or "")
    assert bench.turns((100, 1001), 5) == 25
