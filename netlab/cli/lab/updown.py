"""up, down, restart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from netlab.cli import output
from netlab.cli.lab.common import engine, lab_argument, on_clusters, running_name, store_option, with_store

if TYPE_CHECKING:
    from netlab.lab.engine import Outcome
    from netlab.lab.labfile import Lab


@click.command(
    epilog=output.examples(
        "netlab lab up docker0                 # the lab that comes with netlab",
        "netlab lab up ./mylab                 # a folder with a lab.yaml",
        "netlab lab up flannel-vxlan --store etcd   # leases in a real etcd, on a node of its own",
        "netlab lab up docker0 --dry-run       # only print the commands that it would take",
    )
)
@lab_argument
@click.option("--dry-run", is_flag=True, help="Print the commands that it would take, and change nothing.")
@store_option
@output.json_option
def up(lab: str, dry_run: bool, store: str | None, as_json: bool) -> None:
    """Bring a lab up; on one that is up, repair what is not as it should be.

    LAB is a name (see `netlab lab list`), a folder, or a lab.yaml.
    """
    definition = with_store(lab, store)
    if definition.on_cluster:
        _up_cluster(definition, store, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        from netlab.cli.lab.words import print_plan

        print_plan(definition, as_json=as_json)
        return
    started = time.monotonic()
    with output.progress(f"lab {definition.likely_name or lab}", None) as bar:
        outcome = engine().up(definition, progress=lambda what, count: bar.advance(0, description=f"{what} ({count})"))
    _report(outcome, time.monotonic() - started, as_json)


@click.command(epilog=output.examples("netlab lab restart docker0", "netlab lab restart ./mylab  # after editing it"))
@lab_argument
@store_option
@output.json_option
def restart(lab: str, store: str | None, as_json: bool) -> None:
    """Take a lab down and bring it up again, with its file as it is now. A file with errors leaves the lab alone."""
    started = time.monotonic()
    definition = with_store(lab, store)
    if definition.on_cluster:
        _up_cluster(definition, store, again=True, as_json=as_json)
        return
    outcome = engine().restart(definition)
    _report(outcome, time.monotonic() - started, as_json)


def _up_cluster(
    lab: Lab, store: str | None, *, dry_run: bool = False, again: bool = False, as_json: bool
) -> None:  # fmt: skip
    """Up, or down and up, of a lab on a cluster."""
    if store is not None:
        raise click.UsageError("--store is for flannel labs; a lab on a cluster says cluster: {store: etcd}")
    if dry_run:
        raise click.UsageError("a lab on a cluster is made by the cluster's daemons: there are no commands to print")
    started = time.monotonic()
    labs = on_clusters()
    with output.progress(f"lab {lab.likely_name or lab.path}", None) as bar:

        def told(what: str, count: int) -> None:
            bar.advance(0, description=f"{what} ({count})" if count else what)

        done = (labs.restart if again else labs.up)(lab, progress=told)
    seconds = round(time.monotonic() - started, 2)
    if as_json:
        output.emit_json({
            "name": done.name, "fresh": done.fresh, "nodes": done.nodes, "objects": done.objects,
            "kubeconfig": done.kubeconfig, "removed": done.removed, "steps": done.seconds, "seconds": seconds,
        })  # fmt: skip
        return
    for what in done.removed:
        output.note(f"removed, as nobody asked for it: {what}")
    what = f"{len(done.nodes)} nodes Ready, {done.objects} objects"
    click.echo(f"{output.style('up', 'green')}  {done.name}: {what} in {seconds:.2f} s")
    click.echo(f"    export KUBECONFIG={done.kubeconfig}    kubectl get pods    netlab lab check {done.name}")


def _report(outcome: Outcome, seconds: float, as_json: bool) -> None:
    if as_json:
        fields = ("name", "fresh", "operations", "namespaces", "processes")
        times = {"network_seconds": round(outcome.network, 4), "seconds": round(seconds, 4)}
        output.emit_json({**{f: getattr(outcome, f) for f in fields}, **times})
        return
    name = outcome.name
    if outcome.fresh:
        what = f"{outcome.namespaces} namespaces, {outcome.processes} processes"
        click.echo(f"{output.style('up', 'green')}  {name}: {what}, {outcome.operations} operations in {seconds:.2f} s")
        click.echo(f"    netlab lab check {name}    netlab lab shell {name} NODE    netlab lab show {name}")
    elif outcome.operations:
        click.echo(
            f"{output.style('up', 'green')}  {name}: repaired, {outcome.operations} operations in {seconds:.2f} s"
        )
        for ns, ops in outcome.plans.items():
            for op in ops:
                click.echo(f"    {ns}: {type(op).__name__.lower()} {op.item}")
    else:
        click.echo(f"{output.style('up', 'green')}  {name}: nothing to do ({seconds:.2f} s)")


@click.command(
    epilog=output.examples(
        "netlab lab down docker0",
        "netlab lab down --all",
        "netlab lab down docker0 --definition ./mylab   # when the journal is damaged",
    )
)
@click.argument("labs", metavar="[LAB]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every lab that is up.")
@click.option(
    "--definition", metavar="LAB", help="Read the names of the namespaces from this lab, not from the journal."
)
@output.json_option
def down(labs: tuple[str, ...], everything: bool, definition: str | None, as_json: bool) -> None:
    """Take labs down: processes, namespaces, journal. Needs nothing but the name."""
    from netlab.lab.journal import on_cluster, running
    from netlab.lab.labfile import Lab

    if bool(labs) == everything:
        raise click.UsageError("name the labs to take down, or say --all")
    todo = running() if everything else [running_name(name) for name in labs]
    gone: list[dict[str, Any]] = []
    for name in todo:
        started = time.monotonic()
        if on_cluster(name):
            gone.append(_down_cluster(name, as_json=as_json))
            continue
        removal = engine().down(name, definition=Lab.named(definition) if definition else None)
        seconds = time.monotonic() - started
        gone.append({
            "name": name, "was_up": removal is not None, "namespaces": removal.namespaces if removal else 0,
            "expelled": list(removal.expelled) if removal else [], "seconds": round(seconds, 3),
        })  # fmt: skip
        if as_json:
            continue
        if removal is None:
            click.echo(f"{name} is not up")
            continue
        click.echo(
            f"{output.style('down', 'green')}  {name}: {removal.namespaces} namespaces removed in {seconds:.2f} s"
        )
        for visitor in removal.expelled:
            click.echo(f"    stopped process {visitor.pid}, which was still inside: {visitor.command}")
    if as_json:
        output.emit_json(gone)


def _down_cluster(name: str, *, as_json: bool) -> dict[str, Any]:
    started = time.monotonic()
    nodes = on_clusters().down(name) or 0
    seconds = round(time.monotonic() - started, 3)
    if not as_json:
        click.echo(f"{output.style('down', 'green')}  {name}: {nodes} nodes removed in {seconds:.2f} s")
    return {"name": name, "was_up": True, "nodes": nodes, "seconds": seconds}
