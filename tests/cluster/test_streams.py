"""kubectl's logs, exec, attach, cp, port-forward, top and proxy against real containers, in every version installed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import kubectls
from patience import patience
from streamworld import StreamWorld
from terminals import Terminal

from netlab.kernel import netns

LACKING = [tool for tool in ("runc", "conmon", "busybox", "kubectl") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making containers needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"{', '.join(LACKING)} lack"),
]
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamWorld]:
    with StreamWorld(tmp_path_factory.mktemp("streams"), f"st{os.getpid()}") as made:
        network = made.network("web")
        made.pod("web", "echo ready; echo wrong >&2; exec sleep 100000", namespaces={"network": network})
        yield made


@pytest.fixture(params=kubectls(), ids=lambda path: path.name)
def kubectl(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def environment(world: StreamWorld) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(world.kubeconfig), "HOME": str(world.directory / "home")}


def run(
    world: StreamWorld, kubectl: Path, *words: str, stdin: bytes = b"", check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [kubectl, *words], env=environment(world), input=stdin, capture_output=True, timeout=patience(120), check=False
    )
    assert not check or done.returncode == 0, done
    return done


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + patience(60)
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_exec_has_streams_and_an_exit_status(world: StreamWorld, kubectl: Path) -> None:
    done = run(world, kubectl, "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42", check=False)
    assert (done.returncode, done.stdout) == (42, b"out\n")
    assert done.stderr.startswith(b"err\n") and b"exit code 42" in done.stderr
    done = run(world, kubectl, "exec", "-i", "web", "--", "sh", "-c", "cat; echo end", stdin=b"some\nlines\n")
    assert done.stdout == b"some\nlines\nend\n"
    assert run(world, kubectl, "exec", "-i", "web", "--", "true", stdin=b"x" * MEGABYTE).stdout == b""
    missing = run(world, kubectl, "exec", "web", "--", "nosuch", check=False)
    assert missing.returncode == 1 and b'exec: "nosuch": executable file not found in $PATH' in missing.stderr
    wrong = run(world, kubectl, "exec", "web", "-c", "x", "--", "true", check=False)
    assert wrong.returncode == 1 and b"container x is not valid for pod web" in wrong.stderr


def test_exec_at_a_terminal_of_changing_size(world: StreamWorld, kubectl: Path) -> None:
    argv: list[str | Path] = [kubectl, "exec", "-it", "web", "--", "sh"]
    with Terminal(argv, environment(world), rows=33, columns=91) as terminal:
        terminal.until(rb"# ")
        # a size is on its way: the shell is asked until it has come
        terminal.type("until stty size 2>&1 | grep '33 91'; do :; done; tty\n")
        terminal.until(rb"33 91\r\n/dev/pts/")
        terminal.resize(44, 122)
        terminal.type("until stty size 2>&1 | grep '44 122'; do :; done; echo is-$?\n")
        terminal.until(rb"is-0")
        # when the command says something, it is in the foreground
        terminal.type("sh -c 'echo go-$((1 + 1)); exec sleep 1000'\n")
        terminal.until(rb"go-2\r\n")
        terminal.type("\x03")
        terminal.until(rb"# ")
        terminal.type("exit 5\n")
        assert terminal.wait() != 0


def test_attach_and_its_input(world: StreamWorld, kubectl: Path) -> None:
    name = f"at-{kubectl.name.replace('.', '-')}"
    world.pod(name, "while read line; do echo got $line; echo err $line >&2; done; echo over; exec sleep 100000",
              stdin=True, stdin_once=True)  # fmt: skip
    process = subprocess.Popen(
        [kubectl, "attach", "-i", name], env=environment(world), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got one\n"
    process.stdin.close()
    assert process.stdout.readline() == b"over\n"
    process.kill()
    with process:
        assert b"err one" in process.stderr.read()


def test_what_has_ended_is_not_joined(world: StreamWorld) -> None:
    container = world.pod("over", "exit 3")
    until(lambda: world.runtime.status(container).state == "exited", "it does not end")
    joined = run(world, kubectls()[0], "attach", "over", check=False)
    assert joined.returncode == 1 and b"container c not found in pod over_default" in joined.stderr
    ran = run(world, kubectls()[0], "exec", "over", "--", "true", check=False)
    assert ran.returncode == 1 and b'container not found ("c")' in ran.stderr


def test_attach_to_a_terminal(world: StreamWorld, kubectl: Path) -> None:
    name = f"tty-{kubectl.name.replace('.', '-')}"
    world.pod(name, "exec sh", stdin=True, tty=True)
    argv: list[str | Path] = [kubectl, "attach", "-it", name]
    with Terminal(argv, environment(world), rows=31, columns=88) as terminal:
        terminal.type("until stty size 2>&1 | grep '31 88'; do :; done; echo is-$?\n")
        terminal.until(rb"is-0\r\n")
        terminal.type("exit\n")
        assert terminal.wait() == 0


def test_logs_are_followed_to_their_end(world: StreamWorld, kubectl: Path) -> None:
    name = f"log-{kubectl.name.replace('.', '-')}"
    container = world.pod(name, "echo one; read x; echo two $x; printf half", stdin=True, stdin_once=True)
    process = subprocess.Popen([kubectl, "logs", "-f", name], env=environment(world), stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        run(world, kubectl, "attach", "-i", name, stdin=b"go\n")
        assert process.stdout.read() == b"two go\nhalf"
    assert process.returncode == 0 and world.runtime.status(container).state == "exited"
    assert run(world, kubectl, "logs", name, "--tail=1").stdout == b"half"
    assert run(world, kubectl, "logs", name, "--limit-bytes=5").stdout == b"one\nt"
    stamped = run(world, kubectl, "logs", name, "--timestamps").stdout.splitlines()
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one", stamped[0])
    assert run(world, kubectl, "logs", name, "--since-time=2100-01-01T00:00:00Z").stdout == b""
    before = run(world, kubectl, "logs", name, "--previous", check=False)
    assert before.returncode == 1 and b'previous terminated container "c" in pod' in before.stderr


def test_copies_of_some_megabytes(world: StreamWorld, kubectl: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for i, size in enumerate((0, 1, 3 * MEGABYTE, 5 * MEGABYTE + 17)):
        (tmp_path / "tree" / f"file {i}").write_bytes(os.urandom(size))

    def sums(directory: Path) -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir()}

    there = f"/tmp/{kubectl.name}"
    run(world, kubectl, "cp", str(tmp_path / "tree"), f"web:{there}")
    run(world, kubectl, "cp", f"web:{there}", str(tmp_path / "back"))
    assert sums(tmp_path / "back") == sums(tmp_path / "tree")


class Echo:
    """Answers connections in a pod's network with what they send, after a greeting."""

    def __init__(self, world: StreamWorld, pod: str) -> None:
        with netns.entered(world.pods.nets["default", pod]):
            self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(taken,), daemon=True).start()

    def _answer(self, taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError):
            taken.sendall(b"hello\n")
            while data := taken.recv(65536):
                taken.sendall(data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextlib.contextmanager
def beginning(world: StreamWorld, argv: list[str | Path], pattern: bytes) -> Iterator[re.Match[bytes]]:
    """A command under way, when it has printed a line that matches."""
    process = subprocess.Popen(argv, env=environment(world), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        said = b""
        while not (found := re.search(pattern, said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        yield found
    finally:
        process.terminate()
        process.communicate()


def test_many_connections_are_forwarded(world: StreamWorld, kubectl: Path) -> None:
    echo = Echo(world, "web")
    try:
        argv: list[str | Path] = [kubectl, "port-forward", "pod/web", f":{echo.port}"]
        with beginning(world, argv, rb"127\.0\.0\.1:(\d+) -> ") as found:
            port = int(found[1])

            def ask(size: int) -> None:
                with socket.create_connection(("127.0.0.1", port), timeout=patience(60)) as sock:
                    text = os.urandom(size)
                    threading.Thread(target=lambda: (sock.sendall(text), sock.shutdown(socket.SHUT_WR))).start()
                    got = b""
                    while data := sock.recv(65536):
                        got += data
                    answers.append(got == b"hello\n" + text)

            answers: list[bool] = []
            asking = [threading.Thread(target=ask, args=(i * 40_000,)) for i in range(30)]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join(patience(60))
            assert answers == [True] * 30
    finally:
        echo.close()


def test_a_port_where_nobody_answers(world: StreamWorld, kubectl: Path) -> None:
    argv: list[str | Path] = [kubectl, "port-forward", "pod/web", ":1"]
    process = subprocess.Popen(argv, env=environment(world), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None and process.stderr is not None
        found = re.search(r"127\.0\.0\.1:(\d+) -> ", process.stdout.readline())
        assert found is not None
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=patience(60)) as sock:
            assert sock.recv(10) == b""
        said = process.stderr.readline()
        process.terminate()
    assert "connection refused" in said


def test_top_tells_what_nodes_and_pods_use(world: StreamWorld, kubectl: Path) -> None:
    nodes = run(world, kubectl, "top", "node").stdout.decode()
    assert re.search(r"(?m)^n1\s+\d+m\s+\d+%\s+32Mi\s+0%", nodes), nodes
    pods = run(world, kubectl, "top", "pod", "web", "--containers").stdout.decode()
    assert re.search(r"(?m)^web\s+c\s+\d+m\s+\d+Mi", pods), pods
    missing = run(world, kubectl, "top", "pod", "nosuch", check=False)
    assert missing.returncode == 1 and b"not found" in missing.stderr


def test_a_nodes_pages_through_the_servers_proxy(world: StreamWorld, kubectl: Path) -> None:
    assert run(world, kubectl, "get", "--raw", "/api/v1/nodes/n1/proxy/healthz").stdout == b"ok"
    summary = json.loads(run(world, kubectl, "get", "--raw", "/api/v1/nodes/n1/proxy/stats/summary").stdout)
    assert summary["node"]["nodeName"] == "n1" and "web" in {p["podRef"]["name"] for p in summary["pods"]}
    page = run(world, kubectl, "get", "--raw", "/api/v1/nodes/n1/proxy/metrics/cadvisor").stdout
    assert b'container_memory_working_set_bytes{container="c",' in page
    with beginning(world, [kubectl, "proxy", "--port=0"], rb"127\.0\.0\.1:(\d+)") as found:
        url = f"http://127.0.0.1:{int(found[1])}/api/v1/nodes/n1/proxy/pods/"
        with urllib.request.urlopen(url, timeout=patience(60)) as answer:
            assert json.load(answer)["kind"] == "PodList"
        logs = f"http://127.0.0.1:{int(found[1])}/api/v1/namespaces/default/pods/web/log?tailLines=2"
        with urllib.request.urlopen(logs, timeout=patience(60)) as answer:
            assert answer.read().splitlines()[:1] == [b"ready"]


def test_who_goes_ends_what_he_has_run(world: StreamWorld, kubectl: Path) -> None:
    mark = f"{100_000 + os.getpid()}"
    argv: list[str | Path] = [kubectl, "exec", "-i", "web", "--", "sh", "-c", f"echo pid $$; exec sleep {mark}"]
    process = subprocess.Popen(argv, env=environment(world), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline().startswith(b"pid ")

    def running() -> bool:
        return mark.encode() in world.runtime.run("web-c", ["ps", "-o", "args"]).stdout.encode()

    assert running()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not running(), "the program outlives the client that ran it")
