"""What a pod calls itself and by whom it resolves names."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from makingworld import pod

from netlab.kubelet.making import Missing, names
from netlab.kubelet.making.names import Name
from netlab.kubelet.making.resolving import Resolv, resolv

DOMAIN = "cluster.local"


def named(metadata_name: str = "web-0", **spec: Any) -> Name:
    made = pod(**spec)
    made["metadata"]["name"] = metadata_name
    return names.name(made, DOMAIN)


def test_S135_names_of_pods() -> None:
    assert named() == Name("web-0", "", "web-0")
    assert named(hostname="db", subdomain="data") == Name("db", "data.default.svc.cluster.local", "db")
    whole = "web-0.data.default.svc.cluster.local"
    assert named(subdomain="data", setHostnameAsFQDN=True) == Name("web-0", "data.default.svc.cluster.local", whole)
    assert named(setHostnameAsFQDN=True).kernel == "web-0"
    assert named("a" * 62 + "-" + "b" * 9).host == "a" * 62


def test_a_whole_name_that_the_kernel_cannot_hold() -> None:
    with pytest.raises(Missing, match=r"is too long \(64 characters is the max, 69 characters requested\)") as long:
        named("w" * 38, subdomain="data", setHostnameAsFQDN=True)
    assert long.value.reason == "FailedCreatePodSandBox"


def test_S148_hosts() -> None:
    ips = (ip_address("10.244.1.7"), ip_address("2001:db8::7"))
    assert names.hosts(Name("web-0", "", "web-0"), ips, []).splitlines() == [
        "# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters",
        "10.244.1.7\tweb-0", "2001:db8::7\tweb-0",
    ]  # fmt: skip
    aliased = names.hosts(
        Name("db", "data.default.svc.cluster.local", "db"), ips[:1], [{"ip": "192.0.2.1", "hostnames": ["a"]}]
    )
    assert aliased.endswith(
        "10.244.1.7\tdb.data.default.svc.cluster.local\tdb\n\n# Entries added by HostAliases.\n192.0.2.1\ta\n"
    )
    told = names.hosts_of_host("127.0.0.1\tlocalhost\n", [{"ip": "192.0.2.1", "hostnames": ["a", "b"]}])
    assert told == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n"
        "\n# Entries added by HostAliases.\n192.0.2.1\ta\tb\n"
    )


HOST = Resolv.parse(
    "# of the node\nnameserver 192.0.2.53\nsearch example.org lab.example.org.\noptions edns0 ndots:2\n"
)
OWN = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


def resolved(warned: list[str] | None = None, *, dns: str = "10.96.0.10", **spec: Any) -> Resolv:
    told = [] if warned is None else warned
    servers = [ip_address(dns)] if dns else []
    return resolv(pod(**spec), HOST, dns=servers, domain=DOMAIN, tell=lambda *said: told.append(": ".join(said)))


def test_S146_S147_policies() -> None:
    clustered = Resolv(("10.96.0.10",), (*OWN, "example.org", "lab.example.org"), ("ndots:5",))
    assert resolved() == clustered
    assert resolved(hostNetwork=True) == HOST
    assert resolved(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet") == clustered
    assert resolved(dnsPolicy="Default") == HOST
    config = {
        "nameservers": ["192.0.2.1"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
    }
    assert resolved(dnsPolicy="None", dnsConfig=config) == Resolv(("192.0.2.1",), ("x",), ("ndots:1", "edns0"))
    merged = resolved(
        dnsConfig={**config, "nameservers": ["10.96.0.10", "192.0.2.1"], "searches": ["cluster.local", "x"]}
    )
    assert merged == Resolv(("10.96.0.10", "192.0.2.1"), (*clustered.searches, "x"), ("ndots:1", "edns0"))
    assert str(HOST) == "search example.org lab.example.org\nnameserver 192.0.2.53\noptions edns0 ndots:2\n"
    assert str(Resolv()) == ""


def test_S147_limits_are_told() -> None:
    warned: list[str] = []
    config = {"nameservers": [f"192.0.2.{n}" for n in range(1, 5)], "searches": [f"s{n}" for n in range(40)]}
    found = resolved(warned, dnsPolicy="None", dnsConfig=config)
    assert found.nameservers == ("192.0.2.1", "192.0.2.2", "192.0.2.3") and len(found.searches) == 32
    assert warned[1] == (
        "DNSConfigForming: Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver "
        "line is: 192.0.2.1 192.0.2.2 192.0.2.3"
    )
    assert warned[0].startswith(
        "DNSConfigForming: Search Line limits were exceeded, some search paths have been omitted"
    )
    long = resolved(
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.1"], "searches": ["x" * 250] * 2 + [f"{n}{'y' * 240}" for n in range(20)]},
    )
    assert len(" ".join(long.searches)) <= 2048 and len(long.searches) == 8
    warned.clear()
    assert resolved(warned, dns="") == HOST
    assert warned == [
        'MissingClusterDNS: pod: "web-0_default(u1)". kubelet does not have ClusterDNS IP configured and cannot create Pod '
        'using "ClusterFirst" policy. Falling back to "Default" policy.'
    ]
