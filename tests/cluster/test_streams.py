"""kubectl's logs, exec, attach, cp, port-forward, top and proxy against real containers, in every version installed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import fcntl
import termios
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import kubectls
from patience import patience
from streamworld import StreamWorld

from netlab.kernel import netns, processes

LACKING = [tool for tool in ("runc", "conmon", "busybox", "kubectl") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making containers needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"{', '.join(LACKING)} lack"),
]
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamWorld]:
    with StreamWorld(tmp_path_factory.mktemp("streams"), f"st{os.getpid()}") as made:
        fd = made.network("web")
        os.close(fd)
        made.pod("web", "echo ready; echo wrong >&2; exec sleep 100000",
                 namespaces={"network": made.pods.nets["default", "web"]})  # fmt: skip
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
