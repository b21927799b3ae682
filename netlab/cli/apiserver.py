"""`netlab apiserver`: the Kubernetes API, for kubectl and every other client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netlab.cli import output

if TYPE_CHECKING:
    from netlab.daemons.apiserver import Options

PATH = click.Path(path_type=Path)

#: where `netlab server` keeps what it has, if nothing else is said
DATA_DIR = Path("/var/lib/netlab/server")
data_dir = click.option(
    "--data-dir", type=PATH, default=DATA_DIR, show_default=True, envvar="NETLAB_DATA_DIR", show_envvar=True,
    metavar="DIR", help="Store and certificates of the server.",
)  # fmt: skip

_OPTIONS = (
    click.option(
        "--store", type=click.Choice(["sqlite", "etcd", "memory"]), default="sqlite", show_default=True,
        help="Where objects are kept.",
    ),
    click.option(
        "--etcd-servers", metavar="URL,…", default="http://127.0.0.1:2379", show_default=True, help="With --store etcd."
    ),
    click.option("--port", type=click.IntRange(0, 65535), default=6443, show_default=True, help="0: a free one."),
    click.option("--kubeconfig", type=PATH, metavar="FILE", help="Write the administrator's kubeconfig here, too."),
    click.option("--token-auth-file", type=PATH, metavar="FILE", help='Static tokens: token,user,uid,"groups" a line.'),
    click.option("--audit-log-path", type=PATH, metavar="FILE", help="Write who asked for what here."),
    click.option(
        "--service-cluster-ip-range", metavar="CIDR,…", default="10.96.0.0/12", show_default=True,
        help="Addresses of Services, of one family or of both; that of most Services first.",
    ),
    click.option("--tls-san", multiple=True, metavar="NAME|ADDRESS", help="More names of the server's certificate."),
    click.option(
        "--anonymous-auth/--no-anonymous-auth", default=True, show_default=True, help="Answer the unknown too."
    ),
)  # fmt: skip


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb what an API server is told, beside --data-dir and --bind."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_of(given: dict[str, Any]) -> Options:
    """What was given by `server_options`, with data_dir and bind. UsageError."""
    import ipaddress

    from netlab.base.addresses import networks_of_families

    try:
        ipaddress.ip_address(given["bind"])
    except ValueError as e:
        raise click.UsageError(f"--bind: {e}") from e
    try:
        ranges = networks_of_families(given["service_cluster_ip_range"])
    except ValueError as e:
        raise click.UsageError(f"--service-cluster-ip-range: {e}") from e
    if not ranges:
        raise click.UsageError("--service-cluster-ip-range: expected at least one prefix")
    from netlab.daemons.apiserver import Options

    return Options(
        data_dir=given["data_dir"], store=given["store"], bind=given["bind"], port=given["port"],
        etcd=tuple(u.strip() for u in given["etcd_servers"].split(",") if u.strip()),
        kubeconfig=given["kubeconfig"], token_file=given["token_auth_file"], audit_log=given["audit_log_path"],
        service_ranges=ranges, names=tuple(given["tls_san"]),
        anonymous=given["anonymous_auth"],
    )  # fmt: skip


@click.command(
    epilog=output.examples(
        "netlab apiserver --data-dir /srv/cluster --kubeconfig /srv/cluster/admin.conf",
        "kubectl --kubeconfig /srv/cluster/admin.conf get namespaces",
        "netlab apiserver --data-dir /tmp/try --store memory --port 0",
        "netlab server --no-nodes --data-dir /srv/cluster   # the same, with controllers",
    ),
)
@click.option(
    "--data-dir",
    type=PATH,
    required=True,
    envvar="NETLAB_DATA_DIR",
    show_envvar=True,
    metavar="DIR",
    help="Store and certificates.",
)
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to answer on.")
@server_options
def apiserver(**given: Any) -> None:
    """Serve the Kubernetes API over a store, without controllers.

    It makes its own certificate authority, and a kubeconfig for its administrator: admin.conf in the data directory.
    It ends by SIGINT or SIGTERM.
    """
    options = options_of(given)
    from netlab.daemons.apiserver import run

    run(options)
