"""explain, drift, script, schema: the lab in words and commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netlab.base.errors import EXIT_FAILED, InputError
from netlab.cli import output
from netlab.cli.lab.common import engine, lab_argument, lab_of, running_name, store_option, with_store

if TYPE_CHECKING:
    from netlab.lab.labfile import Lab
    from netlab.model.explain import Section, Step

#: a line longer than this has its reason above it
WIDTH = 110


@click.command(
    epilog=output.examples(
        "netlab lab explain docker0                    # every command, with the line that asked for it",
        "netlab lab explain docker0 node1              # one node",
        "netlab lab explain docker0 node1 MASQUERADE   # why is this rule here?",
    )
)
@lab_argument
@click.argument("node", required=False)
@click.argument("text", required=False)
@click.option(
    "--style", type=click.Choice(["lines", "restore"]), default="lines", help="iptables: line by line, or one block."
)
@output.json_option
def explain(lab: str, node: str | None, text: str | None, style: str, as_json: bool) -> None:
    """Print the lab as the commands that a person would type, each with the object or line that asked for it.

    NODE limits it to one node or container, TEXT to commands that contain it.
    """
    from netlab.model.explain import Section, sections

    definition = lab_of(lab)
    chosen = sections(definition.whole, style="restore" if style == "restore" else "lines")
    if node is not None:
        netns = _netns(definition, node)
        chosen = [s for s in chosen if s.title == f"node {netns}" or not s.title.startswith("node ")]
        chosen = [Section(s.title, tuple(x for x in s.steps if _concerns(x, netns))) for s in chosen]
    if text is not None:
        chosen = [Section(s.title, tuple(x for x in s.steps if text in x[1].shell(x[0]))) for s in chosen]
    chosen = [s for s in chosen if s.steps]
    if as_json:
        output.emit_json([_step(step) for section in chosen for step in section.steps])
        return
    if not chosen:
        raise InputError(f"no command of lab {definition.name!r} contains {text!r}")
    _print(chosen)


def _netns(definition: Lab, node: str) -> str:
    import difflib

    names = definition.topology.by_name
    if node not in names:
        close = difflib.get_close_matches(node, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
        raise InputError(f"lab {definition.name!r} has no node or container {node!r}", hint=hint)
    return definition.topology.netns(node)


def _concerns(step: Step, netns: str) -> bool:
    return step[0] == netns or netns in step[1].argv


def _step(step: Step) -> dict[str, object]:
    netns, command = step
    return {"netns": netns, "command": command.inside(netns), "stdin": command.stdin, "why": command.why}


def _print(sections: Iterable[Section]) -> None:
    for i, section in enumerate(sections):
        if i:
            click.echo()
        click.echo(output.style(f"# {section.title}", "cyan"))
        for netns, command in section.steps:
            line, why = command.shell(netns), command.why
            remark = output.style(f"# {why}", "bright_black") if why else ""
            if not why:
                click.echo(line)
            elif len(line) + len(why) + 4 <= WIDTH and "\n" not in line:
                click.echo(f"{line.ljust(70)}  {remark}")
            else:
                click.echo(f"{remark}\n{line}")


def print_plan(definition: Lab, *, as_json: bool) -> None:
    """`up --dry-run`: what `up` would do now; for a lab that is not up, everything."""
    from netlab.lab.engine import owner
    from netlab.model.explain import plan_sections, sections

    e = engine()
    journal = e.journal(definition.name)
    record = journal.read()
    if record is None:
        chosen = sections(definition.states)
    else:
        plans = e.network(journal, record).plan_all(owner(definition.name), definition.states)
        missing = [ns for ns in record.namespaces if ns not in e.machine.namespaces()]
        chosen = plan_sections(plans, new=missing)
    if as_json:
        output.emit_json([_step(step) for section in chosen for step in section.steps])
    elif chosen:
        _print(chosen)
    else:
        click.echo(f"lab {definition.name} is as it should be: nothing to do")


@click.command(epilog=output.examples("netlab lab drift docker0", "netlab lab drift docker0 --json"))
@lab_argument
@output.json_option
@click.pass_context
def drift(ctx: click.Context, lab: str, as_json: bool) -> None:
    """Compare a lab that is up with what was asked for. Exit status 1 if it differs.

    Shows the commands that would mend it (`netlab lab up` runs them), and what is there that nobody asked for.
    """
    from netlab.model.explain import plan_sections

    name = running_name(lab)
    e = engine()
    found = e.drift(name)
    missing = [ns for ns in e.record(name).namespaces if ns not in e.machine.namespaces()]
    mending = plan_sections(found.mend, new=missing)
    if as_json:
        mend = [_step(step) for section in mending for step in section.steps]
        strangers = {ns: [str(item) for item in items] for ns, items in found.strangers.items()}
        output.emit_json({"name": name, "clean": found.clean, "mend": mend, "strangers": strangers})
    elif found.clean:
        click.echo(f"{output.style('clean', 'green')}  {name} is exactly as it was asked for")
    else:
        if found.mend:
            click.echo(f"{output.style('missing or changed', 'red')}; `netlab lab up {name}` would run:\n")
            _print(mending)
        if found.strangers:
            click.echo(f"\n{output.style('nobody asked for', 'yellow')}, and `up` leaves it alone:\n")
            for ns, items in found.strangers.items():
                for item in items:
                    click.echo(f"  {ns}: {item}")
    if not found.clean:
        ctx.exit(EXIT_FAILED)


@click.command(
    epilog=output.examples(
        "netlab lab script docker0 > docker0.sh && sudo sh docker0.sh up",
        "netlab lab script docker0 -o scripts/labs/docker0.sh",
    )
)
@lab_argument
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@store_option
@output.json_option
def script(lab: str, file: Path | None, store: str | None, as_json: bool) -> None:
    """Print the lab as one commented shell script of plain ip, bridge, sysctl and iptables: the toolkit taken away."""
    from netlab.lab.scripts import lab_script

    # whatever the lab was brought up with: the script is that of the file
    definition = with_store(lab, store or "embedded")
    text = lab_script(definition)
    if as_json:
        output.emit_json({"name": definition.name, "script": text})
    elif file is None:
        click.echo(text, nl=False)
    else:
        try:
            file.write_text(text)
        except OSError as e:
            raise InputError(f"{file} cannot be written: {e.strerror}") from e


@click.command(
    epilog=output.examples("netlab lab schema > lab.schema.json   # for an editor that checks YAML by schema")
)
@output.json_option
def schema(as_json: bool) -> None:
    """Print the JSON schema of lab.yaml."""
    from netlab.lab.schema_file import LabFile

    output.emit_json(LabFile.model_json_schema())
