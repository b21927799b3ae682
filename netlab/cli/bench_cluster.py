"""`netlab bench cluster`: what a whole cluster takes."""

from __future__ import annotations

from pathlib import Path

import click

from netlab.cli import output

PHASES = {"nodes": "nodes join", "running": "pods created to Running", "deleted": "pods deleted"}


@click.command(
    epilog=output.examples(
        "netlab bench cluster --simulated                          # 1,000 nodes, 10,000 pods",
        "netlab bench cluster --simulated --nodes 100 --pods 1000",
        "netlab bench cluster --simulated --json | jq .targets",
    )
)
@click.option("--simulated", is_flag=True, help="Nodes that do at the API server what nodes do, and run nothing.")
@click.option("--nodes", type=click.IntRange(1, 4096), default=1000, show_default=True, metavar="N", help="Nodes.")
@click.option("--pods", type=click.IntRange(1, 100_000), default=10_000, show_default=True, metavar="N", help="Pods.")
@click.option(
    "--store", type=click.Choice(["sqlite", "memory"]), default="sqlite", show_default=True, help="Of the API server."
)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("/var/tmp"),
    show_default=True, help="On the disk that the store is to use.",
)  # fmt: skip
@output.json_option
def cluster(simulated: bool, nodes: int, pods: int, store: str, directory: Path, as_json: bool) -> None:
    """A control plane with simulated nodes: how long until all pods of its Deployments run, and until they are gone.

    API server, controllers and scheduler are processes of their own; the nodes are all in the process that measures.
    """
    if not simulated:
        raise click.UsageError("only --simulated nodes can be measured")
    from netlab.daemons import bench_simulated as measuring

    with output.progress("bench cluster", len(PHASES)) as bar:
        report = measuring.run(
            nodes, pods, store=store, folder=directory, tell=lambda what: bar.advance(1, description=PHASES[what])
        )
    if as_json:
        output.emit_json(report.as_json())
        return
    who = list(report.cpu["running"])
    rows = [
        (PHASES[phase], f"{seconds:.1f}", *(f"{report.cpu[phase][name]:.1f}" for name in who))
        for phase, seconds in report.seconds.items()
    ]
    title = f"{nodes} simulated nodes, {pods} pods, load {report.machine['load'][0]}"
    output.table(("phase", "s", *(f"{name}, CPU s" for name in who)), rows, title=title)
    for name, size in report.rss.items():
        click.echo(f"{name}: {size / 1e6:.0f} MB")
    from netlab.cli.bench import show_targets

    show_targets(report.targets())
