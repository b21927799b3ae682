"""graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netlab.base.errors import InputError
from netlab.cli import output
from netlab.cli.lab.common import engine, lab_argument, lab_of, on_clusters

if TYPE_CHECKING:
    from netlab.lab.graph import End, Graph

FORMATS = ("text", "mermaid", "svg", "dot")
#: how a file is called -> the format that is meant, unless --format says otherwise
SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid"}


@click.command(
    epilog=output.examples(
        "netlab lab graph docker0",
        "netlab lab graph docker0 -o docker0.svg      # laid out by graphviz",
        "netlab lab graph docker0 --format mermaid    # for Markdown",
        "netlab lab graph docker0 --live -o now.svg   # in red what is not as it should be",
    )
)
@lab_argument
@click.option("--format", "language", type=click.Choice(FORMATS), help="By default text, or what FILE's name says.")
@click.option("-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write to FILE.")
@click.option("--live", is_flag=True, help="Mark the devices that are not as they should be; the lab must be up.")
@output.json_option
def graph(lab: str, language: str | None, file: Path | None, live: bool, as_json: bool) -> None:
    """Draw a lab: nodes, bridges, containers, addresses, ports. Needs neither root nor the lab to be up."""
    from netlab.lab.graph import picture

    definition = lab_of(lab)
    if definition.on_cluster and live:
        raise InputError("--live compares with lab.yaml, and of a cluster's networks that says nothing")
    topology = on_clusters().topology(definition) if definition.on_cluster else definition.topology
    drawn = picture(topology, broken=_broken(definition.name) if live else ())
    if as_json:
        output.emit_json(drawn)
        return
    text = _written(drawn, language or SUFFIXES.get(file.suffix if file else "", "text"))
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as e:
        raise InputError(f"{file} cannot be written: {e.strerror}") from e


def _written(drawn: Graph, language: str) -> str:
    if language == "text":
        from netlab.lab.graph.text import text

        return text(drawn)
    if language == "mermaid":
        from netlab.lab.graph.mermaid import mermaid

        return mermaid(drawn)
    from netlab.lab.graph.dot import dot

    return engine().machine.draw(dot(drawn)) if language == "svg" else dot(drawn)


def _broken(name: str) -> set[End]:
    """Devices that the engine would have to mend, or whose addresses or routes it would."""
    from netlab.model import Link, Route
    from netlab.model.state import device_of

    e = engine()
    places = {netns: place for place, netns in reversed(e.record(name).places.items())}
    found: set[End] = set()
    for netns, ops in e.drift(name).mend.items():
        for item in (op.item for op in ops):
            names = {item.name} if isinstance(item, Link) else item.devices if isinstance(item, Route) else set()
            found |= {(places[netns], device) for device in {*names, device_of(item)} if device}
    return found
