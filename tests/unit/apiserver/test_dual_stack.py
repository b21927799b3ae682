"""Services of one address family and of two: what the server fills in, gives, takes back, refuses."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from serving import Client, with_server

SERVICES = "/api/v1/namespaces/default/services"
FOUR, SIX = ip_network("10.96.0.0/12"), ip_network("fd00:10:96::/112")
BOTH = {"service_ranges": (FOUR, SIX)}


def service(name: str, **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}}


@pytest.mark.parametrize(
    ("spec", "policy", "families"),
    [
        ({}, "SingleStack", ["IPv4"]),
        ({"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, "RequireDualStack", ["IPv6", "IPv4"]),
        ({"clusterIP": "fd00:10:96::7"}, "SingleStack", ["IPv6"]),
        ({"clusterIP": "fd00:10:96::7", "ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv6", "IPv4"]),
        ({"clusterIP": "None"}, "SingleStack", ["IPv4"]),
        ({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "selector": None}, "RequireDualStack", ["IPv4", "IPv6"]),
    ],
)
def test_families_and_addresses_of_a_new_service(spec: Any, policy: str, families: list[str]) -> None:
    async def test(c: Client) -> None:
        got = (await c.post(SERVICES, service("a", **spec))).body["spec"]
        assert (got["ipFamilyPolicy"], got["ipFamilies"]) == (policy, families)
        assert got["clusterIP"] == got["clusterIPs"][0]
        if spec.get("clusterIP") == "None":
            assert got["clusterIPs"] == ["None"]
            return
        assert [f"IPv{ip_address(ip).version}" for ip in got["clusterIPs"]] == families
        assert all(ip_address(ip) in (SIX if ":" in ip else FOUR) for ip in got["clusterIPs"])
        if "clusterIP" in spec:
            assert got["clusterIP"] == spec["clusterIP"]

    with_server(test, **BOTH)


_TWO = ["10.96.0.7", "fd00:10:96::7"]


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"ipFamilies": ["IPv4", "IPv6"]}, "spec.ipFamilyPolicy", "when multiple IP families are specified"),
        ({"clusterIP": _TWO[0], "clusterIPs": _TWO}, "spec.ipFamilyPolicy", "when multiple cluster IPs are specified"),
        ({"clusterIPs": _TWO}, "spec.clusterIPs", "must be empty when `clusterIP` is not specified"),
        ({"clusterIP": _TWO[1], "clusterIPs": _TWO}, "spec.clusterIPs", "first value must match `clusterIP`"),
        (
            {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "10.96.0.8"]},
            "spec.clusterIPs",
            "no more than one IP",
        ),
        ({"clusterIP": _TWO[0], "ipFamilies": ["IPv6"]}, "spec.clusterIPs[0]", "expected an IPv6 value"),
        ({"clusterIP": "None", "clusterIPs": ["None", "fd00::1"]}, "spec.clusterIPs", "the first and only value"),
        ({"ipFamilies": ["IPv5"]}, "spec.ipFamilies[0]", "Unsupported value"),
        ({"ipFamilyPolicy": "Dual"}, "spec.ipFamilyPolicy", "Unsupported value"),
        ({"clusterIP": "fd00:99::1"}, "spec.clusterIPs", "The range of valid IPs is fd00:10:96::/112"),
    ],
)
def test_what_no_service_can_have(spec: Any, field: str, words: str) -> None:
    async def test(c: Client) -> None:
        answer = await c.post(SERVICES, service("a", **spec))
        assert answer.status == 422 and field in answer.message and words in answer.message, answer.message

    with_server(test, **BOTH)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"ipFamilyPolicy": "RequireDualStack"}, "this cluster is not configured for dual-stack services"),
        ({"ipFamilies": ["IPv6"]}, "not configured on this cluster"),
        ({"clusterIP": "fd00:10:96::7"}, "IPv6 is not configured on this cluster"),
    ],
)
def test_a_cluster_of_one_family(spec: Any, words: str) -> None:
    async def test(c: Client) -> None:
        answer = await c.post(SERVICES, service("a", **spec))
        assert answer.status == 422 and words in answer.message, answer.message
        got = (await c.post(SERVICES, service("b", ipFamilyPolicy="PreferDualStack"))).body["spec"]
        assert (got["ipFamilies"], len(got["clusterIPs"])) == (["IPv4"], 1)

    with_server(test)


def test_a_second_address_comes_and_goes() -> None:
    async def test(c: Client) -> None:
        at = f"{SERVICES}/a"
        one = (await c.post(SERVICES, service("a"))).body["spec"]
        two = (await c.patch(at, {"spec": {"ipFamilyPolicy": "PreferDualStack"}})).body["spec"]
        assert two["clusterIPs"][0] == one["clusterIP"] and ip_address(two["clusterIPs"][1]) in SIX
        # what says nothing of it keeps it
        kept = (await c.put(at, service("a", ports=[{"port": 81}]))).body["spec"]
        assert kept["clusterIPs"] == two["clusterIPs"] and kept["ipFamilies"] == ["IPv4", "IPv6"]
        refused = await c.patch(at, {"spec": {"clusterIPs": two["clusterIPs"][:1]}})
        assert refused.status == 422 and "must be 'SingleStack' to release the secondary cluster IP" in refused.message
        moved = await c.patch(at, {"spec": {"clusterIPs": [two["clusterIP"], "fd00:10:96::99"]}})
        assert moved.status == 422 and "spec.clusterIPs[1]" in moved.message
        alone = (await c.patch(at, {"spec": {"ipFamilyPolicy": "SingleStack"}})).body["spec"]
        assert (alone["clusterIPs"], alone["ipFamilies"]) == ([one["clusterIP"]], ["IPv4"])
        # and somebody else may have the second
        given = {"clusterIP": two["clusterIPs"][1], "ipFamilies": ["IPv6"]}
        assert (await c.post(SERVICES, service("b", **given))).status == 201

    with_server(test, **BOTH)


def test_nothing_is_held_for_what_is_refused() -> None:
    async def test(c: Client) -> None:
        two = {
            "clusterIP": "10.96.0.7",
            "clusterIPs": ["10.96.0.7", "fd00:99::1"],
            "ipFamilyPolicy": "RequireDualStack",
        }
        assert (await c.post(SERVICES, service("a", **two))).status == 422
        assert (await c.post(SERVICES, service("b", clusterIP="10.96.0.7"))).status == 201

    with_server(test, **BOTH)
