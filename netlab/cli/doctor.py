"""`netlab doctor`: what this machine can do."""

from __future__ import annotations

import click

from netlab.base.errors import EXIT_MACHINE
from netlab.cli import output

COLOURS = {"ok": "green", "missing": "yellow", "required": "red"}


@click.command(
    epilog=output.examples(
        "sudo netlab doctor",
        "sudo netlab doctor --json | jq '.features[] | select(.status != \"ok\")'",
    )
)
@output.json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Try everything that labs use, and say what is missing and what brings it.

    Each feature is tried in a namespace made for the trial. Status: ok; missing, some labs need it; required, nothing
    works without it. The exit status is 3 if anything required is missing.
    """
    from netlab.kernel import probe

    features = probe.survey()
    lacking = [f for f in features if f.status == "required"]
    if as_json:
        shown = [
            {"name": f.name, "status": f.status, "required": f.required, "detail": f.detail, "hint": f.hint}
            for f in features
        ]
        output.emit_json({"ok": not lacking, "features": shown})
    else:
        rows = [(output.Styled(f.status, COLOURS[f.status]), f.name, f.detail, f.hint) for f in features]
        output.table(("status", "feature", "detail", "what brings it"), rows)
        if lacking:
            output.note(f"required, and missing: {', '.join(f.name for f in lacking)}")
    ctx.exit(EXIT_MACHINE if lacking else 0)
