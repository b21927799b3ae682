"""The picture for graphviz: `dot -Tsvg` lays it out. A frame for each node, tables for what has ports.

Cables go from port to port, and the ports carry names and addresses, so that no text stands on a line but what a link
does to packets. Colours are soft on a white ground of their own, for pages of either brightness.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from netlab.lab.graph.value import Box, Cable, End, Graph, Port

# The first that the machine has is measured here, the first that the reader has is shown: alike in width.
SANS = "DejaVu Sans,Verdana,sans-serif"
MONO = "DejaVu Sans Mono,Menlo,monospace"

INK, FAINT, LINE, ALARM, SLOW = "#1f2937", "#64748b", "#64748b", "#c0392b", "#b45309"
SOCKET = "#94a3b8"
#: role or kind -> fill, border
PAINT = {
    "network": ("#fdf3d8", "#c9a227"),
    "node": ("#f5f7fa", "#b6c2d1"),
    "bridge": ("#dbe7fb", "#5b84c4"),
    "device": ("#ffffff", "#8a97a8"),
    "container": ("#e3f3e6", "#5da271"),
    "guest": ("#f1eafa", "#9678c0"),
}


def dot(graph: Graph) -> str:
    """An undirected graph in the DOT language, from the switches at the top down to the containers."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    title = _id((graph.title or graph.name) + r"\n ")  # an empty line below it
    yield f"graph {_id(graph.name)} {{"
    yield f'  graph [rankdir=TB, bgcolor="#ffffff", pad=0.3, nodesep=0.35, ranksep=0.6, fontname="{SANS}",'
    yield f'    fontsize=16, fontcolor="{INK}", labelloc=t, label={title}];'
    yield f'  node [shape=plain, fontname="{SANS}", fontsize=11, fontcolor="{INK}"];'
    yield f'  edge [color="{LINE}", penwidth=1.5, fontname="{SANS}", fontsize=10, fontcolor="{SLOW}"];'
    for box in graph.boxes:
        if box.role == "node":
            yield from _node(box, graph)
        elif box.role == "network":
            yield f"  {_id(box.name)} [label=<{_switch(box, graph)}>];"
        else:
            yield f"  {_id(box.name)} [label=<{_container(box)}>];"
    for cable in graph.cables:
        yield f"  {_end(cable.a, graph)}:s -- {_end(cable.b, graph)}:n{_cable(cable)};"
    yield "}"


def _node(box: Box, graph: Graph) -> Iterator[str]:
    fill, border = PAINT["node"]
    heading = f"<b>{escape(box.name)}</b>" + "".join(_small(f"  · {note}") for note in box.notes)
    yield f"  subgraph {_id('cluster ' + box.name)} {{"
    yield f'    style="rounded,filled"; fillcolor="{fill}"; color="{border}"; margin=16; fontsize=13;'
    yield f"    label=<{heading}>; labeljust=l; labelloc=b;"  # below, where no cable comes in
    for port in box.own_ports:
        plugged = box.ports_of(port.name)
        table = _bridge(port, plugged) if port.kind == "bridge" else _device(port)
        yield f"    {_id(box.name, port.name)} [label=<{table}>];"
    if box.runs:
        yield f"    {_id(box.name, 'processes')} [label=<{_table([_cell(_small(run)) for run in box.runs], 'node')}>];"
    for inner in box.inside:
        yield f"    {_id(inner.name)} [label=<{_container(inner)}>];"
    # faint lines within the machine: what its kernel routes between, and whose devices its guests use
    for uplink, bridge in box.routed:
        style = f'style=dotted, color="{FAINT}", fontcolor="{FAINT}", label=" routes"'
        yield f"    {_id(box.name, uplink)} -- {_id(box.name, bridge)} [{style}];"
    others = [_id(guest.name) for guest in box.guests] + ([_id(box.name, "processes")] if box.runs else [])
    if box.own_ports:
        for other in others:
            yield f"    {_id(box.name, box.own_ports[0].name)} -- {other} [style=invis];"
    yield "  }"


def _switch(box: Box, graph: Graph) -> str:
    ports = [port for port in box.ports if port.kind != "bridge"]
    cells = [_plug(port, graph.far_end((box.name, port.name))) for port in ports]
    rows = [_cell(f"<b>{escape(box.name)}</b>{_small('  · switch')}", span=len(cells))]
    return _table(rows, "network", last=cells)


def _bridge(port: Port, plugged: list[Port]) -> str:
    heading = f"<b>{escape(port.name)}</b>{_small('  · bridge')}"
    rows = [_cell("<br/>".join([heading, *_details(port)]), span=len(plugged))]
    return _table(rows, "bridge", last=[_plug(p, None) for p in plugged], alarm=bool(port.state))


def _device(port: Port) -> str:
    heading = f"<b>{escape(port.name)}</b>" + (_small(f"  · {port.kind}") if port.kind else "")
    return _table([_cell("<br/>".join([heading, *_details(port)]))], "device", alarm=bool(port.state))


def _container(box: Box) -> str:
    role = "the node’s network" if box.role == "guest" else "" if box.ports else "no network"
    heading = f"<b>{escape(box.name)}</b>" + (_small(f"  · {role}") if role else "")
    runs = [_small(line) for line in (*box.runs, *(f"published {port}" for port in box.published))]
    addresses = [line for port in box.ports for line in _details(port)]
    rows = ["".join(_plug(port, None) for port in box.ports)] if box.ports else []
    span = len(box.ports)
    rows += [_cell("<br/>".join([heading, *addresses, *runs]), span=span)]
    fill, border = PAINT["guest"]
    for guest in box.guests:
        lines = [f"<b>{escape(guest.name)}</b>{_small('  · same network')}", *map(_small, guest.runs)]
        rows.append(
            _cell("<br/>".join(lines), span=span, more=f'bgcolor="{fill}" border="1" color="{border}" style="dashed"')
        )
    dashed = box.role == "guest"
    return _table(rows, box.role, alarm=any(port.state for port in box.ports), dashed=dashed)


def _table(
    rows: Iterable[str], kind: str, *, last: Iterable[str] = (), alarm: bool = False, dashed: bool = False
) -> str:
    """A rounded box with one cell per row, and a last row of ports."""
    fill, border = PAINT[kind]
    cells = "".join(last)
    style = "rounded,dashed" if dashed else "rounded"
    return (
        f'<table border="{2 if alarm else 1}" cellborder="0" cellspacing="3" cellpadding="5" style="{style}" '
        f'bgcolor="{fill}" color="{ALARM if alarm else border}">'
        + "".join(f"<tr>{row}</tr>" for row in (*rows, *([cells] if cells else [])))
        + "</table>"
    )


def _cell(text: str, *, port: str = "", span: int = 1, more: str = "") -> str:
    said = (f' port="{escape(port)}"' if port else "") + (f' colspan="{span}"' if span > 1 else "")
    return f"<td{said}{' ' + more if more else ''}>{text}</td>"


def _plug(port: Port, far: End | None) -> str:
    """A socket at the edge of a box, with its name, or on a switch that of whom it is for."""
    color = ALARM if port.state else SOCKET
    name = port.name if far is None else far[0]
    more = f'border="1" color="{color}" bgcolor="#ffffff"'
    kind = f"<br/>{_small(port.kind)}" if port.kind else ""
    return _cell(_mono(name, color if port.state else INK) + kind, port=port.name, more=more)


def _details(port: Port) -> list[str]:
    lines = [_mono(address, INK) for address in port.addresses]
    return lines + ([f'<font point-size="10" color="{ALARM}">{port.state}</font>'] if port.state else [])


def _mono(text: str, color: str) -> str:
    return f'<font face="{MONO}" point-size="10" color="{color}">{escape(text)}</font>'


def _small(text: str) -> str:
    return f'<font point-size="10" color="{FAINT}">{_kept(text)}</font>'


def _kept(text: str) -> str:
    """Graphviz drops blanks at either end."""
    return escape(text).replace(" ", "&#160;")


def _cable(cable: Cable) -> str:
    said = {}
    if cable.impaired:
        said = {"color": f'"{SLOW}"', "style": "dashed", "label": _id(f" {cable.impaired} ")}
    if cable.broken:
        said |= {"color": f'"{ALARM}"', "penwidth": "2.5"}
    return f" [{', '.join(f'{key}={value}' for key, value in said.items())}]" if said else ""


def _end(end: End, graph: Graph) -> str:
    """The port where a cable is plugged in: of a bridge's table, of a container's, or a device of a node by itself."""
    place, device = end
    box = next(b for b in graph.all_boxes() if b.name == place)
    if box.role != "node":
        return f"{_id(place)}:{_id(device)}"
    master = next(port.master for port in box.ports if port.name == device)
    return f"{_id(place, master)}:{_id(device)}" if master else _id(place, device)


def _id(*parts: str) -> str:
    """A quoted identifier. In DOT only the quote is special; a backslash begins an escape of labels."""
    return '"' + "/".join(parts).replace('"', '\\"') + '"'
