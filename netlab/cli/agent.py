"""`netlab agent`: all parts of one node of a cluster, in one process."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import output

_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(
    epilog=output.examples(
        "netlab cluster token                                        # on the cluster's machine: prints the next line",
        "netlab agent --join https://10.168.0.2:6443 --token abcdef.0123456789abcdef --ca-hash sha256:…",
        "netlab agent                                                # again, as the node that it has become",
    )
)
@click.option("--join", metavar="URL", help="Become a node of the cluster of this API server, with the next two.")
@click.option("--token", metavar="TOKEN", help="Its bootstrap token.")
@click.option("--ca-hash", metavar="sha256:HEX", help="The fingerprint of its authority.")
@click.option("--node-name", metavar="NAME", help="How the node is called.  [default: this machine's host name]")
@click.option("--node-ip", "ips", metavar="ADDRESS", multiple=True,
              help="Its address, one of each family.  [default: the first that is global]")  # fmt: skip
@click.option("--directory", type=_DIRECTORY, default=Path("/etc/kubernetes"), show_default=True, metavar="DIR",
              help="Where what it gets is kept, and found again.")  # fmt: skip
@click.option("--images", type=_DIRECTORY, default=Path("/var/lib/netlab/images"), show_default=True, metavar="DIR",
              help="The store of images.")  # fmt: skip
@click.option("--this-machine", is_flag=True, help="Change the machine's own network, not that of a namespace.")
def agent(
    join: str | None, token: str | None, ca_hash: str | None, node_name: str | None, ips: tuple[str, ...],
    directory: Path, images: Path, this_machine: bool,
) -> None:  # fmt: skip
    """Be a node: kubelet, Service proxy, policy agent and flanneld, as tasks of one process.

    Nodes of `netlab cluster` run it by themselves. With --join a machine becomes a node of a cluster: the token lets it
    ask for a certificate, which the cluster signs, and the fingerprint tells that it is the right cluster. Pods and
    network stay as they are when it ends, by SIGINT or SIGTERM; the next one adopts them.
    """
    from netlab.daemons import agent as daemon
    from netlab.daemons.joining import Invitation
    from netlab.daemons.node import enter

    enter("agent", this_machine=this_machine)
    if join is not None:
        lacking = [name for name, value in (("--token", token), ("--ca-hash", ca_hash)) if not value]
        if lacking:
            raise InputError([Problem(name, "is needed with --join", "netlab cluster token") for name in lacking])
        invitation = Invitation(join.rstrip("/"), token or "", ca_hash or "")
        daemon.join(invitation, node=node_name or socket.gethostname(), ips=ips, directory=directory, images=images)
    file = directory / daemon.CONFIG.name
    if not file.exists():
        raise InputError(f"{file} is not there: this machine is no node yet", hint="netlab agent --join URL …")
    daemon.run(daemon.Options.read(file))
