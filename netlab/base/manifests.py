"""Manifests: the YAML or JSON text of API objects, several to a file, with the line of every value for complaints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from netlab.base.errors import InputError, Problem

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: deeper is a mistake, or an attack on the parser
DEPTH_MAX = 60

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object. data: plain dicts, lists and scalars; file: as the user named it; lines: of each value, from 1."""

    data: Any
    file: str = ""
    lines: dict[Path, int] = field(default_factory=dict, compare=False, repr=False)

    def place(self, path: Path = ()) -> str:
        """`manifests/web.yaml:14`: the line of a value, or of the nearest thing around it; `` without a file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}" if self.file else ""


def parse(text: str, file: str) -> list[Manifest]:
    """All objects of a file; a `List` counts as its items, an empty document as nothing. InputError with the line."""
    loader = _Loader(text)
    found: list[Manifest] = []
    try:
        while loader.check_node():
            found += _documents(loader.get_node(), file)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark else 1
        hint = "check indentation, colons and quotes there; YAML does not allow tabs"
        raise InputError([Problem(f"{file}:{line}", f"not valid YAML: {e.problem}", hint)]) from e
    except (yaml.YAMLError, RecursionError) as e:
        raise InputError([Problem(file, f"not valid YAML: {e}")]) from e
    finally:
        loader.dispose()
    return found


def _documents(node: Any, file: str) -> Iterator[Manifest]:
    lines: dict[Path, int] = {}
    data = _plain(node, (), lines, file, 0)
    if data is None:
        return
    if isinstance(data, dict) and str(data.get("kind", "")).endswith("List") and isinstance(data.get("items"), list):
        own: list[dict[Path, int]] = [{} for _ in data["items"]]
        for path, line in lines.items():
            if len(path) > 1 and path[0] == "items":
                own[int(path[1])][path[2:]] = line
        yield from (Manifest(item, file, places) for item, places in zip(data["items"], own, strict=True))
        return
    yield Manifest(data, file, lines)


_CONSTRUCT = yaml.SafeLoader("")


def _plain(node: Any, path: Path, lines: dict[Path, int], file: str, depth: int) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if depth > DEPTH_MAX or len(lines) > 5_000_000:
        raise InputError([Problem(f"{file}:{line}", "nested too deeply, or grown too large by aliases")])
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in out:
                place = f"{file}:{key_node.start_mark.line + 1}"
                raise InputError([Problem(place, f"key {key!r} occurs twice", "remove one of the two")])
            lines[(*path, key)] = key_node.start_mark.line + 1
            out[key] = _plain(value_node, (*path, key), lines, file, depth + 1)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_plain(v, (*path, i), lines, file, depth + 1) for i, v in enumerate(node.value)]
    value = _CONSTRUCT.construct_object(node)
    # timestamps and the like are text in an API object
    return value if isinstance(value, str | int | float | bool | None) else node.value
