"""A real server process, and the clients that are installed here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

#: seconds for a server to be ready
READY = 30.0


@pytest.fixture
def options() -> tuple[str, ...]:
    """More options of the server; a module may have its own."""
    return ()


@pytest.fixture
def server(tmp_path: Path, options: tuple[str, ...]) -> Iterator[Path]:
    """`netlab server` over a store in memory; the path of the administrator's kubeconfig."""
    config = tmp_path / "config"
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "netlab.cli.main", "server", "--data-dir", str(tmp_path / "data"), "--store", "memory",
         "--no-nodes", "--port", "0", "--kubeconfig", str(config), *options],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + READY
        while b"controllers run" not in (tmp_path / "log").read_bytes():
            assert process.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "the server does not get ready"
            time.sleep(0.02)
        yield config
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(READY)
        log.close()
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert status == 0, text
    assert "Traceback" not in text, text


@pytest.fixture
def environment(server: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a client: its own home, so that no cache of another server is read."""
    return {**os.environ, "KUBECONFIG": str(server), "HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
