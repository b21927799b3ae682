"""Services that want the same address or port: who gets it, who is told, and who gets it next."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netlab.compile.objects import Service, ServicePort
from netlab.compile.tenancy import Claim, Tenancy

A, B, C = ("x", "a"), ("x", "b"), ("x", "c")


def service(key: tuple[str, str], *ports: tuple[int, int], ip: str = "", **more: Any) -> Service:
    listed = tuple(ServicePort(f"p{at}", "tcp", port, port, node) for at, (port, node) in enumerate(ports))
    return Service(*key, "NodePort", listed, (ip or f"10.96.0.{ord(key[1])}",), **more)


def test_a_node_port_is_the_first_one_s_and_then_the_next_one_s() -> None:
    tenancy = Tenancy()
    first, second = service(A, (80, 30080)), service(B, (80, 30080), (81, 30081))
    assert tenancy.settle(A, first).service is first
    settled = tenancy.settle(B, second)
    assert settled.service is not None and [p.node_port for p in settled.service.ports] == [0, 30081]
    assert settled.problems == ("Service x/b: node port 30080/tcp is Service x/a, and it is served without it",)
    assert tenancy.settle(A, first).problems == ()
    gone = tenancy.settle(A, None)
    assert gone.waiting == (B,)
    assert tenancy.settle(B, second).service is second


def test_tcp_and_udp_have_their_own_and_ports_without_nodes_ask_for_none() -> None:
    tenancy = Tenancy()
    ports = (ServicePort("t", "tcp", 53, 53, 30053), ServicePort("u", "udp", 53, 53, 30053))
    one = Service("x", "a", "NodePort", ports, ("10.96.0.10",))
    assert tenancy.settle(A, one).service is one
    inner = Service("x", "b", "ClusterIP", (ServicePort("t", "tcp", 53, 53, 30053),), ("10.96.0.11",))
    assert tenancy.settle(B, inner).service is inner


def test_a_port_whose_address_is_taken_is_not_served_and_keeps_nothing() -> None:
    tenancy = Tenancy()
    tenancy.settle(A, service(A, (80, 0), ip="10.96.0.1"))
    clashing = service(B, (80, 0), (81, 0), ip="10.96.0.1", external_ips=("80.11.12.10",))
    settled = tenancy.settle(B, clashing)
    assert settled.service is not None and [p.port for p in settled.service.ports] == [81]
    # what it could have had is free for others
    third = service(C, (80, 0), external_ips=("80.11.12.10",))
    assert tenancy.settle(C, third).service is third


def test_a_service_that_clashes_with_itself_is_told() -> None:
    tenancy = Tenancy()
    settled = tenancy.settle(A, service(A, (80, 30080), (81, 30080)))
    assert settled.service is not None and [p.node_port for p in settled.service.ports] == [30080, 0]
    assert "another port of its own" in settled.problems[0]


def test_what_is_not_proxied_asks_for_nothing() -> None:
    tenancy = Tenancy()
    headless = service(A, (80, 0), ip="10.96.0.1", headless=True)
    assert tenancy.settle(A, headless).service is headless
    assert tenancy.settle(B, service(B, (80, 0), ip="10.96.0.1")).problems == ()


SERVICES = st.tuples(
    st.sampled_from([A, B, C]),
    st.none() | st.lists(st.tuples(st.integers(80, 82), st.integers(0, 2)), max_size=3),
    st.sampled_from(["10.96.0.1", "10.96.0.2"]),
)


@given(st.lists(SERVICES, max_size=20))
def test_nobody_shares_and_everything_free_is_given(steps: list[tuple[tuple[str, str], Any, str]]) -> None:
    """Settle, and settle again whoever is named, until nobody is: then nobody lacks what nobody has."""
    tenancy = Tenancy()
    wanted: dict[tuple[str, str], Service] = {}
    had: dict[tuple[str, str], Service] = {}
    for key, ports, ip in steps:
        if ports is None:
            wanted.pop(key, None)
        else:
            wanted[key] = service(key, *ports, ip=ip)
        queue = [key]
        while queue:
            name = queue.pop(0)
            settled = tenancy.settle(name, wanted.get(name))
            queue += settled.waiting
            had.pop(name, None)
            if settled.service is not None:
                had[name] = settled.service
        claims = [c for s in had.values() for c in of(s)]
        assert len(claims) == len(set(claims))
        for name, one in wanted.items():
            lacking = set(of(one)) - set(of(had[name]))
            assert all(c in claims or not c.address or others(one, c, claims) for c in lacking)


def of(service: Service) -> list[Claim]:
    found = [Claim(p.protocol, ip, p.port) for p in service.ports for ip in service.cluster_ips]
    return found + [Claim(p.protocol, "", p.node_port) for p in service.ports if p.node_port]


def others(service: Service, claim: Claim, claims: list[Claim]) -> bool:
    """Whether the port had to go because of another of its claims."""
    return any(Claim(p.protocol, ip, p.port) in claims for p in service.ports for ip in service.cluster_ips)
