"""The JSONPath of printer columns, scale, selectable fields and checks: names, indices, `[*]`, one simple filter."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""\.?(?:(?P<name>(?:[^.\[\]\\]|\\.)+)
    |\[(?P<index>-?\d+)\]
    |\[(?P<all>\*)\]
    |\['(?P<quoted>[^']*)'\]
    |\[\?\(@\.(?P<key>[\w.-]+)\s*==\s*["'](?P<value>[^"']*)["']\)\])""",
    re.VERBOSE,
)


@lru_cache(1024)
def _steps(path: str) -> tuple[tuple[str, Any], ...]:
    text, at = path.strip().removeprefix("{").removesuffix("}"), 0
    found: list[tuple[str, Any]] = []
    while at < len(text):
        match = _STEP.match(text, at)
        if not match or match.end() == at:
            return (("name", "\0"),)  # a path that cannot be read finds nothing
        if match["name"] is not None:
            found.append(("name", re.sub(r"\\(.)", r"\1", match["name"])))
        elif match["quoted"] is not None:
            found.append(("name", match["quoted"]))
        elif match["index"] is not None:
            found.append(("index", int(match["index"])))
        elif match["all"]:
            found.append(("all", None))
        else:
            found.append(("filter", (match["key"], match["value"])))
        at = match.end()
    return tuple(found)


def find(obj: Any, path: str) -> list[Any]:
    """Everything that a path leads to."""
    values = [obj]
    for kind, step in _steps(path):
        found: list[Any] = []
        for value in values:
            match kind, value:
                case "name", dict() if step in value:
                    found.append(value[step])
                case "index", list() if -len(value) <= step < len(value):
                    found.append(value[step])
                case "all", list():
                    found += value
                case "all", dict():
                    found += value.values()
                case "filter", list():
                    key, wanted = step
                    found += [v for v in value if isinstance(v, dict) and str(v.get(key)) == wanted]
                case _:
                    pass
        values = found
    return values
