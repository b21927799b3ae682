"""The door takes anything that YAML can say: what is wrong is an InputError that names the object, never a crash."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from oracle import worlds

from netlab.base.errors import InputError
from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyCompiler, PolicyConfig
from netlab.compile.rules import completed
from netlab.dns.records import Records, ZoneConfig

META = {"name": "a", "namespace": "x", "labels": {"app": "a"}}
GOOD: list[dict[str, Any]] = [
    {"kind": "Service", "metadata": META, "spec": {
        "clusterIPs": ["10.96.0.1"], "selector": {"app": "a"}, "ports": [{"name": "p", "port": 80, "targetPort": "p"}],
        "loadBalancerSourceRanges": ["10.0.0.0/8"], "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}},
     "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
    {"kind": "Service", "metadata": META, "spec": {"type": "ExternalName", "externalName": "a.example"}},
    {"kind": "EndpointSlice", "metadata": {**META, "labels": {"kubernetes.io/service-name": "a"}}, "addressType": "IPv4",
     "ports": [{"name": "p", "port": 80}], "endpoints": [{
         "addresses": ["10.1.0.1"], "conditions": {"ready": True}, "hints": {"forZones": [{"name": "z"}]},
         "targetRef": {"name": "a"}, "nodeName": "n1", "hostname": "h"}]},
    {"kind": "Endpoints", "metadata": META, "subsets": [
        {"addresses": [{"ip": "10.1.0.1", "targetRef": {"name": "a"}}], "ports": [{"name": "p", "port": 80}]}]},
    worlds.pod("x", "a", "n1", "10.1.0.1", ports=[("p", 80, "TCP")]),
    {"kind": "Namespace", "metadata": {"name": "x", "labels": {"a": "b"}}},
    worlds.node("n1"),
    {"kind": "NetworkPolicy", "metadata": META, "spec": {
        "podSelector": {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"podSelector": {}}],
                     "ports": [{"port": 80, "endPort": 90}, {"port": "p", "protocol": "UDP"}]}],
        "egress": [{"to": [{"namespaceSelector": {}, "podSelector": {}}]}]}},
]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 70000), st.floats(allow_nan=False), st.text(max_size=8),
    st.sampled_from(["10.0.0.1", "10.0.0.0/8", "fd00::1", "fe80::1%eth0", "None", "a" * 300, "TCP", "x\ny", "::/0"]),
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def spoilt(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Good objects, with anything in the place of one value of each."""
    listed = copy.deepcopy(draw(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4)))
    for data in listed:
        at: Any = data
        while True:
            key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
            if key != "kind" and (not isinstance(at[key], dict | list) or not at[key] or draw(st.integers(0, 2)) == 0):
                at[key] = draw(ANYTHING)
                break
            if key == "kind":
                break
            at = at[key]
    return listed


def read(listed: list[dict[str, Any]]) -> Objects | None:
    try:
        return objects(listed)
    except InputError as e:
        assert e.problems and all(problem.message for problem in e.problems)
        return None


@given(spoilt())
def test_what_gets_in_can_be_used(listed: list[dict[str, Any]]) -> None:
    found = read(listed)
    if found is None:
        return
    whole = completed(found)
    for family in (4, 6):
        compiler = PolicyCompiler(PolicyConfig(node="n1", hold=("10.0.0.0/8",)), family)  # type: ignore[arg-type]
        compiler.load(whole)
        compiler.step()
    records = Records.of(whole, ZoneConfig())
    for name in ("a.x.svc", "h.a.x.svc", "_p._tcp.a.x.svc", "10-1-0-1.x.pod"):
        for kind in ("A", "AAAA", "SRV", "CNAME"):
            assert records.look((*name.split("."), "cluster", "local"), kind) is not None


@given(st.lists(ANYTHING, max_size=3))
def test_what_is_no_object_at_all(listed: list[Any]) -> None:
    read(listed)


def test_the_good_ones_are_good() -> None:
    for data in GOOD:
        assert read([data]) is not None
