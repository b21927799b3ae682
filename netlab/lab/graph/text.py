"""The picture for a terminal: a frame for each node, its bridges as trees of what is plugged into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netlab.lab.graph.value import Box, Graph, Port


def text(graph: Graph) -> str:
    """The whole lab, in lines of Unicode box drawing."""
    blocks = [[graph.title or graph.name]]
    for box in graph.boxes:
        lines = list(_switch(box, graph) if box.role == "network" else _inner(box, graph))
        blocks.append(_framed(_heading(box), lines))
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks) + "\n"


def _heading(box: Box) -> str:
    return box.name + (" ─ switch" if box.role == "network" else "".join(f" ─ {note}" for note in box.notes))


def _framed(heading: str, lines: Sequence[str]) -> list[str]:
    width = max([len(heading) + 2, *map(len, lines)])
    top = f"╭─ {heading} {'─' * (width - len(heading) - 1)}╮"
    return [top, *(f"│ {line:{width}} │" for line in lines), f"╰{'─' * (width + 2)}╯"]


def _switch(box: Box, graph: Graph) -> Iterator[str]:
    ports = [port for port in box.ports if port.kind != "bridge"]
    ends = [graph.far_end((box.name, port.name)) for port in ports]
    width = max((len(f"{end[0]}:{end[1]}") for end in ends if end), default=0)
    for port, end in zip(ports, ends, strict=True):
        branch = "└─" if port is ports[-1] else "├─"
        far = next(
            (p for b in graph.all_boxes() if end and b.name == end[0] for p in b.ports if p.name == end[1]), None
        )
        name = ":".join(end) if end else port.name
        yield f"{branch} {name:{width}}{_said(far)}{_marks(port)}" if far else f"{branch} {name}{_marks(port)}"


def _inner(box: Box, graph: Graph) -> Iterator[str]:
    own = box.own_ports
    width = max((len(port.name) for port in own), default=0)
    drawn: set[str] = set()
    for port in own:
        far = graph.far_end((box.name, port.name))
        plug = f"  ── {far[0]}" if far else ""
        yield f"{port.name:{width}}{_said(port)}{plug}"
        plugged = box.ports_of(port.name)
        for member in plugged:
            yield from _branch(member, box, graph, last=member is plugged[-1], drawn=drawn)
    yield from _runs(box)
    for container in box.containers:
        if container.name not in drawn:
            yield container.name + ("" if container.ports else ", without a network")
            yield from (f"  {line}" for line in _inner(container, graph))
    for guest in box.guests:
        yield f"{guest.name}, in the namespace of {box.name}" + "".join(f": {line}" for line in _runs(guest))


def _branch(port: Port, box: Box, graph: Graph, *, last: bool, drawn: set[str]) -> Iterator[str]:
    far = graph.far_end((box.name, port.name))
    inside = next((c for c in box.containers if far and c.name == far[0]), None)
    head = f" {'└─' if last else '├─'} {port.name}{_marks(port)} ── "
    below = f" {' ' if last else '│'}".ljust(len(head))
    if far is None:
        yield head.removesuffix(" ── ") + _said(port, marks=False)
        return
    if inside is None:
        yield f"{head}{':'.join(far)}"
        return
    drawn.add(inside.name)
    end = next(p for p in inside.ports if p.name == far[1])
    yield f"{head}{':'.join(far)}{_said(end)}"
    others = [f"{p.name}{_said(p)}" for p in inside.ports if p is not end]
    guests = [f"{g.name}, in the same namespace" + "".join(f": {line}" for line in _runs(g)) for g in inside.guests]
    for line in (*others, *_runs(inside), *guests):
        yield below + line


def _runs(box: Box) -> list[str]:
    said = [*box.runs, *(f"published {port}" for port in box.published)]
    return [", ".join(said)] if said else []


def _said(port: Port, *, marks: bool = True) -> str:
    """Addresses and kind of a device, to stand behind its name."""
    parts = [*port.addresses, *([port.kind] if port.kind else [])]
    return "".join(f"  {part}" for part in parts) + (_marks(port) if marks else "")


def _marks(port: Port) -> str:
    return "".join(f"  [{mark}]" for mark in (port.impaired, port.state) if mark)
