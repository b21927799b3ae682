"""`netlab bench …`: how fast netlab is beside the tools that it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netlab.cli import output
from netlab.cli.bench_cluster import cluster

if TYPE_CHECKING:
    from netlab.daemons.bench import Report, Size, Target
    from netlab.daemons.bench_rules import Row

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


@click.group(
    epilog=output.examples("sudo netlab bench topology --hosts 100 --hosts 1000", "sudo netlab bench overlays")
)
def bench() -> None:
    """Measure netlab beside the tools it is compared with."""


bench.add_command(cluster)


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
    show_targets(report.targets())


def show_targets(targets: Sequence[Target]) -> None:
    """The promises, kept or not."""
    rows = [
        (
            output.Styled("met", "green") if t.met else output.Styled("missed", "yellow"),
            t.what,
            f"{t.value:.2f}",
            f"{t.limit:g}",
        )
        for t in targets
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


@bench.command(
    epilog=output.examples(
        "sudo netlab bench overlays                          # all backends, five turns of each",
        "sudo netlab bench overlays --only udp --seconds 5   # and the underlay, which is always measured",
        "sudo netlab bench overlays --plot overlays.svg",
    )
)
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N", help="Turns of each contender."
)
@click.option(
    "--seconds", type=click.FloatRange(0.5, 600), default=2, show_default=True, help="Of each throughput in a turn."
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this contender, beside the underlay; repeatable.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw it: svg, png, pdf.")
@output.json_option
def overlays(repeat: int, seconds: float, only: tuple[str, ...], plot: Path | None, as_json: bool) -> None:
    """flannel's backends beside the wire below them: TCP in one flow and in eight, small packets, round trips.

    Two nodes with a container each for every contender, all in one run, in turns; medians, and ratios to the underlay.
    """
    from netlab.daemons import bench_overlays as measuring

    known = [kind.name for kind in measuring.KINDS]
    for name in only:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--only")
    with output.progress("bench overlays", measuring.turns(repeat, only)) as bar:
        report = measuring.run(repeat, seconds, only, tell=lambda what, done: bar.advance(done, description=what))
    if plot is not None:
        measuring.plot(report, plot)
    if as_json:
        output.emit_json(report.as_json())
        return
    for metric, (title, unit, scale) in measuring.METRICS.items():
        rows = []
        for name, figures in report.figures.items():
            figure, ratio = figures[metric], report.ratio(name, metric)
            span = f"{min(figure.samples) * scale:.4g}..{max(figure.samples) * scale:.4g}"
            rows.append((name, f"{figure.median * scale:.4g}", span, "" if ratio is None else f"{ratio:.3f}"))
        output.table((title, unit, "min..max", "/ underlay"), rows)
        click.echo()
    for name, why in report.absent.items():
        click.echo(f"{name}: {why}")
    show_targets(report.targets())


@bench.command(
    epilog=output.examples(
        "sudo netlab bench leases                       # 1,000 leases, each backend",
        "sudo netlab bench leases --leases 10000 --repeat 1 --backend vxlan",
    )
)
@click.option(
    "--leases", "count", type=click.IntRange(1, 60_000), default=1000, show_default=True, metavar="N", help="How many."
)
@click.option("--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N", help="Turns.")
@click.option(
    "--backend", "backends", multiple=True, type=click.Choice(["vxlan", "host-gw", "udp"]), help="Only it; repeatable."
)
@output.json_option
def leases(count: int, repeat: int, backends: tuple[str, ...], as_json: bool) -> None:
    """How long a flanneld takes to follow its store: many leases written at once, then one more.

    From the first write to the last entry in the kernel (udp: to flanneld's word that its data path knows them).
    """
    from netlab.daemons import bench_leases as measuring

    chosen = backends or measuring.BACKENDS
    with output.progress("bench leases", repeat * len(chosen)) as bar:
        report = measuring.run(count, repeat, chosen, tell=lambda what, done: bar.advance(done, description=what))
    if as_json:
        output.emit_json(report.as_json())
        return
    rows = [
        (
            backend, f"{f['all'].median:.3f}", f"{f['one'].median * 1000:.1f}", f"{f['cpu'].median:.2f}",
            f"{f['rss'].median / 1e6:.0f}",
        )
        for backend, f in report.figures.items()
    ]  # fmt: skip
    output.table(("backend", f"{count} leases, s", "one more, ms", "cpu s", "MB"), rows, title=f"median of {repeat}")
    show_targets(report.targets())


@bench.command(
    epilog=output.examples(
        "netlab bench store                             # a file, a real etcd, and memory, in turns",
        "netlab bench store --only sqlite --directory /mnt/disk",
        "netlab bench store --json | jq .ratios_to_sqlite",
    )
)
@click.option("--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N", help="Turns.")
@click.option(
    "--only", multiple=True, type=click.Choice(["sqlite", "etcd", "memory"]), help="Only this store; repeatable."
)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("/var/tmp"),
    show_default=True, help="On the disk that is to be measured.",
)  # fmt: skip
@output.json_option
def store(repeat: int, only: tuple[str, ...], directory: Path, as_json: bool) -> None:
    """What an API server asks of its store: durable creations, reads, a list of 10,000, a thousand watchers.

    Eight writers each wait for their creation (2 KiB) to be kept. All watchers are told of all changes, 100 a
    second.
    """
    from netlab.daemons import bench_store as measuring

    kinds = only or measuring.KINDS
    with output.progress("bench store", repeat * len(kinds)) as bar:
        report = measuring.run(
            repeat, kinds, folder=directory, tell=lambda what, done: bar.advance(done, description=what)
        )
    if as_json:
        output.emit_json(report.as_json())
        return
    rows = []
    for kind, f in report.figures.items():
        ratio = report.ratio(kind, "creates")
        rows.append((
            kind, f"{f['creates'].median:.0f}", "" if ratio is None else f"{ratio:.2f}",
            f"{f['cpu'].median * 1000:.0f}", f"{f['gets'].median:.0f}", f"{f['list'].median * 1000:.1f}",
            f"{f['p50'].median * 1000:.0f}", f"{f['p99'].median * 1000:.0f}",
        ))  # fmt: skip
    columns = ("store", "creates/s", "/ sqlite", "µs CPU each", "gets/s", f"list of {measuring.KEYS}, ms",
               f"{measuring.WATCHERS} watchers: median ms", "p99 ms")  # fmt: skip
    output.table(columns, rows, title=f"median of {repeat}")
    for name, why in report.absent.items():
        click.echo(f"{name}: {why}")
    show_targets(report.targets())


@bench.command(
    epilog=output.examples(
        "sudo netlab bench rules                                    # 1,000 Services in each mode, 200 policies",
        "sudo netlab bench rules --services 1000 --services 10000 --repeat 1",
        "sudo netlab bench rules --mode nftables --policies 1000 --json | jq .targets",
        "sudo netlab bench rules --services 1000 --services 5000 --services 10000 --plot rules.svg",
        "sudo netlab vm run -- netlab bench rules --mode ipvs       # where this kernel has no IPVS",
    )
)
@click.option(
    "--services", "sizes", type=click.IntRange(10, 50_000), multiple=True, default=(1000,), show_default="1000",
    metavar="N", help="Services of ten endpoints each; repeatable.",
)  # fmt: skip
@click.option(
    "--policies", type=click.IntRange(1, 20_000), multiple=True, default=(200,), show_default="200", metavar="N",
    help="Policies, over twice as many pods on one node; repeatable.",
)  # fmt: skip
@click.option(
    "--mode", "modes", multiple=True,
    type=click.Choice(["iptables-legacy", "iptables-nft", "nftables", "nftables-direct", "ipvs"]),
    help="Only this; repeatable. [default: all but ipvs]",
)  # fmt: skip
@click.option("--repeat", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N", help="Turns of each.")
@click.option("--slow", is_flag=True, help="Load what takes minutes, too.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw it: svg, png, pdf.")
@output.json_option
def rules(
    sizes: tuple[int, ...],
    policies: tuple[int, ...],
    modes: tuple[str, ...],
    repeat: int,
    slow: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Services and policies compiled and applied, beside the bare tool fed with the same text (the floor).

    Then connections by way of each mode, beside those straight to the endpoints of a node without any rules.
    """
    from netlab.daemons import bench_rules as measuring

    chosen = modes or measuring.USUAL
    with output.progress("bench rules", len(sizes) * len(chosen) + len(policies)) as bar:
        report = measuring.run(
            sizes, policies, chosen, repeat, slow=slow, tell=lambda what, done: bar.advance(done, description=what)
        )
    if plot is not None:
        measuring.plot(report, plot)
    if as_json:
        output.emit_json(report.as_json())
        return
    rows = [
        (
            row.services, row.mode, f"{row.parse:.3f}", f"{row.compile:.3f}", f"{row.change * 1000:.2f}",
            *("" if v is None else f"{v:.3f}" for v in (row.apply, row.apply_floor, row.one, row.one_floor)),
            f"{row.rss / 1e6:.0f}",
        )
        for row in report.rows
    ]  # fmt: skip
    columns = ("Services", "mode", "parse s", "compile s", "change ms", "apply s", "floor", "one s", "floor", "MB")
    output.table(columns, rows, title=f"{measuring.ENDPOINTS} endpoints each, median of {repeat}")
    for row in report.rows:
        if row.note:
            click.echo(f"{row.services} {row.mode}: {row.note}")
    click.echo()
    _connections(report.rows)
    listed = [
        (
            p.policies,
            p.pods,
            f"{p.compile:.3f}",
            f"{p.change:.3f}",
            f"{p.apply:.3f}",
            f"{p.one:.3f}",
            f"{p.rss / 1e6:.0f}",
        )
        for p in report.policies
    ]
    output.table(("policies", "pods", "compile s", "change s", "apply s", "one s", "MB"), listed)
    show_targets(report.targets())


def _connections(rows: Iterable[Row]) -> None:
    listed = []
    for row in rows:
        speeds = [f"{value:.0f}" for value in (row.rate, row.rate_floor) if value is not None]
        times = [f"{value * 1e6:.0f}" for value in (row.first, row.first_floor, row.tail) if value is not None]
        if speeds:
            listed.append((row.services, row.mode, *speeds, *times))
    output.table(("Services", "mode", "connections/s", "no rules", "first µs", "no rules", "p99 µs"), listed)


@bench.command(
    epilog=output.examples(
        "netlab bench api                               # over a file, a real etcd, and memory, in turns",
        "netlab bench api --only sqlite --directory /mnt/disk",
        "netlab bench api --json | jq .targets",
    )
)
@click.option("--repeat", type=click.IntRange(1, 1000), default=3, show_default=True, metavar="N", help="Turns.")
@click.option(
    "--only", multiple=True, type=click.Choice(["sqlite", "etcd", "memory"]), help="Only over this store; repeatable."
)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("/var/tmp"),
    show_default=True, help="On the disk that the stores are to use.",
)  # fmt: skip
@output.json_option
def api(repeat: int, only: tuple[str, ...], directory: Path, as_json: bool) -> None:
    """What clients wait for at `netlab apiserver`: pods made and read, a list of 10,000, a thousand watchers.

    Server and clients share this machine, and speak TLS. Watchers look at a namespace each of a hundred, and then all
    of them at everything; 100 objects a second are made.
    """
    from netlab.daemons import bench_api as measuring

    kinds = only or measuring.KINDS
    with output.progress("bench api", repeat * len(kinds)) as bar:
        report = measuring.run(
            repeat, kinds, folder=directory, tell=lambda what, done: bar.advance(done, description=what)
        )
    if as_json:
        output.emit_json(report.as_json())
        return
    rows = [
        (
            kind, f"{f['ready'].median:.2f}", f"{f['creates'].median:.0f}", f"{f['create_cpu'].median * 1e6:.0f}",
            f"{f['gets'].median:.0f}", f"{f['get_cpu'].median * 1e6:.0f}", f"{f['list'].median:.2f}",
            f"{f['spread'].median * 1000:.0f}", f"{f['all'].median * 1000:.0f}", f"{f['rss'].median / 1e6:.0f}",
        )
        for kind, f in report.figures.items()
    ]  # fmt: skip
    columns = ("store", "ready s", "creates/s", "µs CPU", "GETs/s", "µs CPU", f"list of {measuring.PODS}, s",
               f"{measuring.WATCHERS} watchers: p99 ms", "of everything", "MB")  # fmt: skip
    output.table(columns, rows, title=f"median of {repeat}")
    for kind, why in report.absent.items():
        click.echo(f"{kind}: {why}")
    show_targets(report.targets())
