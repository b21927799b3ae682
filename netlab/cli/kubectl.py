"""`netlab kubectl`: the kubectl of this machine, with the kubeconfig of a server of this machine.

It fetches nothing: without a kubectl it says what brings one.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from netlab.base.errors import InputError
from netlab.cli import output
from netlab.cli.apiserver import DATA_DIR, PATH
from netlab.daemons.kubectl import environment, find, missing


def configuration(args: tuple[str, ...], data_dir: Path | None) -> dict[str, str]:
    """What to add to kubectl's environment: nothing if it is told by itself which server to ask. InputError."""
    if any(arg == "--kubeconfig" or arg.startswith("--kubeconfig=") for arg in args):
        return {}
    if data_dir is not None:
        if not (data_dir / "admin.conf").is_file():
            raise InputError(
                f"{data_dir / 'admin.conf'} is not there", hint=f"start a server: netlab server --data-dir {data_dir}"
            )
        return environment(data_dir)
    if os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser().is_file():
        return {}
    if os.access(DATA_DIR / "admin.conf", os.R_OK):
        return configuration(args, DATA_DIR)
    raise InputError(
        "nothing says which server to ask",
        hint="--data-dir DIR (or NETLAB_DATA_DIR) of a running netlab server, or KUBECONFIG, or ~/.kube/config",
    )


def in_lab(name: str) -> tuple[str, Path]:
    """The namespace and the data directory of a lab's API server. InputError."""
    from netlab.lab.journal import Journal

    record = Journal(name).read(names_only=True)
    if record is None:
        raise InputError(f"lab {name!r} is not up", hint=f"netlab lab up {name}")
    for entry in record.processes:
        argv = entry["argv"]
        if {"server", "--data-dir"} <= set(argv):
            return entry["netns"], Path(argv[argv.index("--data-dir") + 1])
    raise InputError(f"lab {name!r} has no API server")


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=output.examples(
        "netlab kubectl --data-dir /srv/cluster get namespaces",
        "export NETLAB_DATA_DIR=/srv/cluster; netlab kubectl apply -f manifests/",
        "netlab kubectl --lab crd-network get networks",
        "netlab kubectl get --help                      # what follows is kubectl's",
    ),
)
@click.option(
    "--data-dir", type=PATH, envvar="NETLAB_DATA_DIR", show_envvar=True, metavar="DIR",
    help="Of the server to ask, as its administrator.",
)  # fmt: skip
@click.option("--lab", metavar="NAME", help="Ask the server of this lab, from the node that it is on.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def kubectl(data_dir: Path | None, lab: str | None, args: tuple[str, ...]) -> None:
    """Run this machine's kubectl with ARGS; its exit status is ours.

    It fetches nothing. Of several things that say which server to ask, the first counts: --kubeconfig among ARGS,
    --lab, --data-dir, KUBECONFIG, ~/.kube/config, the data directory of a `netlab server` that was given no other.
    """
    program = find()
    if program is None:
        raise missing()
    argv = [str(program), *args]
    from netlab.kernel import commands
    from netlab.lab.journal import Journal, on_cluster

    if lab is not None and on_cluster(lab):
        folder = Journal(lab, kind="cluster").dir
        commands.become(argv, environment(folder))
    if lab is not None:
        namespace, data_dir = in_lab(lab)
        commands.enter_and_exec(namespace, argv, configuration(args, data_dir))
    else:
        commands.become(argv, configuration(args, data_dir))
