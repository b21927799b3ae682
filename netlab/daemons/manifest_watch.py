"""Manifests on disk as a source of objects: read, watched (inotify), and followed for as long as a daemon lives.

What is wrong with a file or an object is told, and what it was before stays: nobody's network is to go because somebody
else mistypes. Files are replaced by renaming another over them; who writes in place is followed when he has closed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from asyncinotify import Inotify, Mask

from netlab.base import manifests
from netlab.base.errors import InputError, Problem
from netlab.base.manifests import Manifest
from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.daemons.manifests import SUFFIXES

_CHANGES = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.ATTRIB
_OWN_CHANGES = Mask.DELETE_SELF | Mask.MOVE_SELF
#: seconds in which several changes (of an editor, of a copied folder) count as one, and in which a lost folder is
#: looked for again
SETTLE, LOST = 0.02, 1.0

#: kind, namespace, name
Key = tuple[str, str, str]
#: what tells that a file is the one that was read: inode, time, size
_Mark = tuple[int, int, int]


class _File(NamedTuple):
    mark: _Mark
    objects: dict[Key, Manifest]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """The objects as they are now, and what is wrong with what was left as it was, or left out."""

    objects: Objects
    problems: tuple[Problem, ...] = ()


class Source(Protocol):
    """Tells what the cluster is, and again each time that it is another."""

    def watch(self) -> AsyncGenerator[Seen, None]:
        """At once, and then after each change."""


async def told(source: Source, log: logging.Logger) -> AsyncGenerator[Seen, None]:
    """What a source tells, with every problem in the log when it comes up, and a word when there is none left."""
    known: frozenset[Problem] = frozenset()
    changes = source.watch()
    try:
        async for seen in changes:
            problems = frozenset(seen.problems)
            for problem in sorted(problems - known):
                log.error("%s", problem)
            if known and not problems:
                log.info("all objects make sense again")
            known = problems
            yield seen
    finally:
        await changes.aclose()


class Folder:
    """Manifests in files and folders, folders in them included."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = tuple(paths)
        self._files: dict[Path, _File] = {}
        self._last: Objects | None = None

    async def watch(self) -> AsyncGenerator[Seen, None]:
        """What is there, at once, and again after each change that is one. InputError if a path is not there."""
        for path in self.paths:
            if not path.exists():
                raise InputError([Problem(str(path), "there is no such file or folder", "give one with manifests")])
        last = None
        while True:
            with Inotify() as inotify:
                whole = self._subscribe(inotify)
                # what happens from here on is told: nothing is missed
                seen = self.look()
                if seen != last:
                    last = seen
                    yield seen
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

    def look(self) -> Seen:
        """Everything as it is now."""
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
        good: dict[Key, Manifest] = {}
        for known in found.values():
            problems += known.problems
            for key, manifest in known.objects.items():
                if good.setdefault(key, manifest) is not manifest:
                    text = f"{_named(key)} is in {good[key].place()}, too"
                    problems.append(Problem(manifest.place(), text, "remove one of the two; the first counts"))
        self._last = objects(good.values(), self._last)
        return Seen(self._last, tuple(problems))

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
        found: dict[Key, Manifest] = {}
        problems: list[Problem] = []
        for manifest in listed:
            key = _key(manifest)
            if key in found:
                problems.append(Problem(manifest.place(), f"{_named(key)} occurs twice in this file"))
                continue
            try:
                objects([manifest])
                found[key] = manifest
            except InputError as e:
                problems += e.problems
                if key in kept:
                    found[key] = kept[key]
        return _File(mark, found, tuple(problems))


def _within(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(f for f in path.rglob("*") if f.suffix in SUFFIXES and not f.name.startswith("."))
    elif path.exists():
        yield path


def _key(manifest: Manifest) -> Key:
    data = manifest.data if isinstance(manifest.data, dict) else {}
    meta = data.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    return str(data.get("kind")), str(meta.get("namespace") or "default"), str(meta.get("name"))


def _named(key: Key) -> str:
    return f"{key[0]} {key[1]}/{key[2]}"
