"""`netlab agent`: all parts of one node of a cluster, in one process."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import output
from netlab.cli.apiserver import data_dir

if TYPE_CHECKING:
    from netlab.daemons.joining import Invitation

_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(
    epilog=output.examples(
        "sudo netlab token            # on the server's machine: prints the next line, as `netlab cluster token` does",
        "sudo netlab agent --this-machine --join https://192.168.61.10:6443 --token abcdef.… --ca-hash sha256:…",
        "sudo netlab agent --this-machine                            # again, as the node that it has become",
        "sudo netlab agent --this-machine --control-plane            # where `netlab server` runs",
        "sudo netlab agent --this-machine --join … --no-run && sudo systemctl start netlab-agent",
    )
)
@click.option("--join", metavar="ADDRESS", help="Become a node of the cluster of this API server, with the next two.")
@click.option("--token", metavar="TOKEN", help="Its bootstrap token.")
@click.option("--ca-hash", metavar="sha256:HEX", help="The fingerprint of its authority.")
@click.option("--control-plane", is_flag=True, help="Become the node of the machine that `netlab server` runs on.")
@data_dir
@click.option("--node-name", metavar="NAME", help="How the node is called.  [default: this machine's host name]")
@click.option("--node-ip", "ips", metavar="ADDRESS", multiple=True,
              help="Its address, one of each family.  [default: the one that leads to the server]")  # fmt: skip
@click.option("--directory", type=_DIRECTORY, default=Path("/etc/kubernetes"), show_default=True, metavar="DIR",
              help="Where what it gets is kept, and found again.")  # fmt: skip
@click.option("--images", type=_DIRECTORY, default=Path("/var/lib/netlab/images"), show_default=True, metavar="DIR",
              help="The store of images; a node that joins gets those that Debian's files here make.")  # fmt: skip
@click.option("--pull", is_flag=True, help="A node that joins may fetch other images from registries.")
@click.option("--run/--no-run", "go_on", default=True, show_default=True, help="Once it is a node, do its work.")
@click.option("--this-machine", is_flag=True, help="Change the machine's own network, not that of a namespace.")
def agent(
    join: str | None, token: str | None, ca_hash: str | None, control_plane: bool, data_dir: Path,
    node_name: str | None, ips: tuple[str, ...], directory: Path, images: Path, pull: bool, go_on: bool,
    this_machine: bool,
) -> None:  # fmt: skip
    """Be a node: kubelet, Service proxy, policy agent and flanneld, as tasks of one process.

    Nodes of `netlab cluster` run it by themselves. With --join a machine becomes a node of a cluster: the token lets it
    ask for a certificate, which the cluster signs, and the fingerprint tells that it is the right cluster; on one that
    is that node already, nothing is asked for again. Pods and network stay as they are when it ends, by SIGINT or
    SIGTERM; the next one adopts them.
    """
    from netlab.api.names import subdomain_problems
    from netlab.daemons import agent as daemon
    from netlab.daemons.clusters import ClusterMachine
    from netlab.daemons.node import enter

    if join is not None and control_plane:
        raise click.UsageError("--join and --control-plane exclude each other")
    problems: list[Problem] = []
    invitation = _invitation(join, token, ca_hash, problems) if join is not None else None
    name = (node_name or socket.gethostname()).lower()
    wrong = "; ".join(subdomain_problems(name))
    if wrong:
        problems.append(Problem("--node-name", f"{name!r} is no name of a node: {wrong}", "such as agent-1"))
    for text in ips:
        try:
            ip_address(text)
        except ValueError:
            problems.append(Problem("--node-ip", f"{text!r} is no address", "such as 192.168.61.11"))
    if problems:
        raise InputError(problems)
    enter("agent", this_machine=this_machine)
    if invitation is not None or control_plane:
        ClusterMachine().missing(["runc", "conmon"])
        asked = daemon.Asked(node=name, ips=ips, directory=directory, images=images, pull=pull)
        done = daemon.join(invitation, asked) if invitation else daemon.join_here(data_dir, asked)
        ClusterMachine().images(images, lambda what: output.note(f"building image {what}"))
        output.note(f"this machine is {'now ' if done else ''}node {name}")
    file = directory / daemon.CONFIG.name
    if not file.exists():
        raise InputError(f"{file} is not there: this machine is no node yet", hint="netlab agent --join ADDRESS …")
    if go_on:
        daemon.run(daemon.Options.read(file))


def _invitation(join: str, token: str | None, ca_hash: str | None, problems: list[Problem]) -> Invitation | None:
    from netlab.daemons.joining import ANOTHER, Invitation

    lacking = [name for name, value in (("--token", token), ("--ca-hash", ca_hash)) if not value]
    if lacking:
        problems += [Problem(name, "is needed with --join", ANOTHER) for name in lacking]
        return None
    try:
        return Invitation.parse(join, token or "", ca_hash or "")
    except InputError as e:
        problems += e.problems
        return None
