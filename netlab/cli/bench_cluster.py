"""`netlab bench cluster`: what a whole cluster takes."""

from __future__ import annotations

from pathlib import Path

import click

from netlab.cli import output

PHASES = {"nodes": "nodes join", "running": "pods created to Running", "deleted": "pods deleted"}


#: of a real cluster
REAL = {
    "up": "up, all nodes Ready", "running": "a pod, created to Running", "ready": "and to Ready",
    "many": "many pods, created to Ready", "roll": "a Deployment rolled", "gone": "its pods gone", "down": "down",
}  # fmt: skip


@click.command(
    epilog=output.examples(
        "sudo netlab bench cluster                                 # 3 nodes, 100 pods",
        "sudo netlab bench cluster --repeat 5 --json",
        "netlab bench cluster --simulated                          # 1,000 nodes, 10,000 pods",
        "netlab bench cluster --simulated --nodes 100 --pods 1000",
    )
)
@click.option("--simulated", is_flag=True, help="Nodes that do at the API server what nodes do, and run nothing.")
@click.option("--nodes", type=click.IntRange(1, 4096), metavar="N", help="Nodes.  [default: 3; 1000 simulated]")
@click.option("--pods", type=click.IntRange(1, 100_000), metavar="N", help="Pods.  [default: 100; 10000 simulated]")
@click.option("--repeat", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N",
              help="How often a real cluster is brought up.")  # fmt: skip
@click.option("--network", type=click.Choice(["flannel-vxlan", "flannel-udp", "flannel-host-gw", "calico"]),
              default="flannel-vxlan", show_default=True, help="Of a real cluster.")  # fmt: skip
@click.option(
    "--store", type=click.Choice(["sqlite", "memory"]), default="sqlite", show_default=True,
    help="Of the simulated cluster's API server.",
)  # fmt: skip
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("/var/tmp"),
    show_default=True, help="On the disk that a simulated cluster's store is to use.",
)  # fmt: skip
@output.json_option
def cluster(
    simulated: bool, nodes: int | None, pods: int | None, repeat: int, network: str, store: str, directory: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """How long a cluster takes to come up, its pods to run, and what it needs at rest; and how large it may be.

    A real one has nodes made of namespaces, and containers. With --simulated API server, controllers and scheduler are
    processes of their own, and the nodes are all in the process that measures.
    """
    if not simulated:
        _real(nodes or 3, pods or 100, repeat, network, as_json=as_json)
        return
    nodes, pods = nodes or 1000, pods or 10_000
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


def _real(nodes: int, pods: int, repeat: int, network: str, *, as_json: bool) -> None:
    from netlab.cli.bench import show_targets
    from netlab.daemons import bench_cluster as measuring

    with output.progress("bench cluster", None) as bar:
        report = measuring.run(
            nodes, pods, repeat=repeat, options=("--network", network),
            tell=lambda what: bar.advance(1, description=what),
        )  # fmt: skip
    if as_json:
        output.emit_json(report.as_json())
        return
    rows = [(REAL[phase], f"{report.median(phase):.2f}", len(report.seconds[phase])) for phase in REAL]
    output.table(
        ("phase", "s, median", "of"), rows, title=f"{nodes} nodes, {pods} pods, load {report.machine['load'][0]}"
    )
    for who, size in report.memory.items():
        click.echo(f"{who}: {size / 1e6:.0f} MB")
    show_targets(report.targets())
