"""YAML with a line for every value, so that each complaint about a user's file names the line it is about."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from netlab.base.errors import InputError, Problem
from netlab.base.files import shown

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]
#: a lab of 1,000 hosts is about 200 KB; far more is a mistake or an attack on the parser
SIZE_MAX = 16 << 20
DEPTH_MAX = 50
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. data: plain dicts, lists and scalars; lines: the line (from 1) of each value by its path."""

    name: str
    data: Any
    lines: dict[Location, int]

    def place(self, location: Iterable[str | int] = ()) -> str:
        """`labs/x/lab.yaml:14`: the file and the line of a value, or of the nearest thing around it."""
        path = tuple(location)
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


def load(path: Path) -> Document:
    """Read and parse a file. InputError for one that cannot be read or is no YAML, with the line."""
    name = shown(path)
    try:
        if path.stat().st_size > SIZE_MAX:
            raise InputError([Problem(name, f"the file has more than {SIZE_MAX >> 20} MiB")])
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise InputError([Problem(name, f"not UTF-8 text: byte {e.start} is no character")]) from e
    except OSError as e:
        raise InputError([Problem(name, f"cannot be read: {e.strerror}")]) from e
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """Parse YAML text. Keys that occur twice, aliases that refer to themselves and bottomless nesting are refused."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark else 1
        tab = "\t" in text.splitlines()[line - 1] if mark and line <= len(text.splitlines()) else False
        hint = "indent with spaces; YAML does not allow tabs" if tab else "check indentation, colons and quotes there"
        raise InputError([Problem(f"{name}:{line}", f"not valid YAML: {e.problem}", hint)]) from e
    except (yaml.YAMLError, RecursionError) as e:
        raise InputError([Problem(name, f"not valid YAML: {e}")]) from e
    lines: dict[Location, int] = {}
    problems: list[Problem] = []
    data = _plain(node, (), lines, problems, name, 0)
    if problems:
        raise InputError(problems)
    return Document(name, data, lines)


_CONSTRUCT = yaml.SafeLoader("")


def _plain(
    node: Any, path: Location, lines: dict[Location, int], problems: list[Problem], name: str, depth: int
) -> Any:
    if node is None:
        return None
    lines[path] = node.start_mark.line + 1
    if depth > DEPTH_MAX or len(lines) > 1_000_000:
        if not problems:
            problems.append(Problem(f"{name}:{lines[path]}", "nested too deeply, or grown too large by aliases"))
        return None
    if isinstance(node, yaml.MappingNode):
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, problems, name)
            line = key_node.start_mark.line + 1
            if key in out:
                problems.append(Problem(f"{name}:{line}", f"key {key!r} occurs twice", "remove one of the two"))
            out[key] = _plain(value_node, (*path, key), lines, problems, name, depth + 1)
            lines[(*path, key)] = line
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_plain(v, (*path, i), lines, problems, name, depth + 1) for i, v in enumerate(node.value)]
    return _scalar(node, problems, name)


def _scalar(node: Any, problems: list[Problem], name: str) -> Any:
    line = node.start_mark.line + 1
    try:
        value = _CONSTRUCT.construct_object(node)
    except (yaml.YAMLError, ValueError) as e:
        problems.append(Problem(f"{name}:{line}", f"cannot be understood: {getattr(e, 'problem', e)}"))
        return None
    # YAML 1.1 reads 12:30 as a number in base 60, 2024-01-01 as a date, and on as true: nothing in a lab means that
    odd = not isinstance(value, str | int | float | bool | None) or (":" in node.value and not isinstance(value, str))
    if odd or (isinstance(value, bool) and node.value.lower() not in ("true", "false")):
        return node.value
    return value


def _key(node: Any, problems: list[Problem], name: str) -> str:
    """A key is always text: `on`, `no` and `1` are names like others."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    problems.append(Problem(f"{name}:{node.start_mark.line + 1}", "a key must be a plain word"))
    return "?"


def validated(model: type[Model], document: Document) -> Model:
    """The document as a pydantic model. InputError with every problem, each with its line and a hint."""
    if not isinstance(document.data, dict):
        raise InputError([Problem(document.place(), "expected a mapping of keys to values", _known_hint(model))])
    try:
        return model.model_validate(document.data)
    except ValidationError as e:
        raise InputError(sorted({_problem(err, document, model) for err in e.errors()})) from None


def _problem(error: Any, document: Document, model: type[BaseModel]) -> Problem:
    location: Location = tuple(error["loc"])
    kind = error["type"]
    path = _data_path(location, document.data)
    where = document.place(path)
    named = ".".join(str(part) for part in path) or "the file"
    if kind == "extra_forbidden":
        key = str(location[-1])
        known = _keys_at(model, location[:-1])
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}" if known else None
        return Problem(where, f"unknown key {key!r} in {'.'.join(map(str, path[:-1])) or 'the file'}", hint)
    if kind == "missing":
        return Problem(where, f"{named} needs the key {str(location[-1])!r}", None)
    message = str(error["msg"])
    for prefix in ("Value error, ", "Assertion failed, "):
        message = message.removeprefix(prefix)
    context = error.get("ctx") or {}
    hint = getattr(context.get("error"), "hint", None)
    return Problem(where, f"{named}: {message[0].lower() + message[1:] if message else 'wrong'}", hint)


def _data_path(location: Sequence[str | int], data: Any) -> Location:
    """The part of a pydantic location that exists in the data: union members and validators add steps of their own."""
    path: list[str | int] = []
    here: Any = data
    for step in location:
        inside = step in here if isinstance(here, dict) else isinstance(here, list) and step in range(len(here))
        if inside:
            path.append(step)
            here = here[step]
    return tuple(path)


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Field names of the model that a location leads to, best effort."""
    import typing

    def models(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [m for arg in typing.get_args(annotation) for m in models(arg)]

    current = [model]
    for step in location:
        following = [
            m
            for cls in current
            for name, info in cls.model_fields.items()
            if step in (name, info.alias)
            for m in models(info.annotation)
        ]
        named = [cls for cls in current if cls.__name__ == step]
        current = following or named or current
    return sorted({info.alias or name for cls in current for name, info in cls.model_fields.items()})


def _known_hint(model: type[BaseModel]) -> str:
    return "known keys: " + ", ".join(sorted(info.alias or name for name, info in model.model_fields.items()))
