"""`netlab dns serve` as a process: ready, asked, told of a change, looked at, ended."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from dnsworld import TEXT

from netlab.dns import asking
from netlab.dns.search import Resolver

LIMIT = 20.0
READY = re.compile(r"ready: 127\.0\.0\.1 port (\d+)")


def line_with(stream: IO[str], pattern: re.Pattern[str] | str) -> re.Match[str]:
    for line in stream:
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError(f"it ended without {pattern}")


@pytest.fixture
def daemon(tmp_path: Path, unused_port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    (tmp_path / "world.yaml").write_text(TEXT)
    words = ["dns", "serve", "-f", str(tmp_path), "--address", "127.0.0.1", "--port", "0", "--healthz-ip", "127.0.0.1"]
    argv = [sys.executable, "-m", "netlab.cli.main", *words, "--healthz-port", str(unused_port)]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        yield process, int(line_with(process.stderr, READY)[1])
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def addresses(port: int, name: str) -> list[str]:
    (found,) = asking.by_wire(("127.0.0.1", port), name, "A", Resolver())
    return sorted(record.data for record in found.answers[0].records)


def test_its_life(daemon: tuple[subprocess.Popen[str], int], tmp_path: Path, unused_port: int) -> None:
    process, port = daemon
    assert process.stderr
    assert addresses(port, "web-0.nginx.default.svc.cluster.local") == ["10.244.0.30"]
    # 127: a change of the objects is a change of the answers, soon
    (tmp_path / "world.yaml").write_text(TEXT.replace("10.244.0.30", "10.244.0.99"))
    end = time.monotonic() + LIMIT
    while addresses(port, "web-0.nginx.default.svc.cluster.local") != ["10.244.0.99"]:
        assert time.monotonic() < end
    # a mistake is told, and takes nothing away
    (tmp_path / "more.yaml").write_text("kind: Service\nmetadata: {name: bad}\nspec: {clusterIP: x}\n")
    assert line_with(process.stderr, "Service bad: spec.clusterIP is 'x'")
    assert addresses(port, "hostnames.default.svc.cluster.local") == ["10.96.0.5"]
    with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/readyz", timeout=LIMIT) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics", timeout=LIMIT) as answer:
        page = answer.read().decode()
    assert 'netlab_dns_requests_total{proto="udp",rcode="NOERROR",source="cluster",type="A"}' in page
    assert "netlab_dns_problems 1.0" in page
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT) == 0
