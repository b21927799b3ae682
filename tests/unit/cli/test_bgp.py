"""`netlab bgp` and `netlab bgpd`: finding the daemon, asking it, printing; without any namespace."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netlab.bgp import nlri
from netlab.bgp.attributes import Attrs, Segment
from netlab.bgp.codes import AS_SEQUENCE
from netlab.bgp.config import loads
from netlab.bgp.nlri import Family
from netlab.bgp.speaker import Speaker
from netlab.cli import bgp as verbs
from netlab.cli.main import cli
from netlab.daemons.bgpcontrol import Control, exposition

CONFIG = """
router: {as: 65001, id: 10.0.0.1, name: r1, listen: [], kernel: {install: false}}
networks: [{prefix: 192.0.2.0/24, communities: ["65001:7"]}]
peers:
  - {name: near, address: 127.0.0.2, as: 65002, passive: true, import: all, export: all}
  - {name: far, address: "::2", as: 65003, passive: true, import: all, export: all, shutdown: tests}
"""


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    """A speaker that has learnt one prefix from two peers, in a thread of its own."""
    path, ready, loop = tmp_path / "r1.sock", threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        speaker = Speaker(loads(CONFIG))
        await speaker.start()
        for name, path_ in (("near", (65002, 9)), ("far", (65003,))):
            peer = speaker.peers[name]
            attrs = Attrs().with_(as_path=(Segment(AS_SEQUENCE, path_),), next_hop=IPv4Address("10.0.0.9"))
            speaker._learn(peer, Family.IPV4, attrs, [nlri.parse(bytes.fromhex("18c63364"), 32)[0]])

        async def reload() -> dict[str, object]:
            return {"reloaded": "r1.yaml", "peers": 2}

        control = Control(speaker, reload, lambda _: ended.set())
        await control.start(path)
        assert "netlab_bgp_peer_up" in "".join(exposition(speaker))
        ready.set()
        await ended.wait()
        await control.stop()
        await speaker.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield path
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)
    loop.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="netlab")


def test_summary(socket: Path) -> None:
    result = run("bgp", "summary", "--socket", str(socket))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "r1: AS 65001, router id 10.0.0.1"
    assert lines[1] == "routes: 2 ipv4, 0 ipv6; in the kernel: 0"
    assert "Active" in lines[3] and "Idle (shut down)" in lines[4]


def test_rib_marks_the_best(socket: Path) -> None:
    lines = run("bgp", "rib", "--socket", str(socket)).stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        [">", "192.0.2.0/24", "i", "65001:7", "local"],
        [">", "198.51.100.0/24", "10.0.0.9", "65003", "i", "far"],
        ["10.0.0.9", "65002", "9", "i", "near"],
    ]
    assert len(json.loads(run("bgp", "rib", "198.51.0.0/16", "--json", "--socket", str(socket)).stdout)) == 1


def test_explain(socket: Path) -> None:
    text = run("bgp", "explain", "198.51.100.7", "--socket", str(socket)).stdout
    assert "198.51.100.0/24: 2 paths, the best from far" in text
    assert "  shortest AS path\n    ✗ near: 2\n    ✓ far: 1\n" in text
    missing = run("bgp", "explain", "10.0.0.0/8", "--socket", str(socket))
    assert missing.exit_code == 2 and "there is no route to 10.0.0.0/8" in missing.stderr


@pytest.mark.parametrize("verb", ["neighbors", "routes", "refresh", "reset", "reload"])
def test_the_others_answer_as_text_and_json(socket: Path, verb: str) -> None:
    assert run("bgp", verb, "--socket", str(socket)).exit_code == 0
    json.loads(run("bgp", verb, "--socket", str(socket), "--json").stdout)


def test_what_is_wrong_is_said(socket: Path) -> None:
    result = run("bgp", "neighbors", "nobody", "--socket", str(socket))
    assert result.exit_code == 2 and "there are: near, far" in result.stderr
    assert run("bgp", "explain", "nonsense", "--socket", str(socket)).exit_code == 2
    assert run("bgp", "summary", "--socket", "/nowhere.sock").exit_code == 3


def test_finding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "RUN", tmp_path)
    assert "no bgpd runs in" in run("bgp", "summary").stderr
    assert verbs.find(None, "lab", "r1") == tmp_path / "lab" / "bgp" / "r1.sock"
    (tmp_path / "bgp").mkdir()
    (tmp_path / "bgp" / "a.sock").touch()
    assert verbs.find(None, None, None) == tmp_path / "bgp" / "a.sock"
    (tmp_path / "bgp" / "b.sock").touch()
    assert "there are 2 bgpd" in run("bgp", "summary").stderr
    assert "--node needs --lab" in run("bgp", "summary", "--node", "r1").stderr


def test_check_tells_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    assert run("bgpd", "--check", "--config", str(file)).stdout == f"{file}: AS 65001, 2 peers, 1 networks\n"
    file.write_text(CONFIG.replace("as: 65002", "as: x").replace("export: all,", "export: al,"))
    result = run("bgpd", "--check", "--config", str(file))
    assert result.exit_code == 2
    assert "'x' is not an AS number" in result.stderr


@pytest.mark.parametrize("verb", ["summary", "neighbors", "rib", "routes", "explain", "refresh", "reset", "reload"])
def test_every_verb_has_examples(verb: str) -> None:
    assert "Examples:" in run("bgp", verb, "--help").stdout
