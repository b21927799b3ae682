"""Manifests from files and folders: what `-f` names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from netlab.base import manifests
from netlab.base.errors import InputError, Problem
from netlab.base.manifests import Manifest
from netlab.compile.objects import Objects
from netlab.compile.parse import objects

SUFFIXES = (".yaml", ".yml", ".json")


def read(paths: Iterable[Path]) -> list[Manifest]:
    """Every object of the files, in their order; of a folder, of all its manifests by name. InputError with all that
    is wrong in any of them."""
    found: list[Manifest] = []
    problems: list[Problem] = []
    for path in paths:
        files = sorted(f for f in path.rglob("*") if f.suffix in SUFFIXES) if path.is_dir() else [path]
        if not files:
            problems.append(Problem(str(path), "no manifest in this folder", f"it should hold {', '.join(SUFFIXES)}"))
        for file in files:
            try:
                found += manifests.parse(file.read_text(encoding="utf-8"), str(file))
            except InputError as e:
                problems += e.problems
            except UnicodeDecodeError as e:
                problems.append(Problem(str(file), f"not UTF-8 text: byte {e.start} is no character"))
            except OSError as e:
                problems.append(Problem(str(file), f"cannot be read: {e.strerror}"))
    if problems:
        raise InputError(problems)
    return found


def load(paths: Iterable[Path]) -> Objects:
    """The objects that compilers need. InputError with every problem, each with its file and line."""
    return objects(read(paths))
