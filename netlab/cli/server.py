"""`netlab server`, `controllers`, `scheduler`, `kubeconfig`: a cluster's control plane, and who may speak to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netlab.cli import output
from netlab.cli.apiserver import PATH, data_dir, options_of, server_options

if TYPE_CHECKING:
    from netlab.daemons.controllers import Settings

_CONTROLLERS = (
    click.option(
        "--controllers", "chosen", metavar="NAMES", default="*", show_default=True,
        help="Which controllers run: *,-job-controller for all but that one.",
    ),
    click.option(
        "--cluster-cidr", metavar="CIDR,…", default="",
        help="Give every node its part (podCIDRs) of this prefix, or of these two of IPv4 and IPv6.",
    ),
    click.option(
        "--node-cidr-mask-size", metavar="BITS,…", default="",
        help="How long a node's parts are, in the same order.  [default: 24 for IPv4, 64 for IPv6]",
    ),
    click.option(
        "--node-monitor-grace-period", "node_grace", type=click.FloatRange(1), metavar="SECONDS", default=50,
        show_default=True, help="How long a node may give no sign of life; it has to renew its Lease more often.",
    ),
)  # fmt: skip


def _controllers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb what controllers are told."""
    for option in reversed(_CONTROLLERS):
        command = option(command)
    return command


def _settings(given: dict[str, Any]) -> Settings:
    """What was given by `_controllers`, which is taken out. InputError."""
    from netlab.controllers.podranges import cluster_ranges
    from netlab.daemons.controllers import Settings, chosen

    ranges = cluster_ranges(given.pop("cluster_cidr"), given.pop("node_cidr_mask_size"))
    return Settings(chosen(given.pop("chosen")), ranges, node_grace=given.pop("node_grace"))


@click.command(
    epilog=output.examples(
        "netlab server --data-dir /srv/cluster --kubeconfig cluster.conf",
        "netlab kubectl --data-dir /srv/cluster get namespaces",
        "netlab server --data-dir /srv/cluster --cluster-cidr 10.244.0.0/16,fd00:10:244::/48",
        "netlab server --data-dir /tmp/try --store memory --port 0",
    ),
)
@server_options
@click.option(
    "--scheduler/--no-scheduler", "schedule", default=True, show_default=True, help="Place pods on nodes, too."
)
@_controllers
def server(schedule: bool, **given: Any) -> None:
    """Serve the Kubernetes API, and run the controllers and the scheduler that make its objects mean something.

    Namespaces end with all that is in them, what has owners goes with them, every namespace has a service account,
    quotas are counted, Services have endpoints, Deployments, DaemonSets and Jobs have pods, pods are given nodes, and
    nodes that are silent lose theirs. It runs no pods itself: without nodes they stay Pending. It ends by SIGINT or
    SIGTERM.
    """
    settings, options = _settings(given), options_of(given)
    from netlab.daemons.server import run

    run(options, settings, schedule=schedule)


def _follower(lease: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a verb what a process is told that follows an API server."""
    given = (
        click.option(
            "--kubeconfig", type=PATH, required=True, metavar="FILE", help="The API server, and as whom to ask."
        ),
        click.option(
            "--leader-elect/--no-leader-elect", default=True, show_default=True,
            help=f"Of several such processes let one work, by the Lease kube-system/{lease}.",
        ),
        click.option(
            "--health-host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Of /healthz, /metrics."
        ),
        click.option("--health-port", type=click.IntRange(1, 65535), show_default="none", help="Its port."),
    )  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(given):
            command = option(command)
        return command

    return decorate


@click.command(
    epilog=output.examples(
        "netlab controllers --kubeconfig /srv/cluster/admin.conf",
        "netlab controllers --kubeconfig admin.conf --health-port 10257   # /healthz, /readyz, /metrics",
    ),
)
@_follower("kube-controller-manager")
@_controllers
@click.option(
    "--cluster-signing-cert-file", "cert", type=PATH, metavar="FILE", help="The CA that signs certificate requests."
)
@click.option("--cluster-signing-key-file", "key", type=PATH, metavar="FILE", help="Its key.")
def controllers(cert: Path | None, key: Path | None, **given: Any) -> None:
    """Run the controllers against an API server: netlab's, or another that has none of its own.

    It ends by SIGINT or SIGTERM, or when another process has taken the Lease.
    """
    settings = _settings(given)
    if (cert is None) != (key is None):
        raise click.UsageError("--cluster-signing-cert-file and --cluster-signing-key-file go together")
    if cert is not None and key is not None:
        from netlab.controllers.certificates import Authority

        settings = replace(settings, authority=Authority.load(cert, key))
    from netlab.daemons.controllers import run
    from netlab.daemons.loops import Options

    run(Options(**given), settings)


@click.command(
    epilog=output.examples(
        "netlab scheduler --kubeconfig /srv/cluster/admin.conf",
        "netlab scheduler --kubeconfig admin.conf --health-port 10259   # /healthz, /readyz, /metrics",
        "netlab server --data-dir /srv/cluster --no-scheduler            # a server that leaves it to this one",
    ),
)
@_follower("kube-scheduler")
def scheduler(**given: Any) -> None:
    """Give pods their nodes, against an API server that has no scheduler.

    It ends by SIGINT or SIGTERM, or when another process has taken the Lease.
    """
    from netlab.daemons.loops import Options
    from netlab.daemons.scheduler import run

    run(Options(**given))


@click.command(
    epilog=output.examples(
        "netlab kubeconfig jane --group dev --data-dir /srv/cluster -o jane.conf",
        "kubectl --kubeconfig jane.conf auth whoami",
        "netlab kubeconfig root --group system:masters --data-dir /srv/cluster",
    ),
)
@click.argument("user")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Groups of the user.")
@data_dir
@click.option("--server", metavar="URL", default="", help="The server's address. [default: as the administrator's]")
@click.option("-o", "--output", "file", type=PATH, metavar="FILE", help="Write it here, for its owner alone.")
def kubeconfig(user: str, groups: tuple[str, ...], data_dir: Path, server: str, file: Path | None) -> None:
    """Print a kubeconfig for USER of a server on this machine: a client certificate, good for a year.

    What the user may do is for RoleBindings to say; the group system:masters may do anything.
    """
    from netlab.daemons.apiserver import issue_kubeconfig, write_private

    config = issue_kubeconfig(data_dir, user, groups, server=server)
    if file is None:
        click.echo(config.decode(), nl=False)
    else:
        write_private(file, config)
