"""exec, shell, logs, impair, capture and graph --live, on a docker0 that is up. They run as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import patience

from netlab.kernel import netns
from netlab.lab.capture import reading
from netlab.lab.engine import Engine
from netlab.lab.labfile import Lab

NETLAB = [sys.executable, "-m", "netlab.cli.main", "lab"]
PATIENCE = patience(30)  # seconds until a verb is given up
needs_tcpdump = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump (apt-get install tcpdump)")


@pytest.fixture(scope="module")
def lab(lab_copy: Callable[[str], Lab]) -> Lab:
    return lab_copy("docker0")


def run(verb: str, lab: Lab, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NETLAB, verb, lab.name, *arguments], input=stdin, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, **env},
    )  # fmt: skip


# -- exec and shell


def test_exec_is_in_the_namespace_and_passes_everything_through(lab: Lab) -> None:
    done = run(
        "exec", lab, "nginx-1", "sh", "-c", "stat -Lc %i /proc/self/ns/net; cat; echo no >&2; exit 7", stdin="hi"
    )
    assert done.stdout == f"{netns.inode(f'{lab.name}.nginx-1')}\nhi"
    assert (done.returncode, done.stderr) == (7, "no\n")


def test_exec_leaves_options_to_the_command_and_says_where_it_is(lab: Lab) -> None:
    assert run("exec", lab, "debug", "--", "printenv", "-0", "NETLAB_NODE").stdout == "debug\0"
    assert run("exec", lab, "nginx-host", "sh", "-c", "ls -d /sys/class/net; ip -br link").stdout.count("docker0") == 1


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nginx-11", "true"], 2, "did you mean 'nginx-1'?"),
        (["node1", "no-such-command"], 3, "no-such-command is not installed"),
        (["node1", "/etc/passwd"], 2, "/etc/passwd: Permission denied"),
    ],
)
def test_exec_that_cannot(lab: Lab, words: list[str], status: int, said: str) -> None:
    done = run("exec", lab, *words)
    assert done.returncode == status and said in done.stderr


def test_a_shell_is_inside_and_its_status_is_ours(lab: Lab) -> None:
    done = run("shell", lab, "nginx-2", stdin="stat -Lc %i /proc/$$/ns/net; exit 5\n", SHELL="/bin/sh")
    assert (done.stdout, done.returncode) == (f"{netns.inode(f'{lab.name}.nginx-2')}\n", 5)


# -- logs


def test_logs_of_one_several_and_none(lab: Lab) -> None:
    assert run("logs", lab, "nginx-1/web").stdout.startswith("nginx-1 listens on 80\n")
    both = run("logs", lab, "debug", "nginx-host").stdout.splitlines()
    assert [line.partition(" | ")[0].strip() for line in both] == ["debug/web", "nginx-host/web"]
    assert run("logs", lab, "nginx-1", "-n", "0").stdout == ""
    assert json.loads(run("logs", lab, "debug", "--json").stdout)["log"] == "debug/web"
    wrong = run("logs", lab, "nginx-4")
    assert wrong.returncode == 2 and "nothing of that name runs" in wrong.stderr


def test_logs_are_followed(lab: Lab, engine: Engine) -> None:
    with running("logs", lab, "nginx-3", "debug", "-f") as process:
        assert process.stdout is not None
        begun = [process.stdout.readline() for _ in range(2)]
        assert begun == ["nginx-3/web | nginx-3 listens on 80\n", "debug/web   | debug listens on 9090\n"]
        log = engine.journal(lab.name).dir / "log" / "debug.web.log"
        for half in ("one li", "ne\nand a half"):
            with log.open("a") as file:
                file.write(half)
        assert process.stdout.readline() == "debug/web   | one line\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130


# -- impair


def qdiscs(lab: Lab, node: str, dev: str) -> str:
    return run("exec", lab, node, "tc", "qdisc", "show", "dev", dev).stdout


@pytest.fixture
def mended(lab: Lab, engine: Engine) -> Iterator[None]:
    yield
    engine.up(lab)


@pytest.mark.usefixtures("mended")
def test_impair_sets_shows_and_clears(lab: Lab, engine: Engine) -> None:
    before = qdiscs(lab, "node1", "eth0")
    done = run("impair", lab, "node1:eth0", "--rate", "8mbit", "--json")
    assert [row["impaired"] for row in json.loads(done.stdout)] == ["8 Mbit/s"]
    assert "tbf 1: root" in qdiscs(lab, "node1", "eth0") and "rate 8Mbit" in qdiscs(lab, "node1", "eth0")
    assert engine.drift(lab.name).clean
    assert engine.record(lab.name).impairments == {"node1:eth0": {"rate": 8_000_000}}
    # by another of its names
    assert "8 Mbit/s" in run("impair", lab, "nginx-host:eth0").stdout
    assert "not impaired" in run("impair", lab, "node1:eth0", "--clear").stdout
    assert qdiscs(lab, "node1", "eth0") == before
    assert engine.drift(lab.name).clean and engine.record(lab.name).impairments == {}


def test_up_goes_back_to_the_file(lab: Lab, engine: Engine) -> None:
    run("impair", lab, "nginx-1:eth0", "--rate", "8mbit")
    engine.up(lab)
    assert "tbf" not in qdiscs(lab, "nginx-1", "eth0") and engine.record(lab.name).impairments == {}


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("earlier", [[], ["--rate", "8mbit"]])
def test_an_impairment_that_the_machine_refuses_changes_nothing(lab: Lab, engine: Engine, earlier: list[str]) -> None:
    if earlier:
        run("impair", lab, "nginx-1:eth0", *earlier)
    before, there = engine.record(lab.name), qdiscs(lab, "nginx-1", "eth0")
    done = run("impair", lab, "nginx-1:eth0", "--delay", "50ms", "--loss", "1%")
    if done.returncode == 0:
        assert "netem" in qdiscs(lab, "nginx-1", "eth0")
        return
    assert done.returncode == 3 and "this kernel has no netem" in done.stderr
    assert engine.record(lab.name) == before and qdiscs(lab, "nginx-1", "eth0") == there
    assert engine.drift(lab.name).clean


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["node1:eth0", "--loss", "300%", "--rate", "fast"], "--loss: '300%' is not between 0% and 100%"),
        (["node1:eth0", "--jitter", "5ms"], "jitter and reorder need a delay"),
        (["node1:eth7", "--clear"], "did you mean 'eth0'?"),
        (["node1:*", "--clear"], "one device at a time"),
        (["node1", "--clear"], "a place is NODE:DEVICE"),
        (["--rate", "1mbit"], "say at which NODE:DEVICE"),
        (["node1:eth0", "--rate", "1mbit", "--clear"], "either --clear or --rate"),
    ],
)
def test_an_impairment_that_makes_no_sense(lab: Lab, words: list[str], said: str) -> None:
    done = run("impair", lab, *words)
    assert done.returncode == 2 and said in done.stderr


# -- capture


class running:
    """A verb in the background; stopped when the body is left, or after PATIENCE, so that no reading of it hangs."""

    def __init__(self, verb: str, lab: Lab, *arguments: str, **env: str) -> None:
        self.command = [*NETLAB, verb, lab.name, *arguments]
        self.env = {**os.environ, **env}

    def __enter__(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            env=self.env,
        )  # fmt: skip
        self.watchdog = threading.Timer(PATIENCE, self.process.kill)
        self.watchdog.start()
        return self.process

    def __exit__(self, *_: object) -> None:
        self.watchdog.cancel()
        with self.process:
            if self.process.poll() is None:
                self.process.kill()


def ping(lab: Lab) -> None:
    done = run("exec", lab, "nginx-1", "ping", "-c", "1", "-W", "5", "172.17.0.3")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_tcpdump
def test_a_ping_is_captured_at_all_places_at_once(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "out.pcapng"
    places = ["nginx-1:eth0", "node1:veth*", "nginx-2:eth0"]
    with running("capture", lab, *places, "-f", "icmp", "-c", "8", "-w", str(file), "--follow") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "listening at 4 places; Ctrl-C ends it\n"
        ping(lab)
        out, err = process.communicate(timeout=PATIENCE)
    way = ["nginx-1:eth0", "node1:vethea91a87", "node1:vethf7399eb", "nginx-2:eth0"]
    assert process.returncode == 0
    assert [line.split()[0::2] for line in err.splitlines()] == [[place, "packets"] for place in way]
    lines, request, reply = out.strip("\n").split("\n\n")
    assert [line.split()[1] for line in lines.splitlines()] == way + way[::-1]
    assert "echo request" in request and "echo reply" in reply
    assert [str(packet.place) for packet in reading.read(file)] == way + way[::-1]


@needs_tcpdump
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_capture_with_a_summary(lab: Lab, how: int) -> None:
    with running("capture", lab, "nginx-1:eth0", "--json", "-f", "icmp") as process:
        assert process.stderr is not None and process.stdout is not None
        process.stderr.readline()
        ping(lab)
        assert json.loads(process.stdout.readline())["fields"]["icmp.type"] == 8
        process.send_signal(how)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and err == "nginx-1:eth0  2 packets\n"


def test_a_capture_of_everything_leaves_out_lo(lab: Lab) -> None:
    done = run("capture", lab, "--for", "0.1", "-q")
    seen = {line.split()[0] for line in done.stderr.splitlines()[1:]}
    assert {"lan:node1-eth0", "node2:docker0", "nginx-3:eth0"} <= seen and done.stdout == ""
    assert not any(place.endswith(":lo") or place.startswith(("debug:", "nginx-host:")) for place in seen)


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["node1:eth7", "nod:eth0"], "no device of node1 matches 'eth7'"),
        (["nginx-1:eth0", "-w", "/no/such/folder/x"], "/no/such/folder/x cannot be written"),
        pytest.param(["nginx-1:eth0", "-f", "icmp or ("], "filter 'icmp or ('", marks=needs_tcpdump),
    ],
)
def test_a_capture_that_cannot_begin(lab: Lab, words: list[str], said: str) -> None:
    done = run("capture", lab, *words)
    assert done.returncode == 2 and said in done.stderr and "listening" not in done.stderr


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_a_full_disk_is_told(lab: Lab) -> None:
    done = run("capture", lab, "nginx-1:eth0", "-w", "/dev/full", "--for", "0.1")
    assert done.returncode == 1 and "No space left on device" in done.stderr


def test_wireshark_gets_the_packets_by_a_pipe(lab: Lab, tmp_path: Path) -> None:
    got, whole = tmp_path / "got", tmp_path / "whole"
    fake = tmp_path / "wireshark"
    fake.write_text(f'#!/bin/sh\n{{ echo "$@"; cat; }} > {got}\nmv {got} {whole}\n')
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert run("capture", lab, "nginx-1:eth0", "--wireshark", "--for", "0.1", PATH=path).returncode == 0
    end = time.monotonic() + PATIENCE
    while not whole.exists():  # it outlives the capture, if only by a moment
        assert time.monotonic() < end
        time.sleep(0.01)
    words, _, packets = whole.read_bytes().partition(b"\n")
    assert words == b"-k -i -" and packets.startswith(b"\x0a\x0d\x0d\x0a")


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_without_wireshark_the_machine_is_told_what_is_missing(lab: Lab) -> None:
    done = run("capture", lab, "nginx-1:eth0", "--wireshark", PATH="/nonexistent")
    assert done.returncode == 3 and "apt-get install wireshark" in done.stderr


# -- graph


def test_a_live_graph_marks_what_is_down(lab: Lab, engine: Engine) -> None:
    run("exec", lab, "node1", "ip", "link", "set", "vethf7399eb", "down")
    marked = [line for line in run("graph", lab, "--live").stdout.splitlines() if "not as it should be" in line]
    assert len(marked) == 1 and "vethf7399eb" in marked[0]
    engine.up(lab)
    assert "not as it should be" not in run("graph", lab, "--live").stdout
