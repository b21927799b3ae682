"""`netlab flanneld`: the node daemon of the overlay, with the options and environment of the original."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from netlab.base.addresses import Address
from netlab.cli import output

F = TypeVar("F", bound=Callable[..., Any])


class GoFlags(click.Command):
    """Takes `-iface=eth0`, too: manifests written for the original spell long options with one dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        long = {name.lstrip("-") for param in self.params for name in param.opts if name.startswith("--")}
        spelt = [
            f"-{arg}" if arg.startswith("-") and not arg.startswith("--") and arg[1:].partition("=")[0] in long else arg
            for arg in args
        ]
        return super().parse_args(ctx, spelt)


class IpAddress(click.ParamType[Address]):
    """An address; `version` 4, 6, or 0 for either."""

    name = "ADDRESS"

    def __init__(self, version: int = 0) -> None:
        self.version = version

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            self.fail(f"{value!r} is not an IP address", param, ctx)
        if self.version and address.version != self.version:
            self.fail(f"{value} is not an IPv{self.version} address", param, ctx)
        return address


def switch(name: str, default: bool, text: str) -> Callable[[F], F]:
    """`--x`, `--x=true` and `--x=false`, as Go's flags."""
    return click.option(
        name, type=click.BOOL, is_flag=False, flag_value=True, default=default, show_default=True, help=text,
        metavar="[=true|false]",
    )  # fmt: skip


def _path(name: str, text: str, **more: Any) -> Callable[[F], F]:
    return click.option(name, type=click.Path(path_type=Path), metavar="FILE", help=text, **more)


@click.command(
    cls=GoFlags,
    context_settings={"auto_envvar_prefix": "FLANNELD"},
    epilog=output.examples(
        "netlab lab up flannel-udp                                 # two of them, with a network to carry",
        "netlab flanneld --subnet-dir /srv/net --iface eth0        # leases in a directory that the nodes share",
        "netlab flanneld --etcd-endpoints http://10.168.0.9:2379 --ip-masq",
        "FLANNELD_IFACE=eth1 netlab flanneld --kube-subnet-mgr",
    ),
)
@click.option("--iface", multiple=True, metavar="NAME|ADDRESS", help="Device to the other nodes; first that is there.")
@click.option("--iface-regex", multiple=True, metavar="REGEX", help="The same, by a regular expression.")
@click.option("--iface-can-reach", type=IpAddress(), help="The device of the route to this address.")
@click.option("--public-ip", type=IpAddress(4), help="What the others are told. [default: the device's own]")
@click.option("--public-ipv6", type=IpAddress(6), help="The same for IPv6.")
@_path("--subnet-dir", "Keep leases in this directory, which the nodes share.")
@click.option(
    "--etcd-endpoints", metavar="URL,…", default="http://127.0.0.1:4001,http://127.0.0.1:2379", show_default=True,
    help="Keep leases in etcd.",
)  # fmt: skip
@click.option("--etcd-prefix", metavar="KEY", default="/coreos.com/network", show_default=True, help="Where in etcd.")
@click.option("--etcd-api", type=click.Choice(["2", "3"]), default="3", show_default=True, help="etcd's API.")
@_path("--etcd-cafile", "CA of etcd's certificate.")
@_path("--etcd-certfile", "Client certificate for etcd.")
@_path("--etcd-keyfile", "Its key.")
@click.option("--etcd-username", help="For etcd.")
@click.option("--etcd-password", help="For etcd; better in the environment: FLANNELD_ETCD_PASSWORD.")
@switch("--kube-subnet-mgr", False, "Take the subnet from the Kubernetes node's podCIDR.")
@click.option("--kube-api-url", metavar="URL", default="", help="Kubernetes API, with --kube-subnet-mgr.")
@click.option("--kube-annotation-prefix", default="flannel.alpha.coreos.com", show_default=True, help="Of annotations.")
@_path("--kubeconfig-file", "How to reach it. [default: as a pod does]")
@_path("--net-config-path", "The network's configuration, with --kube-subnet-mgr.", show_default=True,
       default="/etc/kube-flannel/net-conf.json")  # fmt: skip
@switch("--set-node-network-unavailable", True, "Set the node's condition NetworkUnavailable to False.")
@switch("--ip-masq", False, "Masquerade what pods send beyond the overlay.")
@switch("--iptables-forward-rules", True, "Let pods' packets through a FORWARD chain that drops.")
@click.option(
    "--iptables-resync", type=click.FloatRange(0.1), default=5, show_default=True, metavar="SECONDS",
    help="Seconds between two looks at whether the kernel still has it all.",
)  # fmt: skip
@_path("--subnet-file", "Where the node's subnet is written.", default="/run/flannel/subnet.env", show_default=True)
@click.option(
    "--subnet-lease-renew-margin", type=click.IntRange(1, 23 * 60), default=60, show_default=True, metavar="MINUTES",
    help="Minutes before its end at which the lease is renewed.",
)  # fmt: skip
@click.option("--healthz-ip", default="0.0.0.0", show_default=True, metavar="ADDRESS", help="Of /healthz, /metrics.")
@click.option("--healthz-port", type=click.IntRange(0, 65535), default=0, show_default="none", help="Its port.")
@switch("--offload", True, "Let the udp backend use what the kernel offers (TSO, GSO, GRO).")
@click.option("--iptables", type=click.Choice(["nft", "legacy"]), help="Which iptables. [default: what works]")
@click.option("--this-machine", is_flag=True, help="Change the machine's own network, not that of a namespace.")
@click.option("-v", "--verbosity", hidden=True, help="Accepted and left out of account.")
def flanneld(**given: Any) -> None:
    """Be the node's part of a flannel network: agree on a subnet, and have packets carried to all the others.

    Every option can be given in the environment as FLANNELD_NAME_OF_OPTION. The network's configuration is read from
    the store: PREFIX/config in etcd, `config` in the directory of --subnet-dir.

    It ends by SIGINT or SIGTERM and leaves the kernel as it is, so that packets go on (the udp backend's stop: they go
    through the process); the next one adopts what is there.
    """
    from netlab.daemons.flanneld.machine import run

    run(_options(given))


def _options(given: dict[str, Any]) -> Any:
    from netlab.daemons.flanneld.options import Etcd, Kube, Options

    etcd = kube = None
    if given["kube_subnet_mgr"]:
        kube = Kube(
            kubeconfig=given["kubeconfig_file"], api_url=given["kube_api_url"] or None,
            annotation_prefix=given["kube_annotation_prefix"], net_config=given["net_config_path"],
            set_network_unavailable=given["set_node_network_unavailable"],
        )  # fmt: skip
    elif given["subnet_dir"] is None:
        etcd = Etcd(
            endpoints=tuple(url.strip() for url in given["etcd_endpoints"].split(",") if url.strip()),
            prefix=given["etcd_prefix"], api=int(given["etcd_api"]), cafile=given["etcd_cafile"],
            certfile=given["etcd_certfile"], keyfile=given["etcd_keyfile"], username=given["etcd_username"],
            password=given["etcd_password"],
        )  # fmt: skip
    if kube and given["subnet_dir"]:
        raise click.UsageError("--kube-subnet-mgr and --subnet-dir are two ways to keep leases: choose one")
    return Options(
        iface=given["iface"], iface_regex=given["iface_regex"], iface_can_reach=given["iface_can_reach"],
        public_ip=given["public_ip"], public_ipv6=given["public_ipv6"], subnet_dir=given["subnet_dir"], etcd=etcd,
        kube=kube, ip_masq=given["ip_masq"], forward_rules=given["iptables_forward_rules"],
        resync=given["iptables_resync"], subnet_file=given["subnet_file"],
        renew_margin=60.0 * given["subnet_lease_renew_margin"], healthz_ip=given["healthz_ip"],
        healthz_port=given["healthz_port"], offload=given["offload"], this_machine=given["this_machine"],
        iptables=given["iptables"],
    )  # fmt: skip
