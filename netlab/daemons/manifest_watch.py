"""Manifests on disk as a source of objects: read, watched (inotify), and followed for as long as a daemon lives.

What is wrong with a file or an object is told, and what it was before stays. Files are replaced by renaming another
over them; who writes in place is followed when he has closed it. A file that has not changed is not read again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from asyncinotify import Inotify, Mask

from netlab.base import manifests
from netlab.base.errors import InputError, Problem
from netlab.compile.objects import Ref, Value
from netlab.compile.parse import ref, value
from netlab.daemons.manifests import SUFFIXES
from netlab.daemons.sources import Change

_CHANGES = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.ATTRIB
_OWN_CHANGES = Mask.DELETE_SELF | Mask.MOVE_SELF
#: seconds in which several changes (of an editor, of a copied folder) count as one, and in which a lost folder is
#: looked for again
SETTLE, LOST = 0.02, 1.0

#: what tells that a file is the one that was read: inode, time, size
_Mark = tuple[int, int, int]


class _Known(NamedTuple):
    """An object of a file. place: of its beginning; value: None of a kind that no compiler needs."""

    place: str
    value: Value | None


class _File(NamedTuple):
    mark: _Mark
    objects: dict[Ref, _Known]
    problems: tuple[Problem, ...]


class Folder:
    """Manifests in files and folders, folders in them included. A source (see `sources.Source`)."""

    implied = True

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = tuple(paths)
        self._files: dict[Path, _File] = {}
        self._told: dict[Ref, _Known] = {}

    async def watch(self) -> AsyncGenerator[Change, None]:
        """What is there, at once, and then each change that is one. InputError if a path is not there."""
        for path in self.paths:
            if not path.exists():
                raise InputError([Problem(str(path), "there is no such file or folder", "give one with manifests")])
        last: Change | None = None
        while True:
            with Inotify() as inotify:
                whole = self._subscribe(inotify)
                # what happens from here on is told: nothing is missed
                change = self.look()
                if last is None or change.values or change.problems != last.problems:
                    last = change
                    yield change
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if whole else LOST):
                        await inotify.get()
                with contextlib.suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(SETTLE):
                            await inotify.get()

    def _subscribe(self, inotify: Inotify) -> bool:
        """Watch all that matters. Whether everything is there."""
        whole = True
        for path in self.paths:
            folders = [path, *(p for p in path.rglob("*") if p.is_dir())] if path.is_dir() else [path.parent]
            for folder in folders:
                try:
                    inotify.add_watch(folder, _CHANGES | (_OWN_CHANGES if folder in self.paths else 0))
                except OSError:  # gone since: so we look again
                    whole = False
            whole = whole and path.exists()
        return whole

    def look(self) -> Change:
        """What is another than at the last look; at the first one, everything."""
        found: dict[Path, _File] = {}
        problems: list[Problem] = []
        for path in self.paths:
            if not path.exists():
                problems.append(Problem(str(path), "is not there any more; what it held stays"))
                found |= {file: known for file, known in self._files.items() if path in (file, *file.parents)}
            for file in _within(path):
                with contextlib.suppress(FileNotFoundError):
                    found[file] = self._read(file)
        self._files = found
        good: dict[Ref, _Known] = {}
        for read in found.values():
            problems += read.problems
            for at, known in read.objects.items():
                if good.setdefault(at, known) is not known:
                    text = f"{at} is in {good[at].place}, too"
                    problems.append(Problem(known.place, text, "remove one of the two; the first counts"))
        before, self._told = self._told, good
        values: dict[Ref, Value | None] = {at: None for at in before if at not in good}
        for at, known in good.items():
            old = before.get(at)
            # what stands in a file that was not read again is the same object
            if old is not known and (old is None or old.value != known.value) and known.value is not None:
                values[at] = known.value
        return Change(values, tuple(problems))

    def _read(self, file: Path) -> _File:
        stat = file.stat()
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        before = self._files.get(file)
        if before is not None and before.mark == mark:
            return before
        kept = before.objects if before else {}
        try:
            listed = manifests.parse(file.read_text(encoding="utf-8"), str(file))
        except InputError as e:
            return _File(mark, kept, e.problems)
        except UnicodeDecodeError as e:
            return _File(mark, kept, (Problem(str(file), f"not UTF-8 text: byte {e.start} is no character"),))
        except OSError as e:
            if isinstance(e, FileNotFoundError):
                raise
            return _File(mark, kept, (Problem(str(file), f"cannot be read: {e.strerror}"),))
        found: dict[Ref, _Known] = {}
        problems: list[Problem] = []
        for manifest in listed:
            at = ref(manifest.data)
            if at in found:
                problems.append(Problem(manifest.place(), f"{at} occurs twice in this file"))
                continue
            try:
                found[at] = _Known(manifest.place(), value(manifest))
            except InputError as e:
                problems += e.problems
                if at in kept:
                    found[at] = kept[at]
        return _File(mark, found, tuple(problems))


def _within(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(f for f in path.rglob("*") if f.suffix in SUFFIXES and not f.name.startswith("."))
    elif path.exists():
        yield path
