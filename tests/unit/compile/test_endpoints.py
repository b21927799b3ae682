"""Pods to slices, and which endpoints a node's proxy uses. Numbers are the specification's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netlab.compile.endpoints import slices
from netlab.compile.objects import (
    ContainerPort,
    Endpoint,
    EndpointSlice,
    Node,
    Objects,
    Pod,
    Service,
    ServicePort,
    SlicePort,
)
from netlab.compile.parse import one
from netlab.compile.proxying import Port, ProxyConfig, ports_of
from netlab.compile.rules import completed

WEB = ServicePort("web", "tcp", 80, 8080)
BASE = Service("d", "s", "ClusterIP", (WEB,), cluster_ips=("10.96.0.1",), selector={"app": "s"}, uid="u")
CONFIG = ProxyConfig(node="n1", zone="z1")


def pod(name: str = "p", ip: str = "10.244.1.2", **more: Any) -> Pod:
    return Pod("d", name, (ip,), {"app": "s"}, node="n1", **more)


def port(*endpoints: Endpoint, service: Service = BASE, config: ProxyConfig = CONFIG, **more: Any) -> Port:
    ports = more.get("ports", (SlicePort("web", "tcp", 8080),))
    made = EndpointSlice("d", "s-1", "s", more.get("family", 4), ports, endpoints)
    return ports_of(service, [made, *more.get("others", ())], config, 4)[0]


def conditions(service: Service, of: Pod) -> dict[str, bool]:
    (made,) = slices(service, [of])
    found: dict[str, bool] = made["endpoints"][0]["conditions"]
    return found


def test_S47_pod_to_endpoint() -> None:
    assert conditions(BASE, pod()) == {"ready": True, "serving": True, "terminating": False}
    assert conditions(BASE, pod(terminating=True)) == {"ready": False, "serving": True, "terminating": True}
    assert conditions(BASE, pod(ready=False))["ready"] is False
    everyone = replace(BASE, publish_not_ready=True)
    assert conditions(everyone, pod(ready=False)) == {"ready": True, "serving": False, "terminating": False}  # S53


def test_S29_S53_finished_pods_are_no_endpoints() -> None:
    (made,) = slices(replace(BASE, publish_not_ready=True), [pod(finished=True)])
    assert made["endpoints"] == [] and made["ports"] == []


def test_S6_named_target_ports() -> None:
    service = replace(BASE, ports=(ServicePort("web", "tcp", 80, "http"),))
    pods = [
        pod("a", "10.244.1.2", ports=(ContainerPort("http", "tcp", 8080),)),
        pod("b", "10.244.1.3", ports=(ContainerPort("http", "udp", 1), ContainerPort("http", "tcp", 9090))),
        pod("c", "10.244.1.4"),
    ]
    made = slices(service, pods)
    assert [(s["ports"][0]["port"], s["endpoints"][0]["addresses"]) for s in made] == [
        (8080, ["10.244.1.2"]), (9090, ["10.244.1.3"]),
    ]  # fmt: skip


def test_S60_without_selector() -> None:
    assert slices(replace(BASE, selector=None), [pod()]) == []


def test_S62_slices_of_the_controller() -> None:
    service = replace(BASE, headless=True, labels={"team": "x"})
    pods = [pod(f"p{i:03}", f"10.244.{i // 200}.{i % 200 + 1}") for i in range(205)]
    made = slices(service, pods, {"n1": Node("n1", labels={"topology.kubernetes.io/zone": "z"})})
    assert [len(s["endpoints"]) for s in made] == [100, 100, 5]
    meta = made[0]["metadata"]
    assert meta["generateName"] == "s-" and meta["ownerReferences"][0]["uid"] == "u"
    assert meta["labels"] == {
        "team": "x",
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    first = made[0]["endpoints"][0]
    assert first["nodeName"] == "n1" and first["zone"] == "z" and first["targetRef"]["name"] == "p000"
    assert len(slices(service, [])) == 1


def test_S63_hostname() -> None:
    (made,) = slices(
        BASE, [pod("a", hostname="web-0", subdomain="s"), pod("b", "10.244.1.3", hostname="x", subdomain="t")]
    )
    assert [e.get("hostname") for e in made["endpoints"]] == ["web-0", None]


def test_dual_stack_has_slices_of_both_families() -> None:
    service = replace(BASE, families=(4, 6))
    made = slices(service, [replace(pod(), ips=("10.244.1.2", "fd00::2"))])
    assert [(s["addressType"], s["endpoints"][0]["addresses"][0]) for s in made] == [
        ("IPv4", "10.244.1.2"),
        ("IPv6", "fd00::2"),
    ]


def test_S48_conditions_that_are_missing() -> None:
    data = {
        "kind": "EndpointSlice", "metadata": {"namespace": "d", "name": "x"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": False}}],
    }  # fmt: skip
    first, second = one(data).endpoints
    assert (first.ready, first.serving, first.terminating) == (True, True, False)
    assert (second.ready, second.serving) == (False, True)


LEAVING = {"ready": False, "serving": True, "terminating": True}


def test_S49_S50_S51_terminating() -> None:
    found = port(Endpoint("10.0.0.1"), Endpoint("10.0.0.2", **LEAVING))  # type: ignore[arg-type]
    assert found.cluster == ("10.0.0.1:8080",)
    found = port(Endpoint("10.0.0.2", **LEAVING), Endpoint("10.0.0.3", False, False, True))  # type: ignore[arg-type]
    assert found.cluster == ("10.0.0.2:8080",) and found.any
    local = replace(BASE, internal_local=True)
    mixed = (Endpoint("10.0.0.1", node="n2"), Endpoint("10.0.0.2", node="n1", **LEAVING))  # type: ignore[arg-type]
    found = port(*mixed, service=local)
    assert found.cluster == ("10.0.0.1:8080",) and found.local == ("10.0.0.2:8080",)


def test_S55_S56_S73_ports_by_name() -> None:
    e = Endpoint("10.0.0.1")
    assert port(e, ports=(SlicePort("web", "tcp", 9999),)).cluster == ("10.0.0.1:9999",)
    for odd in (
        SlicePort("other", "tcp", 1),
        SlicePort(None, "tcp", 1),
        SlicePort("web", "udp", 1),
        SlicePort("web", "tcp", 0),
    ):
        assert port(e, ports=(odd,)).cluster == ()
    assert port(e, ports=(SlicePort(None, "tcp", 1), SlicePort("web", "tcp", 2))).cluster == ("10.0.0.1:2",)


def test_S57_doubles_count_once_and_the_local_one_wins() -> None:
    local = replace(BASE, internal_local=True)
    for order in (("n2", "n1"), ("n1", "n2")):
        twice = [Endpoint("10.0.0.1", node=node) for node in order]
        found = port(
            twice[0],
            service=local,
            others=[EndpointSlice("d", "y", "s", 4, (SlicePort("web", "tcp", 8080),), (twice[1],))],
        )
        assert found.local == ("10.0.0.1:8080",)


def test_S57_order_is_that_of_the_text() -> None:
    found = port(Endpoint("10.0.0.9"), Endpoint("10.0.0.10"))
    assert found.cluster == ("10.0.0.10:8080", "10.0.0.9:8080")


def test_S58_local_by_node_name() -> None:
    found = port(Endpoint("10.0.0.1"), Endpoint("10.0.0.2", node="n1"), service=replace(BASE, internal_local=True))
    assert found.local == ("10.0.0.2:8080",)


def test_S59_other_family() -> None:
    assert port(Endpoint("fd00::1"), family=6).cluster == () and port(Endpoint("a.example"), family=0).cluster == ()


def test_S61_hints() -> None:
    service = replace(BASE, hints=True)
    near, far = Endpoint("10.0.0.1", zones=("z1",)), Endpoint("10.0.0.2", zones=("z2",))
    assert port(near, far, service=service).cluster == ("10.0.0.1:8080",)
    assert len(port(near, far).cluster) == 2  # not asked for
    assert len(port(near, far, service=service, config=replace(CONFIG, zone="z3")).cluster) == 2
    assert len(port(near, Endpoint("10.0.0.2"), service=service).cluster) == 2
    assert len(port(near, far, service=service, config=replace(CONFIG, zone="")).cluster) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"service.kubernetes.io/service-proxy-name": ""}},
        {"labels": {"service.kubernetes.io/headless": ""}},
        {"headless": True},
        {"cluster_ips": ()},
        {"type": "ExternalName"},
    ],
)
def test_S64_not_proxied(change: dict[str, Any]) -> None:
    assert ports_of(replace(BASE, **change), [], CONFIG, 4) == []


def test_S54_S60_manual_slices_stay() -> None:
    manual = EndpointSlice("d", "mine", "s", 4, (), ())
    objects = Objects(services=(BASE,), slices=(manual,), pods=(pod(),))
    assert completed(objects).slices == (manual,)
    assert len(completed(replace(objects, slices=())).slices) == 1
