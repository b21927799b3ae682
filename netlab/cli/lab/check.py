"""check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netlab.base.errors import EXIT_FAILED
from netlab.cli import output
from netlab.cli.lab.common import engine, lab_argument, lab_of, on_clusters

if TYPE_CHECKING:
    from netlab.lab.checks import Result

COLOURS = {"passed": "green", "failed": "red", "unprobed": "yellow"}
WORDS = {"passed": "passed", "failed": "FAILED", "unprobed": "could not probe"}


@click.command(
    epilog=output.examples(
        "netlab lab check docker0",
        "netlab lab check docker0 -k masquerade      # only the checks whose name has that in it",
        "netlab lab check docker0 --json | jq '.[] | select(.outcome != \"passed\")'",
    )
)
@lab_argument
@click.option("-k", "only", metavar="TEXT", default="", help="Only checks with TEXT in their name.")
@output.json_option
@click.pass_context
def check(ctx: click.Context, lab: str, only: str, as_json: bool) -> None:
    """Run a lab's checks. Exit status 1 if one failed or could not be probed."""
    from netlab.lab.checks import Context, run_all
    from netlab.lab.checks.run import title

    e = engine()
    e.machine.require_root()
    definition = lab_of(lab)
    context = (
        on_clusters().context(definition)
        if definition.on_cluster
        else Context(e.machine, e.record(definition.name), definition.topology)
    )
    chosen = [(i, c) for i, c in enumerate(definition.file.checks) if only.lower() in title(c).lower()]

    def place(i: int) -> str:
        return definition.document.place(("checks", chosen[i][0]))

    with output.progress("checks", len(chosen)) as bar:
        results = run_all([c for _, c in chosen], context, place=place, done=lambda _r: bar.advance())
    if as_json:
        output.emit_json(results)
    else:
        _print(results)
    if any(r.outcome != "passed" for r in results):
        ctx.exit(EXIT_FAILED)


def _print(results: list[Result]) -> None:
    width = max((len(WORDS[r.outcome]) for r in results), default=0)
    for r in results:
        mark = output.style(WORDS[r.outcome].ljust(width), COLOURS[r.outcome])
        click.echo(f"{mark}  {r.name}")
        if r.outcome != "passed":
            click.echo(f"{'':{width}}  {r.detail}  [{r.place}]")
            if r.hint:
                click.echo(f"{'':{width}}  hint: {r.hint}")
        elif "hops" in r.more:
            for hop in r.more["hops"]:
                click.echo(f"{'':{width}}    {hop}")
    counts = {o: sum(r.outcome == o for r in results) for o in WORDS}
    click.echo(", ".join(f"{n} {WORDS[o]}" for o, n in counts.items() if n) or "no checks")
