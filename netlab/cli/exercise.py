"""`netlab exercise …`: exercises on a lab."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from netlab.base.errors import EXIT_FAILED
from netlab.cli import output
from netlab.cli.completing import lab_dirs
from netlab.cli.lab.common import engine, lab_argument, lab_of, on_clusters

if TYPE_CHECKING:
    from netlab.lab.exercises.book import Book
    from netlab.lab.exercises.runner import Exercises, Grade

COLOURS = {"passed": "green", "failed": "red", "unprobed": "yellow", "waiting": "bright_black"}
WORDS = {"passed": "passed", "failed": "not yet", "unprobed": "could not probe", "waiting": "later"}
_ID = re.compile(r"^\s*- id:\s*([-a-z0-9]+)", re.MULTILINE)


def complete_id(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For `shell_complete=`: the ids of the lab that was typed before. Reads the file as text; TAB cannot wait."""
    lab = str(ctx.params.get("lab") or "")
    for folder in [Path(lab), *(directory / lab for directory in lab_dirs())]:
        file = folder / "exercise.yaml"
        if lab and file.is_file():
            return [CompletionItem(i) for i in _ID.findall(file.read_text()) if i.startswith(incomplete)]
    return []


@click.group(
    epilog=output.examples(
        "netlab exercise list docker0",
        "netlab exercise start docker0 gateway",
        "netlab exercise hint docker0",
        "netlab exercise check docker0",
        "netlab exercise solve docker0 --dry-run    # the commands that mend it",
    )
)
def exercise() -> None:
    """Exercises on a lab: find out what is wrong and mend it, build it by hand, read it off the packets."""


def _book(lab: str) -> Book:
    from netlab.lab.exercises.book import Book

    return Book.of(lab_of(lab))


def _exercises(lab: str) -> Exercises:
    return _runner(_book(lab))


def _runner(book: Book) -> Exercises:
    """Who starts and grades them."""
    if book.lab.on_cluster:
        from netlab.daemons.labexercises import ClusterExercises

        return ClusterExercises(engine(), book, on_clusters())
    from netlab.lab.exercises.runner import Exercises

    return Exercises(engine(), book)


@exercise.command(
    "list",
    epilog=output.examples("netlab exercise list", "netlab exercise list docker0", "netlab exercise list --json"),
)
@click.argument("lab", metavar="[LAB]", required=False)
@output.json_option
def list_exercises(lab: str | None, as_json: bool) -> None:
    """The exercises of a lab, or of all labs, and which is being done."""
    from netlab.lab.exercises.book import FILE, Book
    from netlab.lab.labfile import Lab, available

    labs = [lab_of(lab)] if lab else [Lab(path) for path in available().values() if (path.parent / FILE).is_file()]
    rows: list[dict[str, Any]] = []
    for each in labs:
        book = Book.of(each)
        running = _runner(book).running()
        for e in book.exercises:
            now = "" if running is None or running.id != e.id else "solved" if running.solved else "running"
            rows.append(
                {"lab": each.name, "id": e.id, "level": e.level, "kind": e.kind, "title": e.title, "about": e.about,
                 "state": now}
            )  # fmt: skip
    if as_json:
        output.emit_json(rows)
        return
    cells = [
        (r["lab"], r["id"], "*" * r["level"], r["kind"], r["title"], output.Styled(r["state"], "green")) for r in rows
    ]
    output.table(("lab", "exercise", "level", "kind", "title", ""), cells)


@exercise.command(
    epilog=output.examples(
        "netlab exercise start docker0 gateway",
        "netlab exercise start docker0 forward --force    # though another one is running",
    )
)
@lab_argument
@click.argument("ident", metavar="ID", shell_complete=complete_id)
@click.option("--force", is_flag=True, help="Start it though another exercise is running.")
@output.json_option
def start(lab: str, ident: str, force: bool, as_json: bool) -> None:
    """Start an exercise: break the lab, or clear the ground. Brings the lab up if it is not."""
    done = _exercises(lab).start(ident, force=force)
    e = done.exercise
    if as_json:
        shown = {"id": e.id, "title": e.title, "kind": e.kind, "task": e.task, "hints": len(e.hints)}
        output.emit_json({**shown, "brought_up": done.brought_up, "removed": done.removed})
        return
    _removed(done.removed)
    click.echo(f"{output.style(e.title, 'cyan')}  ({e.kind}, {'*' * e.level})\n\n{e.task.strip()}\n")
    if e.questions:
        click.echo(f"{e.questions[0].ask}\n")
    click.echo(f"netlab exercise hint {lab}    netlab exercise check {lab}{_option(done.exercise)}")


def _option(e: Any) -> str:
    return " --answer TEXT" if e.questions else " --pcap FILE" if e.pcap else ""


def _removed(words: tuple[str, ...]) -> None:
    for stranger in words:
        output.note(f"removed, as nobody asked for it: {stranger}")


@exercise.command(epilog=output.examples("netlab exercise hint docker0"))
@lab_argument
@output.json_option
def hint(lab: str, as_json: bool) -> None:
    """The next hint of the running exercise."""
    given = _exercises(lab).hint()
    if as_json:
        output.emit_json(given)
    elif given.text is None:
        click.echo(f"there are no more hints; the commands that mend it: netlab exercise solve {lab} --dry-run")
    else:
        click.echo(f"{output.style(f'hint {given.number} of {given.total}', 'cyan')}\n{given.text.strip()}")


@exercise.command(
    epilog=output.examples(
        "netlab exercise check docker0",
        "netlab exercise check docker0 arp --answer 02:42:ac:11:00:03",
        "netlab exercise check docker0 flood --pcap flood.pcapng",
    )
)
@lab_argument
@click.argument("ident", metavar="[ID]", required=False, shell_complete=complete_id)
@click.option("--answer", metavar="TEXT", help="The answer to the question that was asked.")
@click.option(
    "--pcap", "file", metavar="FILE", type=click.Path(path_type=Path), help="What `netlab lab capture -w` wrote."
)
@output.json_option
@click.pass_context
def check(
    ctx: click.Context, lab: str, ident: str | None, answer: str | None, file: Path | None, as_json: bool
) -> None:
    """Grade the running exercise, or the capture exercise ID. Exit status 1 if it is not done yet."""
    if answer is not None and file is not None:
        raise click.UsageError("give an answer or a file, not both")
    exercises = _exercises(lab)
    with output.progress("checks") as bar:
        grade = exercises.check(ident, answer=answer, pcap=file, done=lambda _r: bar.advance())
    if as_json:
        output.emit_json({"id": grade.exercise.id, "passed": grade.passed, "say": grade.say, "lines": grade.lines})
    else:
        _print(grade, lab)
    if not grade.passed:
        ctx.exit(EXIT_FAILED)


def _print(grade: Grade, lab: str) -> None:
    width = max((len(WORDS[line.outcome]) for line in grade.lines), default=0)
    for line in grade.lines:
        click.echo(f"{output.style(WORDS[line.outcome].ljust(width), COLOURS[line.outcome])}  {line.title}")
        for more in (line.detail, f"hint: {line.hint}" if line.hint else ""):
            if more:
                click.echo(f"{'':{width}}  {more}")
    click.echo(("\n" if grade.lines else "") + output.style(grade.say, "green" if grade.passed else "yellow"))
    if grade.passed:
        click.echo(f"\n{grade.exercise.solution.strip()}\n\nnetlab exercise stop {lab}    puts the lab back as it was")


@exercise.command(
    epilog=output.examples("netlab exercise solve docker0 --dry-run    # only print", "netlab exercise solve docker0")
)
@lab_argument
@click.option("--dry-run", is_flag=True, help="Print the commands, and change nothing.")
@output.json_option
def solve(lab: str, dry_run: bool, as_json: bool) -> None:
    """Print the commands that mend the lab as it is now, run them, and tell why. Ends the exercise."""
    solution = _exercises(lab).solve(dry_run=dry_run)
    if as_json:
        steps = [{"netns": ns, "command": c.inside(ns), "stdin": c.stdin, "why": c.why} for ns, c in solution.steps]
        e = solution.exercise
        output.emit_json({"id": e.id if e else None, "steps": steps, "applied": not dry_run, "starts": solution.starts,
                          "files": [{"path": path, "diff": diff} for path, diff in solution.files],
                          "commands": solution.commands,
                          "solution": e.solution if e else None})  # fmt: skip
        return
    for netns, command in solution.steps:
        click.echo(command.shell(netns))
    for netns, words in solution.starts:
        click.echo(f"ip netns exec {netns} {shlex.join(words)} &")
    for path, diff in solution.files:
        click.echo(f"# {path}\n{diff}")
        click.echo(f"netlab bgp reload --socket {path.removesuffix('.yaml')}.sock")
    for line in solution.commands:
        click.echo(line)
    if not (solution.steps or solution.starts or solution.files or solution.commands):
        click.echo("nothing to mend: the lab is as its file says")
    if solution.exercise:
        click.echo(f"\n{solution.exercise.solution.strip()}")
    if not dry_run:
        _removed(solution.removed)
        click.echo(f"\n{output.style('done', 'green')}: the lab is as its file says")


@exercise.command(epilog=output.examples("netlab exercise reset docker0"))
@lab_argument
@output.json_option
def reset(lab: str, as_json: bool) -> None:
    """Back to the start of the running exercise, whatever was done meanwhile."""
    done = _exercises(lab).reset()
    if as_json:
        output.emit_json({"id": done.exercise.id, "removed": done.removed})
        return
    _removed(done.removed)
    click.echo(f"exercise {done.exercise.id} is at its start again")


@exercise.command(epilog=output.examples("netlab exercise stop docker0"))
@lab_argument
@output.json_option
def stop(lab: str, as_json: bool) -> None:
    """End the running exercise; the lab is as its file says again. Tells nothing of the solution."""
    solution = _exercises(lab).solve()
    ident = solution.exercise.id if solution.exercise else None
    if as_json:
        output.emit_json({"id": ident, "removed": solution.removed})
        return
    _removed(solution.removed)
    click.echo("the exercise is over, and the lab as its file says")


@exercise.command(epilog=output.examples("netlab exercise text docker0", "netlab exercise text docker0 | less"))
@lab_argument
@output.json_option
def text(lab: str, as_json: bool) -> None:
    """The lab's story to read along: what to type, what to see, questions with their answers."""
    story = _book(lab).text()
    if as_json:
        output.emit_json({"lab": lab, "text": story})
    elif sys.stdout.isatty():
        click.echo_via_pager(story)
    else:
        click.echo(story, nl=False)
