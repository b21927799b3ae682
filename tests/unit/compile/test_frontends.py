"""Which tracked connections lead past the endpoints of a Service: points S110 to S116."""

from __future__ import annotations

from ipaddress import ip_address

from netlab.compile.frontends import Frontend, Frontends, frontends, outdated, stale
from netlab.compile.objects import Endpoint, EndpointSlice, Service, ServicePort, SlicePort
from netlab.compile.proxying import ProxyConfig, ports_of
from netlab.model.flows import Flow

DNS = Frontend("udp", "10.96.0.10", 53)
NODE = Frontend("udp", "", 30053)


def flow(address: str, port: int, answerer: str, answerer_port: int, protocol: str = "udp") -> Flow:
    client = ip_address("10.244.0.2")
    return Flow(protocol, client, 5555, ip_address(address), port, ip_address(answerer), answerer_port)


def of(*endpoints: str, ready: bool = True) -> Frontends:
    service = Service(
        "kube-system", "dns", "NodePort",
        (ServicePort("u", "udp", 53, 53, 30053), ServicePort("t", "tcp", 53, 53, 30054)),
        ("10.96.0.10",), external_ips=("80.11.12.10",),
    )  # fmt: skip
    listed = tuple(Endpoint(ip, ready=ready, serving=ready) for ip in endpoints)
    ports = (SlicePort("u", "udp", 53), SlicePort("t", "tcp", 53))
    slices = [EndpointSlice("kube-system", "dns-1", "dns", 4, ports, listed)]
    return frontends(ports_of(service, slices, ProxyConfig(node="n1"), 4))


def test_every_address_at_which_udp_is_asked_and_no_tcp() -> None:
    assert of("10.244.1.2") == dict.fromkeys(
        [DNS, Frontend("udp", "80.11.12.10", 53), NODE], frozenset({"10.244.1.2:53"})
    )


def test_S111_connections_to_an_endpoint_that_is_gone_are_stale_and_others_are_not() -> None:
    now = of("10.244.1.3")
    old, kept = flow("10.96.0.10", 53, "10.244.1.2", 53), flow("10.96.0.10", 53, "10.244.1.3", 53)
    assert stale([old, kept], now, []) == [old]


def test_S110_S116_what_found_nobody_is_stale_when_somebody_is_there() -> None:
    nowhere = flow("10.96.0.10", 53, "10.96.0.10", 53)
    assert stale([nowhere], of("10.244.1.2"), []) == [nowhere]


def test_S111_node_ports_on_addresses_of_this_node_alone() -> None:
    now = of("10.244.1.3")
    here, there = flow("192.168.0.1", 30053, "10.244.1.2", 53), flow("192.168.0.2", 30053, "192.168.0.2", 30053)
    assert stale([here, there], now, ["192.168.0.1"]) == [here]


def test_S113_an_endpoint_that_is_not_ready_is_none() -> None:
    assert of("10.244.1.2", ready=False)[DNS] == frozenset()


def test_S114_a_service_that_is_gone_and_tcp_which_is_left_alone() -> None:
    before = of("10.244.1.2")
    looked_at = outdated(before, {})
    assert looked_at == dict.fromkeys(before, frozenset())
    tcp = flow("10.96.0.10", 53, "10.244.1.2", 53, "tcp")
    udp = flow("10.96.0.10", 53, "10.244.1.2", 53)
    assert stale([tcp, udp], looked_at, []) == [udp]


def test_what_did_not_change_is_not_looked_at() -> None:
    assert outdated(of("10.244.1.2"), of("10.244.1.2")) == {}
    assert set(outdated(of("10.244.1.2"), of("10.244.1.3"))) == set(of())


def test_ipv6() -> None:
    front = Frontend("udp", "fd00:96::a", 53)
    client = ip_address("fd00::2")
    old = Flow("udp", client, 5555, ip_address("fd00:96::a"), 53, ip_address("fd00:1::9"), 53)
    kept = Flow("udp", client, 5555, ip_address("fd00:96::a"), 53, ip_address("fd00:1::2"), 53)
    assert stale([old, kept], {front: frozenset({"[fd00:1::2]:53"})}, []) == [old]
