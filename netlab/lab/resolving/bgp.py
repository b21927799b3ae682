"""A lab's BGP speakers: a bgpd on each node, and the configuration where each will find it."""

from __future__ import annotations

from typing import Any

import yaml

from netlab.base.errors import InputError
from netlab.base.yamlfile import Document, Location
from netlab.bgp.config import of
from netlab.compile.topology import File, Process
from netlab.lab import schema
from netlab.lab.resolving.desk import Desk

#: in the lab's directory; `netlab bgp --lab` looks there
FOLDER = "bgp"
PROCESS = "bgpd"
#: seconds that `up` waits for sessions; one that is not to stand (an exercise's) holds nothing up for longer
PATIENCE = 4


class _Plain(yaml.SafeDumper):
    """What occurs twice is written twice: a person is to read and edit it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def bgp(desk: Desk, spec: schema.Bgp) -> None:
    """bgpd on each node."""
    for name, config in spec.nodes.items():
        path: Location = ("bgp", "nodes", name)
        if name not in desk.lab.nodes:
            desk.unknown(path, "node", name, desk.lab.nodes)
            continue
        try:
            of(_part(desk.document, path, config))
        except InputError as e:
            desk.problems += e.problems
            continue
        daemon(desk, name, config, why=desk.why(*path))


def _part(document: Document, path: Location, data: Any) -> Document:
    """A part of a file as a document of its own, with the lines that it has in the whole."""
    n = len(path)
    lines = {where[n:]: line for where, line in document.lines.items() if where[:n] == path}
    return Document(document.name, data, lines)


def daemon(desk: Desk, name: str, config: Any, *, why: str) -> None:
    """One bgpd on a node."""
    draft = desk.drafts[name]
    if any(process.name == PROCESS for process in draft.parts.get("processes", [])):
        desk.problem(("nodes", name), f"{name} has a process {PROCESS!r} already", "a node has one speaker")
        return
    own = f"{FOLDER}/{name}"
    text = yaml.dump(config, Dumper=_Plain, sort_keys=False, width=100)
    desk.files.append(File(path=f"{own}.yaml", content=text, why=why))
    argv = (
        "netlab", "bgpd", "--config", f"{{run}}/{own}.yaml", "--socket", f"{{run}}/{own}.sock",
        "--event-log", f"{{run}}/{own}.jsonl", "--patience", str(PATIENCE),
    )  # fmt: skip
    draft.add("processes", Process(
        name=PROCESS, argv=argv, notify=True, claims=f"{own}.claims", config=f"{own}.yaml", control=f"{own}.sock",
        why=why,
    ))  # fmt: skip
