"""What a pod calls itself: its host name and domain, the files /etc/hosts and /etc/hostname.

Source: kubernetes pkg/kubelet/kubelet_pods.go (GeneratePodHostNameAndDomain, managedHostsFileContent).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.kubelet.making.world import Missing

#: the longest host name that DNS has, and that the kernel has (__NEW_UTS_LEN)
_LABEL_MAX, _FQDN_MAX = 63, 64

_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_HEAD_OF_HOST = "# Kubernetes-managed hosts file (host network).\n"


class Name(NamedTuple):
    """host: without dots; domain: "" for none; kernel: what gethostname(2) tells."""

    host: str
    domain: str
    kernel: str


def name(pod: Json, domain: str) -> Name:
    """Of a pod in a cluster of that domain. Missing (FailedCreatePodSandBox) for one that is too long."""
    spec, meta = pod["spec"], pod["metadata"]
    host = str(spec.get("hostname") or meta["name"][:_LABEL_MAX].rstrip("-."))
    subdomain = spec.get("subdomain")
    own = f"{subdomain}.{meta['namespace']}.svc.{domain}" if subdomain else ""
    if not own or not spec.get("setHostnameAsFQDN"):
        return Name(host, own, host)
    whole = f"{host}.{own}"
    if len(whole) > _FQDN_MAX:
        raise Missing(
            "FailedCreatePodSandBox",
            f"failed to construct FQDN from Pod hostname and cluster domain, FQDN {whole} is too long "
            f"({_FQDN_MAX} characters is the max, {len(whole)} characters requested)",
        )
    return Name(host, own, whole)


def hosts(named: Name, ips: Sequence[Address], aliases: Iterable[Json]) -> str:
    """/etc/hosts of a pod with a network of its own."""
    names = f"{named.host}.{named.domain}\t{named.host}" if named.domain else named.host
    return _HEAD + "".join(f"{ip}\t{names}\n" for ip in ips) + _aliases(aliases)


def hosts_of_host(text: str, aliases: Iterable[Json]) -> str:
    """The same of a pod on the host's network: the host's own, and what the pod adds."""
    return _HEAD_OF_HOST + text + _aliases(aliases)


def _aliases(aliases: Iterable[Json]) -> str:
    lines = ["\t".join([alias["ip"], *(alias.get("hostnames") or ())]) + "\n" for alias in aliases]
    return f"\n# Entries added by HostAliases.\n{''.join(lines)}" if lines else ""
