"""Files that several processes share."""

import os
import signal
from pathlib import Path

import pytest

from netlab.base.lockedfiles import put, remove


def test_what_a_killed_writer_has_left_goes_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a", b"1")
    put(tmp_path / "ab", b"3")
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        put(tmp_path / "a", b"2")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".a.{pid}", "a", "ab"]
    assert (tmp_path / "a").read_bytes() == b"1"
    remove(tmp_path / "a")
    remove(tmp_path / "never")
    assert [p.name for p in tmp_path.iterdir()] == ["ab"]
