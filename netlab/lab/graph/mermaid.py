"""The picture as a mermaid flowchart, for Markdown (mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

from netlab.lab.graph.value import Box, End, Graph, Port

_CLASSES = {
    "network": "fill:#fdf3d8,stroke:#c9a227,color:#1f2937",
    "bridge": "fill:#dbe7fb,stroke:#5b84c4,color:#1f2937",
    "device": "fill:#ffffff,stroke:#8a97a8,color:#1f2937",
    "container": "fill:#e3f3e6,stroke:#5da271,color:#1f2937",
    "guest": "fill:#f1eafa,stroke:#9678c0,color:#1f2937,stroke-dasharray:4 3",
    "broken": "fill:#fde2e0,stroke:#c0392b,color:#1f2937",
}


def mermaid(graph: Graph) -> str:
    """A flowchart: nodes as subgraphs, devices and containers as boxes, veth pairs as lines."""
    return "\n".join(_Writer(graph).lines()) + "\n"


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._numbers = count()
        self._ids: dict[End, str] = {}

    def lines(self) -> Iterator[str]:
        if self._graph.title:
            yield from ("---", f"title: {_scalar(self._graph.title)}", "---")
        yield "flowchart TB"
        for box in self._graph.boxes:
            yield from self._box(box)
        for box in self._graph.all_boxes():
            if box.role == "node":
                yield from self._routed(box)
        for cable in self._graph.cables:
            names = _quoted([_cable_words(cable.a, cable.b), *([cable.impaired] if cable.impaired else [])])
            yield f"  {self._ids[cable.a]} {'-.-' if cable.broken else '---'}|{names}| {self._ids[cable.b]}"
        for name, style in _CLASSES.items():
            yield f"  classDef {name} {style}"

    def _id(self, *ends: End) -> str:
        """A name that mermaid has no meaning of its own for; all of `ends` are drawn as that box."""
        name = f"n{next(self._numbers)}"
        self._ids.update(dict.fromkeys(ends, name))
        return name

    def _box(self, box: Box, indent: str = "  ") -> Iterator[str]:
        if box.role != "node":
            yield indent + self._shape(box)
            return
        yield f"{indent}subgraph {self._id()}[{_quoted([_bold(box.name), *box.notes])}]"
        for port in box.own_ports:
            ends = [(box.name, name) for name in (port.name, *(p.name for p in box.ports_of(port.name)))]
            kind = "broken" if port.state else "bridge" if port.kind == "bridge" else "device"
            yield f"{indent}  {self._id(*ends)}[{_quoted(_port(port))}]:::{kind}"
        if box.runs:
            yield f"{indent}  {self._id()}([{_quoted(box.runs)}])"
        for inner in box.inside:
            yield f"{indent}  {self._shape(inner)}"
        yield f"{indent}end"

    def _shape(self, box: Box) -> str:
        name = self._id(*((box.name, port.name) for port in box.ports))
        if box.role == "network":
            return f"{name}([{_quoted([_bold(box.name), 'switch'])}]):::network"
        said = [_bold(box.name), *(line for port in box.ports for line in _port(port, bold=False))]
        said += [*box.runs, *(f"published {port}" for port in box.published)]
        for guest in box.guests:
            said += [f"+ {_bold(guest.name)}, same namespace", *guest.runs]
        if box.role == "guest":
            said.insert(1, "in the node's namespace")
        return f"{name}[{_quoted(said)}]:::{'broken' if any(p.state for p in box.ports) else box.role}"

    def _routed(self, box: Box) -> Iterator[str]:
        for uplink, bridge in box.routed:
            yield f"  {self._ids[box.name, uplink]} -.-|routes| {self._ids[box.name, bridge]}"


def _port(port: Port, *, bold: bool = True) -> list[str]:
    head = (_bold(port.name) if bold else port.name) + (f" {port.kind}" if port.kind else "")
    return [head, *port.addresses, *(mark for mark in (port.impaired, port.state) if mark)]


def _cable_words(a: End, b: End) -> str:
    return f"{a[1]} – {b[1]}"


def _bold(text: str) -> str:
    return f"**{text}**"


def _quoted(lines: list[str] | tuple[str, ...]) -> str:
    """A label. Quotes and angle brackets would end it or be taken for HTML (entity codes of the flowchart syntax)."""
    safe = "<br/>".join(re.sub(r"[\"<>&#]", lambda m: f"#{ord(m[0])};", line) for line in lines)
    return '"' + re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", safe) + '"'


def _scalar(text: str) -> str:
    """YAML of the front matter: a double-quoted scalar."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
