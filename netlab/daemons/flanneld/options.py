"""What a flanneld was asked to do. Names and defaults are the original's where it has the option."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from netlab.base.addresses import Address

SUBNET_FILE = Path("/run/flannel/subnet.env")
ETCD_ENDPOINTS = ("http://127.0.0.1:4001", "http://127.0.0.1:2379")
ETCD_PREFIX = "/coreos.com/network"
NET_CONFIG = Path("/etc/kube-flannel/net-conf.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcd:
    """Where the store is. api: 3, or 2 for peers and an etcdctl of that age."""

    endpoints: tuple[str, ...] = ETCD_ENDPOINTS
    prefix: str = ETCD_PREFIX
    api: int = 3
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kube:
    """How the Kubernetes API is reached. kubeconfig and api_url None: from inside a pod."""

    kubeconfig: Path | None = None
    api_url: str | None = None
    annotation_prefix: str = "flannel.alpha.coreos.com"
    net_config: Path = NET_CONFIG
    set_network_unavailable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One of subnet_dir, kube and etcd is the store.

    renew_margin: seconds before a lease's end at which it is renewed; resync: seconds between two looks at what the
    kernel holds; offload: may the udp backend use what the kernel offers; this_machine: may it be the machine's own
    network namespace that is changed.
    """

    iface: tuple[str, ...] = ()
    iface_regex: tuple[str, ...] = ()
    iface_can_reach: Address | None = None
    public_ip: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None
    subnet_dir: Path | None = None
    etcd: Etcd | None = None
    kube: Kube | None = None
    ip_masq: bool = False
    forward_rules: bool = True
    resync: float = 5.0
    subnet_file: Path = SUBNET_FILE
    renew_margin: float = 3600.0
    healthz_ip: str = "0.0.0.0"
    healthz_port: int = 0
    offload: bool = True
    this_machine: bool = False
    iptables: str | None = None

    @property
    def claims(self) -> Path:
        """Where this node's flanneld remembers what of the network is its own."""
        return self.subnet_file.with_name(self.subnet_file.name + ".claims")

    @property
    def key_file(self) -> Path:
        """The node's WireGuard key."""
        return self.subnet_file.with_name(self.subnet_file.name + ".wireguard")
