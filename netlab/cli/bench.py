"""`netlab bench …`: how fast netlab is beside the tools that it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netlab.cli import output

if TYPE_CHECKING:
    from netlab.daemons.bench import Report, Size

PHASES = {
    "up": "up, the whole command",
    "network": "of which from the value on",
    "again": "up again, nothing to do",
    "down": "down",
    "freed": "then until the kernel is done",
    "whole": "up and down",
    "completed": "by its own words",
}
NAMES = {"netlab": "netlab", "ip": "ip -batch", "mininet": "Mininet"}


@click.group(epilog=output.examples("sudo netlab bench topology --hosts 100 --hosts 1000"))
def bench() -> None:
    """Measure netlab beside the tools it is compared with."""


@bench.command(
    epilog=output.examples(
        "sudo netlab bench topology                             # 100 hosts on one bridge",
        "sudo netlab bench topology --hosts 100 --hosts 1000    # and how the time grows",
        "sudo netlab bench topology --json | jq '.sizes[0].ratios'",
    )
)
@click.option(
    "--hosts", "sizes", type=click.IntRange(1, 50_000), multiple=True, default=(100,), show_default="100",
    metavar="N", help="Hosts, on one bridge per 1,000. Give it several times to compare sizes.",
)  # fmt: skip
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N", help="Turns of each contender."
)
@click.option("--mininet/--no-mininet", default=True, help="Whether Mininet takes part, if it is installed.")
@output.json_option
def topology(sizes: tuple[int, ...], repeat: int, mininet: bool, as_json: bool) -> None:
    """Hosts on bridges, up and down: netlab, `ip -batch` (the floor) and Mininet in turns, as whole processes.

    Prints medians. The kernel frees namespaces after the command that removed them has returned; how long that takes
    is a line of its own, and no turn starts before.
    """
    from netlab.daemons import bench as measuring

    total = measuring.turns(sizes, repeat, mininet=mininet)
    with output.progress("bench topology", total) as bar:
        report = measuring.run(
            sizes, repeat, mininet=mininet, tell=lambda what, done: bar.advance(done, description=what)
        )
    if as_json:
        output.emit_json(report.as_json())
        return
    for size in report.sizes:
        show(size, report)
    rows = [
        (
            output.Styled("met", "green") if t.met else output.Styled("missed", "yellow"),
            t.what,
            f"{t.value:.2f}",
            f"{t.limit:g}",
        )
        for t in report.targets()
    ]
    output.table(("target", "what", "value", "limit"), rows)


def show(size: Size, report: Report) -> None:
    """One size as a table."""
    rows = []
    for name, phases in size.figures.items():
        for phase, figures in phases.items():
            wall, cpu, rss = (figures.get(what) for what in ("wall", "cpu", "rss"))
            assert wall is not None
            ratios = [size.ratio(phase, other, contender=name) for other in ("ip", "mininet")]
            rows.append((
                NAMES[name], PHASES[phase], f"{wall.median:.3f}", f"{min(wall.samples):.3f}..{max(wall.samples):.3f}",
                f"{cpu.median:.3f}" if cpu else "", f"{rss.median / 1e6:.0f}" if rss else "",
                *("" if r is None else f"{r:.2f}" for r in ratios),
            ))  # fmt: skip
    growth = report.growth(size)
    grown = f", {growth:.1f} times as long as {report.sizes[0].hosts}" if growth and size is not report.sizes[0] else ""
    columns = ("by", "what", "s", "min..max", "cpu s", "peak MB", "/ ip -batch", "/ Mininet")
    output.table(columns, rows, title=f"{size.hosts} hosts, median of {report.repeat}{grown}")
    for name, why in size.absent.items():
        click.echo(f"{NAMES[name]}: {why}")
    click.echo()


@bench.command(
    epilog=output.examples(
        "sudo netlab bench bgp                                  # 10,000 routes",
        "sudo netlab bench bgp --routes 10000 --routes 100000   # and how the time grows",
        "sudo netlab bench bgp --routes 100000 --json | jq '.[].median'",
    )
)
@click.option(
    "--routes", "sizes", type=click.IntRange(1, 1_000_000), multiple=True, default=(10_000,), show_default="10000",
    metavar="N", help="Routes. Give it several times to compare sizes.",
)  # fmt: skip
@click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N", help="Turns of each.")
@click.option("--bird/--no-bird", default=True, help="Whether BIRD announces, too, if it is installed.")
@output.json_option
def bgp(sizes: tuple[int, ...], repeat: int, bird: bool, as_json: bool) -> None:
    """Routes into a bgpd: from a generator and from BIRD, to its table and to the kernel; memory; sessions at rest.

    Prints medians. Everything happens in namespaces that it makes and removes.
    """
    from netlab.daemons import bgpbench as measuring

    with output.progress("bench bgp", measuring.turns(sizes, repeat, bird=bird)) as bar:
        found = measuring.run(sizes, repeat, bird=bird, tell=lambda what, done: bar.advance(done, description=what))
    if as_json:
        output.emit_json([m.as_json() for m in found])
        return
    rows = []
    for m in found:
        for name, value in m.as_json()["median"].items():
            shown = f"{value / 1e6:.0f} MB" if name.endswith("bytes") else f"{value:.2f}"
            rows.append((m.routes or "", m.source, name.removesuffix(", bytes"), shown))
        if m.absent:
            rows.append((m.routes, m.source, m.absent, ""))
    output.table(("routes", "from", "what", "median"), rows)
