"""list, show, status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netlab.base.errors import NetlabError
from netlab.cli import output
from netlab.cli.lab.common import engine, lab_argument, lab_of, on_clusters, running_name

if TYPE_CHECKING:
    from netlab.compile.topology import Place, Process


@click.command("list", epilog=output.examples("netlab lab list", "netlab lab list --json"))
@output.json_option
def list_labs(as_json: bool) -> None:
    """List the labs that can be brought up, and those that are."""
    from netlab.base.files import shown
    from netlab.lab.journal import running
    from netlab.lab.labfile import Lab, available

    up = set(running())
    rows: list[dict[str, Any]] = []
    for name, path in available().items():
        try:
            lab = Lab(path)
            row = {"name": lab.name, "title": lab.file.title, "file": shown(path), "problem": None}
        except NetlabError as e:
            row = {"name": name, "title": "", "file": shown(path), "problem": e.message.splitlines()[0]}
        rows.append({**row, "up": row["name"] in up})
    known = {row["name"] for row in rows}
    rows += [{"name": n, "title": "", "file": "", "problem": None, "up": True} for n in sorted(up - known)]
    if as_json:
        output.emit_json(rows)
        return
    output.table(
        ["LAB", "STATE", "TITLE"],
        [[r["name"], output.Styled("up", "green") if r["up"] else "", r["problem"] or r["title"]] for r in rows],
    )


@click.command(epilog=output.examples("netlab lab show docker0", "netlab lab show ./mylab --json"))
@lab_argument
@output.json_option
def show(lab: str, as_json: bool) -> None:
    """Show what a lab consists of. It need not be up."""
    from netlab.lab.checks.run import title

    definition = lab_of(lab)
    topology = definition.topology
    checks = [title(check) for check in definition.file.checks]
    if as_json:
        output.emit_json({
            "name": definition.name, "title": definition.file.title, "description": definition.file.description,
            "file": definition.path, "checks": checks,
            "places": [_place(p, topology.netns(p.name)) for p in topology.places],
        })  # fmt: skip
        return
    click.echo(f"{output.style(definition.name, 'cyan')}: {definition.file.title}\n")
    if definition.file.description:
        click.echo(definition.file.description.strip() + "\n")
    rows = []
    for place in topology.places:
        cells = [place.name, place.role if not place.shares else f"{place.role} in {place.shares}", place.on or ""]
        listed = [(d.name, ", ".join(map(str, d.addresses))) for d in place.devices if d.addresses] or [("", "")]
        runs = ", ".join(_runs(process) for process in place.processes)
        for i, (dev, addresses) in enumerate(listed):
            rows.append([*(cells if i == 0 else ["", "", ""]), dev, addresses, runs if i == 0 else ""])
    output.table(["NAME", "ROLE", "ON", "DEVICE", "ADDRESSES", "RUNS"], rows)
    click.echo(f"\n{len(checks)} checks: netlab lab check {definition.name}")


def _runs(process: Process) -> str:
    return process.name + (
        " " + ",".join(f"{port}/{protocol}" for port, protocol in process.serve) if process.serve else ""
    )


def _place(place: Place, netns: str) -> dict[str, Any]:
    return {
        "name": place.name, "role": place.role, "on": place.on, "shares": place.shares, "netns": netns,
        "devices": [
            {"name": d.name, "addresses": d.addresses, "master": d.master, "peer": d.peer} for d in place.devices
        ],
        "processes": [p.name for p in place.processes],
    }  # fmt: skip


@click.command(
    epilog=output.examples("netlab lab status", "netlab lab status docker0", "netlab lab status docker0 --json")
)
@click.argument("lab", required=False)
@output.json_option
def status(lab: str | None, as_json: bool) -> None:
    """Show what runs: of one lab in detail, or of all that are up."""
    from netlab.lab.journal import on_cluster, running

    e = engine()
    names = [running_name(lab)] if lab else running()
    details = [_status_on_cluster(name) if on_cluster(name) else _status(e, name) for name in names]
    if as_json:
        output.emit_json(details[0] if lab else details)
    elif lab and "nodes" in details[0]:
        _print_status_on_cluster(details[0])
    elif lab:
        _print_status(details[0])
    else:
        rows = [
            [d["name"], len(d["nodes"]), _sum(d), _ready(d), d["source"]]
            if "nodes" in d
            else [d["name"], len(d["namespaces"]), _sum(d), "clean" if d["clean"] else "drifted", d["source"]]
            for d in details
        ]
        output.table(["LAB", "NAMESPACES", "PROCESSES", "NETWORK", "FILE"], rows)


def _status_on_cluster(name: str) -> dict[str, Any]:
    from netlab.base.errors import NetlabError
    from netlab.daemons.clusters import not_ready

    labs = on_clusters()
    remembered, nodes = labs.remembered(name), labs.status(name)
    try:
        pods = labs.pods(name)
    except NetlabError:  # the server does not answer, which the nodes tell
        pods = []
    return {
        "name": name, "source": remembered.source,
        "exercise": remembered.exercise and remembered.exercise.get("id"),
        "kubeconfig": labs.engine.cluster(name).kubeconfig,
        "nodes": {
            n.name: {
                "on": n.on, "addresses": n.addresses, "init": n.pid,
                "why": "is not in the API" if n.api is None else not_ready(n.api),
            }
            for n in nodes
        },
        "processes": {f"{n.name}/{what}": process for n in nodes for what, process in n.processes.items()},
        "pods": [
            {"namespace": p["metadata"]["namespace"], "name": p["metadata"]["name"], "node": p["spec"].get("nodeName"),
             "phase": (p.get("status") or {}).get("phase"), "ip": (p.get("status") or {}).get("podIP")}
            for p in pods
        ],
    }  # fmt: skip


def _ready(detail: dict[str, Any]) -> str:
    nodes = detail["nodes"].values()
    return f"{sum(node['why'] is None for node in nodes)}/{len(nodes)} Ready"


def _print_status_on_cluster(detail: dict[str, Any]) -> None:
    click.echo(f"{output.style(detail['name'], 'cyan')}  from {detail['source']}")
    if detail["exercise"]:
        click.echo(f"exercise {detail['exercise']} is running: the lab is meant to be broken")
    click.echo(f"export KUBECONFIG={detail['kubeconfig']}\n")
    output.table(
        ["NODE", "POWER", "API", "ADDRESSES"],
        [
            [name, "on" if n["on"] else output.Styled("off", "red"),
             output.Styled(f"it {n['why']}", "red") if n["why"] else output.Styled("Ready", "green"),
             ", ".join(n["addresses"])]
            for name, n in detail["nodes"].items()
        ],
    )  # fmt: skip
    click.echo()
    columns = ("namespace", "name", "phase", "ip", "node")
    output.table([column.upper() for column in columns], [[p[c] for c in columns] for p in detail["pods"]])


def _sum(detail: dict[str, Any]) -> str:
    states = [p["state"] for p in detail["processes"].values()]
    return f"{states.count('running')}/{len(states)}"


def _status(e: Any, name: str) -> dict[str, Any]:
    record = e.record(name)
    existing = e.machine.namespaces()
    found = e.drift(name)
    return {
        "name": name,
        "source": record.source,
        "iptables": record.iptables,
        "exercise": record.exercise and record.exercise.get("id"),
        "impairments": record.impairments,
        "clean": found.clean,
        "to_mend": sum(len(ops) for ops in found.mend.values()),
        "strangers": sum(len(items) for items in found.strangers.values()),
        "namespaces": {ns: ns in existing for ns in record.namespaces},
        "visitors": e.machine.visitors(record.namespaces),
        "processes": e.machine.processes(e.journal(name).dir),
    }


def _print_status(detail: dict[str, Any]) -> None:
    name = detail["name"]
    click.echo(f"{output.style(name, 'cyan')}  from {detail['source']}")
    if detail["exercise"]:
        click.echo(f"exercise {detail['exercise']} is running: the lab is meant to be broken")
    if detail["clean"]:
        click.echo(f"network: {output.style('clean', 'green')}")
    else:
        what = f"{detail['to_mend']} to mend, {detail['strangers']} that nobody asked for"
        click.echo(f"network: {output.style('drifted', 'red')}, {what} (netlab lab drift {name})")
    if detail["iptables"]:
        click.echo(f"iptables: {detail['iptables']}")
    click.echo()
    own = {process["pid"] for process in detail["processes"].values()}
    output.table(
        ["NAMESPACE", "STATE"],
        [[ns, "" if there else output.Styled("missing", "red")] for ns, there in detail["namespaces"].items()],
    )
    click.echo()
    colours = {"running": "green", "exited": "dim"}
    output.table(
        ["PROCESS", "STATE", "PID", "RESTARTS", "REMARK"],
        [
            [
                n,
                output.Styled(p["state"], colours.get(p["state"], "red")),
                p["pid"],
                p["restarts"],
                p.get("reason") or "",
            ]
            for n, p in detail["processes"].items()
        ],
    )
    others = [v for v in detail["visitors"] if v.pid not in own]
    if others:
        click.echo("\nalso inside:")
        for visitor in others:
            click.echo(f"  {visitor.pid}  {visitor.command}")
