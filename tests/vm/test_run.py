"""`netlab vm run` itself. Each boot takes seconds under KVM and a quarter of a minute without: the tests are few."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab.kernel import processes
from netlab.vm import kernels, run, survey

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a VM over all of this machine's files needs root"),
    pytest.mark.not_in_vm("a VM in a VM: emulated twice, it would not boot in time"),
    pytest.mark.skipif(
        any(f.status == "required" for f in survey.survey()), reason="`netlab vm doctor` says what is missing"
    ),
]
NETLAB = (str(Path(sys.executable).with_name("netlab")), "vm", "run", "--cpus", "1", "--memory", "1G")


@pytest.fixture
def start() -> Iterator[object]:
    started: list[subprocess.Popen[str]] = []

    def begin(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*NETLAB, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def children(pid: int) -> list[processes.Identity]:
    return [row.identity for row in processes.table() if row.parent == pid]


def test_two_at_once_with_status_output_and_results(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    script = f"echo out; echo err >&2; echo kept >{tmp_path}/file; touch /thrown-away; exit 7"
    both = [start("--write", str(tmp_path), "--", "sh", "-c", script) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=run.BOOT_LIMIT)
        assert (out, process.returncode) == ("out\n", 7), err
        assert err.endswith("err\n")
    assert (tmp_path / "file").read_text() == "kept\n"
    assert not Path("/thrown-away").exists()


def test_a_shell_on_a_terminal() -> None:
    """Keys and Ctrl-C go to the guest, which knows the terminal's size; the exit status is the shell's."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(NETLAB[0], [NETLAB[0], "vm", "shell", "--cpus", "1", "--memory", "1G"])
    said = b""

    def until(expected: bytes) -> None:
        nonlocal said
        deadline = time.monotonic() + run.BOOT_LIMIT
        while expected not in said:
            left = deadline - time.monotonic()
            assert select.select([terminal], [], [], max(left, 0))[0], said
            try:
                said += os.read(terminal, 4096)
            except OSError:  # how a terminal says that its other side is closed
                raise AssertionError(said) from None
        said = said.partition(expected)[2]

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 117, 0, 0))
    try:
        until(b"# ")
        # what is typed comes back, too: an answer is what was not typed
        os.write(terminal, b"stty size; uname -n; echo $((6 * 7))\r")
        for answer in (b"41 117", b"netlab-vm", b"42"):
            until(answer)
        os.write(terminal, b"echo $((7 * 7)); sleep 1000\r")
        until(b"49\r\n")
        os.write(terminal, b"\x03")
        until(b"# ")
        os.write(terminal, b"echo ended by $?\r")
        until(b"ended by 130")
        os.write(terminal, b"exit 5\r")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)


def test_a_kernel_by_its_path(start) -> None:  # type: ignore[no-untyped-def]
    kernel = kernels.find("debian", cache=kernels.cache_dir())
    out, err = start("--kernel", str(kernel.image), "--", "uname", "-r").communicate(timeout=run.BOOT_LIMIT)
    assert out == f"{kernel.release}\n", err


def test_a_hung_guest_ends_at_the_limit(start) -> None:  # type: ignore[no-untyped-def]
    process = start("--timeout", "8", "--", "sleep", "1000")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "not done after 8 s (--timeout)" in err


def line_of(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line that it says, in time."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], seconds)[0], "it says nothing"
    return process.stdout.readline()


def test_signals_reach_the_command(start) -> None:  # type: ignore[no-untyped-def]
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    traps = "".join(f"trap 'echo {n.name}; exit {n + 40}' {n.name.removeprefix('SIG')}; " for n in numbers)
    # a shell hears at once in `wait` alone: a signal may miss what it starts, and it waits for that to its end
    waiting = {n: start("--", "sh", "-c", f"{traps} sleep 1000 >/dev/null 2>&1 & echo ready; wait") for n in numbers}
    for process in waiting.values():
        assert line_of(process, run.BOOT_LIMIT) == "ready\n"
    for number, process in waiting.items():
        process.send_signal(number)
    for number, process in waiting.items():
        out, err = process.communicate(timeout=60)
        assert (out, process.returncode) == (f"{number.name}\n", number + 40), err


def test_a_second_signal_ends_what_ignores_the_first(start) -> None:  # type: ignore[no-untyped-def]
    traps = "trap '' TERM; trap 'echo no' INT; "
    process = start("--", "sh", "-c", f"{traps} sleep 1000 >/dev/null 2>&1 & echo ready; while :; do wait; done")
    assert line_of(process, run.BOOT_LIMIT) == "ready\n"
    process.send_signal(signal.SIGINT)
    assert line_of(process, run.GRACE) == "no\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=run.GRACE)
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_it_leaves_no_qemu(start, number: int) -> None:  # type: ignore[no-untyped-def]
    process = start("--", "sleep", "1000")
    deadline = time.monotonic() + 30
    while not (found := children(process.pid)) or "qemu" not in Path(f"/proc/{found[0].pid}/comm").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    deadline = time.monotonic() + 5
    while any(processes.alive(identity) for identity in found):
        assert time.monotonic() < deadline
        time.sleep(0.05)
