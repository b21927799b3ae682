"""`netlab dns …`: the cluster's name server, and questions to it or to the manifests themselves."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netlab.base.errors import EXIT_FAILED, InputError, Problem
from netlab.cli import manifests, output

if TYPE_CHECKING:
    from netlab.dns.asking import Found

_PATHS = click.Path(path_type=Path)


@click.group(
    epilog=output.examples(
        "netlab dns serve -f manifests/",
        "netlab dns lookup -f manifests/ web-0.nginx --search default.svc.cluster.local",
    )
)
def dns() -> None:
    """Cluster DNS: what Services and pods are called, and whom a name leads to."""


def _zone(command: Any) -> Any:
    command = click.option(
        "--pod-names", type=click.Choice(["disabled", "insecure", "verified"]), default="insecure", show_default=True,
        help="Names such as 10-1-2-3.NAMESPACE.pod: none, any address, those of pods.",
    )(command)  # fmt: skip
    return click.option("--zone", default="cluster.local", show_default=True, help="The cluster's domain.")(command)


@dns.command(
    epilog=output.examples(
        "netlab dns serve -f manifests/                            # port 53 of every address of this namespace",
        "netlab dns serve -f manifests/ --upstream 10.168.0.53     # who is asked about all other names",
        "netlab dns serve --kubeconfig dns.conf                    # of a cluster, as a user who is a system:coredns",
        "netlab dns serve --hosts names --address 192.168.100.1    # no cluster's, but an upstream for one",
        "netlab dns serve -f manifests/ --address 127.0.0.1 --port 5353 --healthz-port 8181",
    )
)
@manifests.origin_options("-f", "--manifests", what="Services, EndpointSlices, pods, Namespaces")
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="Answer here. [default: everywhere]")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=53, show_default=True, help="UDP and TCP; 0: a free one."
)
@click.option("--upstream", "upstreams", multiple=True, metavar="ADDRESS[:PORT]",
              help="Who is asked about other names; repeatable. Without one they are refused.")  # fmt: skip
@click.option("--hosts", type=_PATHS, metavar="FILE", help="Know the names of this file, too; it is like /etc/hosts.")
@_zone
@click.option("--ttl", type=click.IntRange(0, 3600), default=5, show_default=True, metavar="SECONDS",
              help="How long an answer may be kept.")  # fmt: skip
@click.option("--endpoint-pod-names", is_flag=True, help="Endpoints without a hostname go by their pod's name.")
@click.option("--fallthrough", is_flag=True, help="Addresses that the cluster does not know go upstream, too.")
@click.option("--healthz-ip", default="0.0.0.0", show_default=True, metavar="ADDRESS", help="Of /healthz, /metrics.")
@click.option("--healthz-port", type=click.IntRange(0, 65535), default=0, show_default="none", help="Its port.")
def serve(**given: Any) -> None:
    """Be a cluster's name server: Kubernetes DNS 1.1.0 over UDP and TCP.

    The manifests, or the objects of an API server, are followed; while that is away, the names stay what they were. An
    object that makes no sense stays what it was, and the log says so. It ends by SIGINT or SIGTERM.
    """
    origin = manifests.origin(given, needed=not given["hosts"])
    from netlab.daemons.dns import Options, run
    from netlab.dns.records import ZoneConfig

    zone = ZoneConfig(
        zone=_domain("--zone", given["zone"]), ttl=given["ttl"], pods=given["pod_names"],
        endpoint_pod_names=given["endpoint_pod_names"], fallthrough=given["fallthrough"],
    )  # fmt: skip
    run(
        Options(
            port=given["port"], zone=zone,
            addresses=tuple(str(_address("--address", text)) for text in given["addresses"]) or ("0.0.0.0", "::"),
            upstreams=tuple(_server("--upstream", text) for text in given["upstreams"]), hosts=given["hosts"],
            healthz_ip=given["healthz_ip"], healthz_port=given["healthz_port"],
        ),
        origin,
    )  # fmt: skip


@dns.command(
    epilog=output.examples(
        "netlab dns lookup -f manifests/ my-svc.default.svc.cluster.local           # needs neither root nor a server",
        "netlab dns lookup -f manifests/ web-0.nginx --search default.svc.cluster.local",
        "netlab dns lookup -f manifests/ _http._tcp.nginx.default.svc.cluster.local SRV",
        "netlab dns lookup -f manifests/ 10.244.0.30                                # what an address is called",
        "netlab lab exec dns-services client netlab dns lookup web-0.nginx --resolv-conf resolv.conf",
        "netlab dns lookup example.com --server 10.96.0.10 --tcp --json",
    )
)
@click.argument("name")
@click.argument("kind", metavar="[TYPE]", default="")
@click.option("-f", "--filename", "files", type=click.Path(exists=True, path_type=Path), multiple=True, metavar="PATH",
              help="Answer out of these manifests.")  # fmt: skip
@click.option("--server", metavar="ADDRESS[:PORT]", help="Ask this name server.")
@click.option("--resolv-conf", type=click.Path(exists=True, path_type=Path), metavar="FILE",
              help="As a pod with this resolv.conf: its server, search list and ndots.")  # fmt: skip
@click.option("--search", multiple=True, metavar="DOMAIN", help="Try the name with this behind it first; repeatable.")
@click.option("--tcp", is_flag=True, help="Ask by TCP.")
@_zone
@output.json_option
def lookup(
    name: str,
    kind: str,
    files: tuple[Path, ...],
    server: str | None,
    resolv_conf: Path | None,
    search: tuple[str, ...],
    tcp: bool,
    zone: str,
    pod_names: str,
    as_json: bool,
) -> None:
    """Ask for a name (or what an address is called), and tell every name that was tried on the way.

    TYPE is A and AAAA by default, PTR for an address. Status 1 if there is no answer.
    """
    from netlab.dns import asking
    from netlab.dns.search import Resolver, parse

    resolver = parse(resolv_conf.read_text(encoding="utf-8", errors="replace")) if resolv_conf else Resolver()
    if search:
        # who gives a list means it to be used
        resolver = Resolver(resolver.servers, search, max(resolver.ndots, 5))
    if files:
        from netlab.cli.manifests import cluster
        from netlab.dns.records import ZoneConfig

        config = ZoneConfig(zone=_domain("--zone", zone), pods=pod_names)  # type: ignore[arg-type]  # click's choice
        found = asking.in_objects(cluster(files), config, name, kind, resolver)
    else:
        chosen = server or next(iter(resolver.servers), None)
        if chosen is None:
            raise click.UsageError("whom to ask? give -f, --server or a --resolv-conf with a nameserver")
        found = asking.by_wire(_server("--server", chosen), name, kind, resolver, tcp=tcp)
    if as_json:
        output.emit_json(found)
    else:
        _print(found)
    if not any(answer.records for answer in found[-1].answers):
        click.get_current_context().exit(EXIT_FAILED)


def _print(found: list[Found]) -> None:
    for tried in found:
        for answer in tried.answers:
            what = f"{tried.name} {answer.type}"
            if answer.records:
                click.echo(f"{what}: {answer.status}")
                for record in answer.records:
                    click.echo(f"  {record.name} {record.ttl} {record.type} {record.data}")
            else:
                status = "no record of this type" if answer.status == "NOERROR" else answer.status
                click.echo(f"{what}: {output.style(status, 'yellow')}")


def _address(option: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        raise InputError([Problem(option, f"{text!r} is not an IP address")]) from None


def _server(option: str, text: str) -> tuple[str, int]:
    """`10.96.0.10`, `10.96.0.10:5353`, `fd00::a` or `[fd00::a]:5353`."""
    host, port = text, "53"
    if text.count(":") == 1 or "]:" in text:
        host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError([Problem(option, f"{text!r}: {port!r} is no port", "such as 10.96.0.10:53")])
    return str(_address(option, host)), int(port)


def _domain(option: str, text: str) -> str:
    from netlab.compile.fields import is_domain

    if not is_domain(text):
        raise InputError([Problem(option, f"{text!r} is no name of the DNS", "such as cluster.local")])
    return text.rstrip(".").lower()
