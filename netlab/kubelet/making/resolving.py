"""/etc/resolv.conf of a pod: dnsPolicy and dnsConfig, within the limits that Kubernetes holds to.

Source: kubernetes pkg/kubelet/network/dns, the documentation "DNS for Services and Pods".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from netlab.api import Json
from netlab.base.addresses import Address

NAMESERVERS_MAX, SEARCHES_MAX, SEARCH_CHARACTERS_MAX = 3, 32, 2048
_OPTIONS = ("ndots:5",)


@dataclass(frozen=True, slots=True)
class Resolv:
    """The lines of a resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Resolv:
        """A file; the last `search` counts, what is unknown is left out (resolv.conf(5))."""
        servers: list[str] = []
        searches: list[str] = []
        options: list[str] = []
        for line in text.splitlines():
            key, *words = line.split() or [""]
            if key == "nameserver":
                servers += words[:1]
            elif key in ("search", "domain"):
                searches = [w.rstrip(".") or w for w in words]
            elif key == "options":
                options += words
        return cls(tuple(servers), tuple(searches), tuple(options))

    def __str__(self) -> str:
        lines = [f"search {' '.join(self.searches)}"] if self.searches else []
        lines += [f"nameserver {server}" for server in self.nameservers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)


def resolv(pod: Json, host: Resolv, *, dns: Sequence[Address], domain: str, tell: Callable[[str, str], None]) -> Resolv:
    """What a pod resolves by. host: the node's own; dns, domain: the cluster's; tell: a warning's reason, message."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    clustered = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.get("hostNetwork"))
    if clustered and not dns:
        named = f"{pod['metadata']['name']}_{namespace}({pod['metadata'].get('uid', '')})"
        tell(
            "MissingClusterDNS",
            f'pod: "{named}". kubelet does not have ClusterDNS IP configured and cannot create Pod using "{policy}" '
            'policy. Falling back to "Default" policy.',
        )
    if policy == "None":
        found = Resolv()
    elif clustered and dns:
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        found = Resolv(tuple(map(str, dns)), _once((*own, *host.searches)), _OPTIONS)
    else:
        found = host
    return _limited(_configured(found, spec.get("dnsConfig") or {}), tell)


def _configured(found: Resolv, config: Json) -> Resolv:
    options = {option.partition(":")[0]: option for option in found.options}
    for option in config.get("options") or ():
        named, said = option["name"], option.get("value")
        options[named] = named if said is None else f"{named}:{said}"
    return Resolv(
        _once((*found.nameservers, *(config.get("nameservers") or ()))),
        _once((*found.searches, *(config.get("searches") or ()))), tuple(options.values()),
    )  # fmt: skip


def _limited(found: Resolv, tell: Callable[[str, str], None]) -> Resolv:
    servers, searches = found.nameservers[:NAMESERVERS_MAX], found.searches[:SEARCHES_MAX]
    while len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        searches = searches[:-1]
    if searches != found.searches:
        tell(
            "DNSConfigForming",
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(searches),
        )
    if servers != found.nameservers:
        tell(
            "DNSConfigForming",
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(servers),
        )
    return Resolv(servers, searches, found.options)


def _once(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
