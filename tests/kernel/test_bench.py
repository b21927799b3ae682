"""`netlab bench topology`, small: every contender builds the topology, and nothing stays behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netlab.daemons import bench
from netlab.daemons.bench import Plan
from netlab.kernel import netns
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.measure import measured
from netlab.model import HostState, Item, Link, Veth

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("measures, against limits of time: of an emulator they say nothing"),
]

PHASE = {"wall", "cpu", "rss"}


def left(pid: int) -> list[str]:
    """Namespaces, labs and folders that a benchmark in that process has made and not removed."""
    mine = [name for name in netns.names() if name.startswith("bench-") and f"-{pid}." in name]
    labs = [str(p) for p in Path("/run/netlab").glob(f"bench-*-{pid}")]
    return mine + labs


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    assert not list(tmp_path.glob("netlab-bench-*"))


def test_three_hosts() -> None:
    own = Path("/proc/self/ns/net").stat().st_ino
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    command = bench.netlab_command("bench", "topology", "--hosts", "3", "--repeat", "1", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        stdout = process.communicate()[0]
    assert process.returncode == 0, stdout
    report = json.loads(stdout)
    assert set(report) == {"repeat", "machine", "help", "sizes", "targets"}
    (size,) = report["sizes"]
    assert set(size) == {"hosts", "switches", "contenders", "absent", "ratios", "growth"}
    assert (size["hosts"], size["switches"], size["growth"]) == (3, 1, 1.0)
    netlab, ip, mininet = (size["contenders"][name] for name in ("netlab", "ip", "mininet"))
    assert {phase: set(figures) for phase, figures in netlab.items()} == {
        **dict.fromkeys(("up", "again", "down"), PHASE),
        "network": {"wall"},
        "freed": {"wall"},
    }
    assert {phase: set(figures) for phase, figures in ip.items()} == {"up": PHASE, "down": PHASE, "freed": {"wall"}}
    if mininet is None:
        assert size["absent"]["mininet"]
    else:
        assert set(mininet) == {"up", "down", "freed", "whole", "completed"}
    for phase in ("up", "again", "down"):
        for figures in netlab[phase].values():
            assert set(figures) == {"median", "min", "max", "samples"}
            assert figures["median"] > 0
    assert ip["up"]["rss"]["median"] < 10e6 < netlab["up"]["rss"]["median"]  # not the benchmark's own memory
    assert left(process.pid) == []
    assert subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout == links
    assert Path("/proc/self/ns/net").stat().st_ino == own


def test_contenders_build_the_same(tmp_path: Path) -> None:
    seen = {}
    for kind in (bench.Netlab, bench.IpBatch):
        plan = Plan(f"bench-{kind.name}-{os.getpid()}", 3)
        folder = tmp_path / kind.name
        folder.mkdir()
        rival = kind(plan, folder)
        try:
            up = (
                bench.netlab_command("lab", "up", str(folder))
                if kind is bench.Netlab
                else ["sh", str(folder / "up.sh")]
            )
            assert measured(up, env={"XDG_CACHE_HOME": str(tmp_path)}).returncode == 0
            states = LinuxBackend().read({ns: HostState() for ns in plan.namespaces}, everything=True)
            seen[kind.name] = {ns.split(".")[1]: [without_names(i) for i in state] for ns, state in states.items()}
        finally:
            rival.remove()
    assert seen["netlab"] == seen["ip"]
    assert left(os.getpid()) == []


def without_names(item: Item) -> Item:
    """An item without its MAC, which `ip` leaves to chance, and without the name of the bench in its peer."""
    if not isinstance(item, Link):
        return item
    kind = item.kind
    if isinstance(kind, Veth):
        kind = Veth(kind.peer, kind.peer_netns.partition(".")[2])
    return replace(item, mac=None, kind=kind)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(number: int) -> None:
    command = bench.netlab_command("bench", "topology", "--hosts", "40", "--repeat", "50", "--no-mininet")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 20
        while len(left(process.pid)) < 10 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert left(process.pid)
        process.send_signal(number)
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 130, said
    assert left(process.pid) == []


def test_memory_is_the_commands_own() -> None:
    ballast = bytearray(64 << 20)
    small = measured(["true"])
    large = measured([sys.executable, "-I", "-S", "-c", "x = bytearray(48 << 20)"])
    assert len(ballast) > 48 << 20 < large.rss < 64 << 20
    assert small.rss < 8 << 20


def test_what_is_printed_and_returned() -> None:
    result = measured(["sh", "-c", "echo one; echo two >&2; exit 3"], mark="two")
    assert (result.returncode, result.output) == (3, "one\ntwo\n")
    assert result.marked is not None and result.marked <= result.wall
    assert measured(["sh", "-c", "exit 0"], mark="never").marked is None


def test_rules_in_two_modes(tmp_path: Path) -> None:
    picture = tmp_path / "rules.svg"
    drawn = ["--plot", str(picture)] if importlib.util.find_spec("matplotlib") else []
    modes = ["--mode", "iptables-legacy", "--mode", "nftables-direct"]
    sizes = ["--services", "10", "--policies", "1", "--repeat", "1"]
    command = bench.netlab_command("bench", "rules", *sizes, *modes, "--json", *drawn)
    # as on a machine that has not had a namespace yet, such as a VM
    bare = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs run /run && exec "$0" "$@"']
    done = measured([*bare, *command])
    assert done.returncode == 0, done.output
    report = json.loads(done.output)
    assert [row["mode"] for row in report["services"]] == ["iptables-legacy", "nftables-direct"]
    for row in report["services"]:
        assert all(row[name] > 0 for name in ("apply", "one", "rate", "rate_floor", "first", "first_floor", "tail")), (
            row
        )
    assert not drawn or picture.read_text().startswith("<?xml")
    assert not left(os.getpid())
