"""How every verb prints: tables, JSON, progress and colour, for a person at a terminal and for a pipe.

A terminal gets rich tables, colour and progress; a pipe gets aligned text and nothing else. NO_COLOR is honoured
(no-color.org). rich and orjson are imported by the first use: `netlab --help` must not pay for them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

import click

if TYPE_CHECKING:
    import rich.progress

Command = TypeVar("Command", bound=Callable[..., Any])

#: seconds before a progress bar appears: what is done sooner needs none
PROGRESS_DELAY = 0.3
#: seconds between two drawings of it
PROGRESS_INTERVAL = 0.1

_JSON_MODE = "netlab.json"


class Styled(NamedTuple):
    """A table cell in one colour (`green`, `red`, `yellow`, `dim` …); in a pipe it is its text."""

    text: str
    style: str


def colours(stream: TextIO) -> bool:
    """Whether `stream` may get colour: a terminal that is not dumb, and NO_COLOR unset or empty."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def style(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in `colour` (click's names) if `stream` (stdout) may get colour."""
    return click.style(text, fg=colour) if colours(stream or sys.stdout) else text


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under column names. Cells are printed by str(), or are Styled; None is an empty cell."""
    if sys.stdout.isatty():
        _rich_table(columns, rows, title=title)
        return
    lines = [list(columns), *([" ".join(_text(cell).split("\n")) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    if title:
        click.echo(title)
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(cell: object) -> str:
    return cell.text if isinstance(cell, Styled) else "" if cell is None else str(cell)


def _rich_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        # Text, not str: a name in square brackets is no markup.
        grid.add_row(*(Text(_text(cell), style=cell.style if isinstance(cell, Styled) else "") for cell in row))
    Console(file=sys.stdout, highlight=False).print(grid)


def note(message: str) -> None:
    """A remark for the person, on stderr: it never mixes with what a pipe reads."""
    click.echo(message, err=True)


def emit_json(value: object) -> None:
    """Print `value` as indented JSON: dataclasses, named tuples, sets (sorted), addresses, paths, enums included."""
    import orjson

    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    click.echo(text)


def _plain(value: object) -> object:
    """What orjson does not know, as something that it does. TypeError if there is no plain form."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, Set):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, os.PathLike) or type(value).__module__ == "ipaddress":
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class Progress:
    """Counts steps, and draws a bar on stderr once the work has taken PROGRESS_DELAY. Made by `progress`.

    It draws only when told of a step: no thread, so that namespaces can be entered and children forked meanwhile.
    """

    def __init__(self, description: str, total: int | None, *, visible: bool, clock: Callable[[], float]) -> None:
        self.description, self.total, self.done = description, total, 0
        self._visible, self._clock = visible, clock
        self._next_drawing = clock() + PROGRESS_DELAY
        self._bar: rich.progress.Progress | None = None

    def advance(self, steps: int = 1, *, description: str | None = None) -> None:
        """`steps` more are done; `description` says what is next."""
        self.done += steps
        self.description = description or self.description
        if self._visible and self._clock() >= self._next_drawing:
            self._draw()
            self._next_drawing = self._clock() + PROGRESS_INTERVAL

    def _draw(self) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(file=sys.stderr), transient=True, auto_refresh=False)
            self._bar.add_task(self.description, total=self.total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self.done, description=self.description, refresh=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


@contextlib.contextmanager
def progress(
    description: str, total: int | None = None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """A Progress for the body; a bar shows only on a terminal, only for what takes long, and goes at the end."""
    shown = Progress(description, total, visible=sys.stderr.isatty() and os.environ.get("TERM") != "dumb", clock=clock)
    try:
        yield shown
    finally:
        shown.close()


def json_option(command: Command) -> Command:
    """Give a verb `--json`, as its parameter `as_json`. Errors of that verb are then printed as JSON, too."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,  # before the others, whose errors have to know
        callback=_remember_json_mode,
        help="Print JSON.",
    )(command)


def _remember_json_mode(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.meta[_JSON_MODE] = value
    return value


def json_mode(ctx: click.Context) -> bool:
    """Whether the running verb was given --json. click shares `meta` among a context and its children."""
    return bool(ctx.meta.get(_JSON_MODE))


def examples(*lines: str) -> str:
    """A verb's epilog: `@click.command(epilog=examples("netlab lab up docker0  # …"))`. Every verb has one."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))  # \b: click keeps the lines as they are
