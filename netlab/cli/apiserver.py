"""`netlab apiserver`: the Kubernetes API, for kubectl and every other client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netlab.cli import output

_PATH = click.Path(path_type=Path)


@click.command(
    epilog=output.examples(
        "netlab apiserver --data-dir /srv/cluster --kubeconfig /srv/cluster/admin.conf",
        "kubectl --kubeconfig /srv/cluster/admin.conf get namespaces",
        "netlab apiserver --data-dir /tmp/try --store memory --port 0 --kubeconfig /tmp/try/admin.conf",
    ),
)
@click.option("--data-dir", type=_PATH, required=True, metavar="DIR", help="Store and certificates.")
@click.option(
    "--store", type=click.Choice(["sqlite", "etcd", "memory"]), default="sqlite", show_default=True,
    help="Where objects are kept.",
)  # fmt: skip
@click.option(
    "--etcd-servers", metavar="URL,…", default="http://127.0.0.1:2379", show_default=True, help="With --store etcd."
)
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to answer on.")
@click.option("--port", type=click.IntRange(0, 65535), default=6443, show_default=True, help="0: a free one.")
@click.option("--kubeconfig", type=_PATH, metavar="FILE", help="Write the administrator's kubeconfig here.")
@click.option("--token-auth-file", type=_PATH, metavar="FILE", help='Static tokens: token,user,uid,"groups" a line.')
@click.option("--audit-log-path", type=_PATH, metavar="FILE", help="Write who asked for what here.")
@click.option("--service-cluster-ip-range", metavar="CIDR", default="10.96.0.0/12", show_default=True, help="Services.")
@click.option("--tls-san", multiple=True, metavar="NAME|ADDRESS", help="More names of the server's certificate.")
@click.option("--anonymous-auth/--no-anonymous-auth", default=True, show_default=True, help="Answer the unknown too.")
def apiserver(**given: Any) -> None:
    """Serve the Kubernetes API over a store.

    It makes its own certificate authority, and a kubeconfig for its administrator. It ends by SIGINT or SIGTERM.
    """
    import ipaddress

    for name, parse in (("bind", ipaddress.ip_address), ("service_cluster_ip_range", ipaddress.ip_network)):
        try:
            parse(given[name])
        except ValueError as e:
            raise click.UsageError(f"--{name.replace('_', '-')}: {e}") from e
    from netlab.daemons.apiserver import Options, run

    run(
        Options(
            data_dir=given["data_dir"], store=given["store"], bind=given["bind"], port=given["port"],
            etcd=tuple(u.strip() for u in given["etcd_servers"].split(",") if u.strip()),
            kubeconfig=given["kubeconfig"], token_file=given["token_auth_file"], audit_log=given["audit_log_path"],
            service_range=given["service_cluster_ip_range"], names=tuple(given["tls_san"]),
            anonymous=given["anonymous_auth"],
        )
    )  # fmt: skip
