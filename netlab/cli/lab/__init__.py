"""`netlab lab …`: one file per family of verbs, imported when one of them is called."""

from __future__ import annotations

import click

from netlab.cli import output
from netlab.cli.lazy import Entry, LazyGroup

VERBS = {
    "list": Entry("netlab.cli.lab.look:list_labs", "The labs there are, and which are up."),
    "show": Entry("netlab.cli.lab.look:show", "What a lab consists of: nodes, addresses, processes, checks."),
    "up": Entry("netlab.cli.lab.updown:up", "Bring a lab up, or repair it."),
    "down": Entry("netlab.cli.lab.updown:down", "Take a lab down, by its name alone."),
    "restart": Entry("netlab.cli.lab.updown:restart", "Down and up again, with the file as it is now."),
    "status": Entry("netlab.cli.lab.look:status", "What runs: namespaces, processes, drift."),
    "check": Entry("netlab.cli.lab.check:check", "Is it as it should be? Sends packets, reads tables."),
    "exec": Entry("netlab.cli.lab.inside:exec_", "Run a command in a node or container."),
    "shell": Entry("netlab.cli.lab.inside:shell", "A shell in a node or container."),
    "logs": Entry("netlab.cli.lab.inside:logs", "What the lab's processes have written."),
    "impair": Entry("netlab.cli.lab.inside:impair", "Make a link slow, late or lossy, live."),
    "capture": Entry("netlab.cli.lab.capture:capture", "Packets from many places at once, as one pcapng."),
    "graph": Entry("netlab.cli.lab.graph:graph", "A picture: text, mermaid or SVG."),
    "explain": Entry("netlab.cli.lab.words:explain", "The lab as the commands a person would type, with their why."),
    "drift": Entry("netlab.cli.lab.words:drift", "What is not as it was asked for."),
    "script": Entry("netlab.cli.lab.words:script", "The lab as one shell script without netlab."),
    "schema": Entry("netlab.cli.lab.words:schema", "The JSON schema of lab.yaml."),
}


@click.group(
    cls=LazyGroup,
    table=VERBS,
    epilog=output.examples(
        "netlab lab list",
        "netlab lab up docker0",
        "netlab lab check docker0",
        "netlab lab exec docker0 nginx-1 ping -c 1 172.17.0.3",
        "netlab lab down docker0",
    ),
)
def lab() -> None:
    """Build a lab, look inside it, break it, take it down."""
