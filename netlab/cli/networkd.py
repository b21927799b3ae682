"""`netlab networkd`: a custom controller, for Network objects."""

from __future__ import annotations

from typing import Any

import click

from netlab.cli import output
from netlab.cli.apiserver import PATH


@click.command(
    epilog=output.examples(
        "netlab lab up crd-network                     # one of them, with a server to ask",
        "ip netns exec lab.node1 netlab networkd --kubeconfig admin.conf --claims node1.claims",
        "netlab kubectl --lab crd-network get networks",
    ),
)
@click.option("--kubeconfig", type=PATH, required=True, metavar="FILE", help="The API server, and as whom to ask.")
@click.option("--claims", type=PATH, required=True, metavar="FILE", help="Where it remembers what it has made.")
@click.option("--this-machine", is_flag=True, help="Change the machine's own network, not that of a namespace.")
def networkd(**given: Any) -> None:
    """Make Network objects (samplecrd.k8s.io/v1) real in this network namespace: a bridge each, with its subnet.

    It ends by SIGINT or SIGTERM, and leaves the bridges; the next one adopts them.
    """
    from netlab.daemons.networkd import Options, run

    run(Options(**given))
