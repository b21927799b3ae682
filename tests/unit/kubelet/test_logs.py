"""Logs of containers: what of a file is shown, and who follows it to its end."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import patience

from netlab.kubelet import logs
from netlab.kubelet.logs import Line, Wanted

LINES = (
    "2024-01-01T00:00:00.000000001Z stdout F one\n"
    "2024-01-01T00:00:01.5+00:00 stderr P tw\n"
    "2024-01-01T00:00:02Z stderr F o\n"
    "2024-01-01T00:00:03Z stdout F \n"
    "nonsense\n"
    "2024-01-01T00:00:04Z stdout F last\n"
)


def shown(tmp_path: Path, text: str = LINES, **wanted: object) -> bytes:
    path = tmp_path / "0.log"
    path.write_text(text)

    async def all_of_it() -> bytes:
        return b"".join([part async for part in logs.read(path, Wanted(**wanted))])  # type: ignore[arg-type]

    return asyncio.run(all_of_it())


def test_lines_of_the_format() -> None:
    assert logs.parse(b"T stdout P a b ") == Line(b"T", "stdout", False, b"a b ")
    assert logs.parse(b"T stderr F") == Line(b"T", "stderr", True, b"")
    assert logs.parse(b"T stderr F:x y") == Line(b"T", "stderr", True, b"y")
    for wrong in (b"", b"T stdout", b"T stdin F x", b"T stdout X x"):
        assert logs.parse(wrong) is None


@given(st.binary())
def test_no_line_breaks_the_reader(line: bytes) -> None:
    logs.Writer(Wanted(since=0.0, timestamps=True, limit=5)).show(line)


def test_what_is_shown(tmp_path: Path) -> None:
    assert shown(tmp_path) == b"one\ntwo\n\nlast\n"
    assert shown(tmp_path, stream="stdout") == b"one\n\nlast\n"
    assert shown(tmp_path, limit=5) == b"one\nt"
    assert shown(tmp_path, since=1_704_067_202.5) == b"\nlast\n"
    stamped = shown(tmp_path, timestamps=True).splitlines()
    assert stamped[:2] == [b"2024-01-01T00:00:00.000000001Z one", b"2024-01-01T00:00:01.5Z two"]
    assert [shown(tmp_path, tail=n) for n in (0, 1, 3, 99)] == [b"", b"last\n", b"\nlast\n", b"one\ntwo\n\nlast\n"]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 40), st.booleans())
def test_the_last_lines_are_found_wherever_blocks_end(sizes: list[int], wanted: int, whole: bool) -> None:
    text = b"\n".join(b"x" * n for n in sizes) + (b"\n" if whole and sizes else b"")
    lines = text.splitlines(keepends=True)
    before, logs.CHUNK = logs.CHUNK, 7
    try:
        at = logs.tail_offset(io.BytesIO(text), wanted)
    finally:
        logs.CHUNK = before
    assert text[at:] == b"".join(lines[max(0, len(lines) - wanted) :])


def test_a_log_is_followed_through_its_rotation_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("2024-01-01T00:00:00Z stdout F one\n")

    async def follow() -> None:
        over = asyncio.Event()

        async def ended() -> None:
            await over.wait()

        lines = logs.read(path, Wanted(follow=True), ended=ended)
        assert await anext(lines) == b"one\n"
        with path.open("a") as file:
            file.write("2024-01-01T00:00:01Z stdout F two\n2024-01-01T00:00:01Z stdout F thr")
        assert await anext(lines) == b"two\n"
        with path.open("a") as file:
            file.write("ee\n")
        assert await anext(lines) == b"three\n"
        old = path.open("a")
        path.rename(tmp_path / "0.log.20240101-000000")
        old.write("2024-01-01T00:00:02Z stdout F still in the old one\n")
        old.close()
        path.write_text("2024-01-01T00:00:03Z stdout F in the new one\n")
        assert await anext(lines) == b"still in the old one\n"
        assert await anext(lines) == b"in the new one\n"
        with path.open("a") as file:
            file.write("2024-01-01T00:00:04Z stdout F the last\n")
        over.set()
        assert b"".join([part async for part in lines]) == b"the last\n"

    async def timely() -> None:
        async with asyncio.timeout(patience(30)):
            await follow()

    asyncio.run(timely())


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    async def nothing() -> None:
        async for _ in logs.read(tmp_path / "0.log", Wanted()):
            pass

    with pytest.raises(FileNotFoundError):
        asyncio.run(nothing())
