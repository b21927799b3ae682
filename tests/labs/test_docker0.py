"""docker0 through the front door: the commands a person types, as processes, and the machine as it was afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patience

ROOT = Path(__file__).parents[2]
NAME = f"door{os.getpid()}"


def netlab(*words: str, status: int = 0, stdin: str | None = None, cwd: Path | None = None) -> str:
    """Run the command; its output. The exit status must be the one expected."""
    argv = [sys.executable, "-m", "netlab.cli.main", *words]
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, check=False, cwd=cwd, timeout=patience(120)
    )
    assert done.returncode == status, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    assert "\x1b" not in done.stdout + done.stderr, "colour in a pipe"
    return done.stdout + done.stderr


def snapshot() -> list[str]:
    """The machine's own network, line by line, and of all namespaces our own: others may test labs at the same time."""
    done = subprocess.run([ROOT / "scripts/lib/machine-snapshot"], capture_output=True, text=True, check=True)
    lines, section = [], ""
    for line in done.stdout.splitlines():
        section = line if line.startswith("== ") else section
        if section != "== ip netns list" or line == section or line.startswith(NAME):
            lines.append(line)
    return lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """docker0 under a name of its own, up for the module; afterwards the machine must be as it was."""
    folder = tmp_path_factory.mktemp("lab")
    text = (ROOT / "labs/docker0/lab.yaml").read_text()
    (folder / "lab.yaml").write_text(re.sub(r"(?m)^name: .*$", f"name: {NAME}", text, count=1))
    netlab("doctor", "--json")  # what a kernel loads at first use is loaded now
    before = snapshot()
    try:
        said = netlab("lab", "up", str(folder))
        assert f"up  {NAME}: 7 namespaces, 6 processes" in said
        yield folder
    finally:
        netlab("lab", "down", NAME)
    assert snapshot() == before
    assert not Path(f"/run/netlab/{NAME}").exists()


def test_all_checks_pass(folder: Path) -> None:
    results = json.loads(netlab("lab", "check", str(folder), "--json"))
    assert {r["outcome"] for r in results} == {"passed"}
    assert len(results) >= 25
    assert re.search(r"(?m)^\d+ passed$", netlab("lab", "check", str(folder), "-k", "route"))


def test_nothing_to_do_the_second_time(folder: Path) -> None:
    assert "nothing to do" in netlab("lab", "up", str(folder))
    assert json.loads(netlab("lab", "up", str(folder), "--json"))["operations"] == 0
    assert json.loads(netlab("lab", "up", str(folder), "--dry-run", "--json")) == []


def test_a_link_deleted_by_hand_comes_back(folder: Path) -> None:
    netlab("lab", "exec", NAME, "node1", "ip", "link", "del", "vethea91a87")
    said = netlab("lab", "drift", NAME, status=1)
    assert "ip -n" in said
    assert "vethea91a87" in said
    assert [
        r["outcome"] for r in json.loads(netlab("lab", "check", str(folder), "-k", "nginx-1 pings", "--json", status=1))
    ] == ["failed"]
    assert "repaired" in netlab("lab", "up", str(folder))
    assert "clean" in netlab("lab", "drift", NAME)
    netlab("lab", "check", str(folder), "-k", "nginx-1 pings")


def test_a_namespace_deleted_by_hand_comes_back(folder: Path) -> None:
    subprocess.run(["ip", "netns", "del", f"{NAME}.outside"], check=True)
    netlab("lab", "up", str(folder))
    netlab("lab", "check", str(folder), "-k", "outside")


def test_what_a_person_adds_is_shown_and_left_alone(folder: Path) -> None:
    netlab("lab", "exec", NAME, "nginx-1", "ip", "addr", "add", "172.17.0.99/16", "dev", "eth0")
    found = json.loads(netlab("lab", "drift", NAME, "--json", status=1))
    assert found["strangers"] == {f"{NAME}.nginx-1": ["address 172.17.0.99/16 dev eth0"]}
    assert "nothing to do" in netlab("lab", "up", str(folder))
    netlab("lab", "exec", NAME, "nginx-1", "ip", "addr", "del", "172.17.0.99/16", "dev", "eth0")
    assert json.loads(netlab("lab", "drift", NAME, "--json"))["clean"]


def test_exec_passes_status_and_streams(folder: Path) -> None:
    netlab("lab", "exec", NAME, "nginx-1", "sh", "-c", "exit 7", status=7)
    assert netlab("lab", "exec", NAME, "nginx-1", "cat", stdin="hello") == "hello"
    assert "172.17.0.2" in netlab("lab", "exec", NAME, "nginx-1", "ip", "-4", "addr")
    assert "no node or container 'nginx-9'" in netlab("lab", "exec", NAME, "nginx-9", "true", status=2)


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_status_show_list(folder: Path) -> None:
    status = json.loads(netlab("lab", "status", NAME, "--json"))
    assert status["clean"]
    assert {p["state"] for p in status["processes"].values()} == {"running"}
    assert all(status["namespaces"].values())
    assert NAME in netlab("lab", "list")
    assert "vethea91a87" in netlab("lab", "show", str(folder), "--json")
    assert "nginx-host" in netlab("lab", "show", str(folder))


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_explain_answers_why(folder: Path) -> None:
    said = netlab("lab", "explain", str(folder), "node1", "MASQUERADE")
    assert "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE" in said
    assert "lab.yaml:20 (node1 bridge docker0): masquerade what leaves docker0" in said
    netlab("lab", "explain", str(folder), "node1", "no-such-text", status=2)


def test_logs(folder: Path) -> None:
    netlab("lab", "check", str(folder), "-k", "reads the page")
    assert "GET / HTTP/1.1" in netlab("lab", "logs", NAME, "nginx-1")


def test_two_labs_side_by_side(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (folder / "lab.yaml").read_text()
    (other / "lab.yaml").write_text(text.replace(f"name: {NAME}\n", f"name: {NAME}b\n", 1))
    try:
        netlab("lab", "up", str(other))
        for lab in (folder, other):
            netlab("lab", "check", str(lab))
    finally:
        netlab("lab", "down", f"{NAME}b")
    netlab("lab", "check", str(folder), "-k", "ping")


def test_a_process_that_is_still_inside_is_stopped(tmp_path: Path) -> None:
    name = f"{NAME}c"
    (tmp_path / "lab.yaml").write_text(f"name: {name}\nnodes: {{a: {{}}}}\n")
    netlab("lab", "up", str(tmp_path))
    with subprocess.Popen(["ip", "netns", "exec", f"{name}.a", "sleep", "600"]) as sleeper:
        entered = Path(f"/proc/{sleeper.pid}/ns/net")
        wanted = Path(f"/run/netns/{name}.a").stat().st_ino
        while entered.stat().st_ino != wanted:
            assert sleeper.poll() is None
        said = netlab("lab", "down", name)
        assert f"stopped process {sleeper.pid}, which was still inside" in said
        assert sleeper.wait(5) != 0


def test_a_killed_server_is_started_again(folder: Path) -> None:
    before = json.loads(netlab("lab", "status", NAME, "--json"))["processes"]["nginx-1/web"]
    os.kill(before["pid"], 9)
    netlab("lab", "check", str(folder), "-k", "reads the page of nginx-1")
    after = json.loads(netlab("lab", "status", NAME, "--json"))["processes"]["nginx-1/web"]
    assert after["pid"] != before["pid"]
    assert after["state"] == "running"


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_mistakes(folder: Path, tmp_path: Path) -> None:
    assert "did you mean 'docker0'" in netlab("lab", "up", "dcoker0", status=2)
    assert "Did you mean 'status'" in netlab("lab", "statsu", status=2)
    assert "is not up" in netlab("lab", "status", "nolab", status=2)
    changed = tmp_path / "lab.yaml"
    changed.write_text((folder / "lab.yaml").read_text() + "# another\n")
    said = netlab("lab", "up", str(changed), status=2)
    assert "is up under another definition" in said
    assert "netlab lab restart" in said
    error = json.loads(netlab("lab", "up", str(changed), "--json", status=2))
    assert error["exit_status"] == 2


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_an_unprivileged_user_is_told(tmp_path: Path) -> None:
    code = "import os, sys; os.setuid(65534); sys.argv[1:] = ['lab', 'up', 'docker0']; from netlab.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 3, done.stderr
    assert "sudo" in done.stderr


@pytest.mark.not_in_vm("what a person is told: the kernel has no part in it, and Python is slow in an emulator")
def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    """docker0 needs iptables: without any, exit status 3 and the command that brings it - and nothing is made."""
    name = f"{NAME}d"
    text = (ROOT / "labs/docker0/lab.yaml").read_text()
    (tmp_path / "lab.yaml").write_text(re.sub(r"(?m)^name: .*$", f"name: {name}", text, count=1))
    argv = [sys.executable, "-m", "netlab.cli.main", "lab", "up", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 3, done.stderr
    assert "iptables" in done.stderr
    assert "apt-get install" in done.stderr
    assert not Path(f"/run/netlab/{name}").exists()
