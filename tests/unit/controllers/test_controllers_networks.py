"""Network objects and the bridges that they are."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import CRDS, EVENTS, until

from netlab.client.kubeconfig import ApiConfig
from netlab.client.rest import Object, RestClient
from netlab.compile.networks import bridge_name, networks
from netlab.controllers.networks import NETWORKS, Networks
from netlab.controllers.runner import Runner
from netlab.model import Address, HostState, Link

sys.path.insert(0, str(Path(__file__).parents[1] / "apiserver"))

from serving import serving


def network(name: str, cidr: Any, gateway: Any = None, *, made: str = "1", **meta: Any) -> Object:
    spec = {"cidr": cidr, **({"gateway": gateway} if gateway else {})}
    return {"metadata": {"namespace": "default", "name": name, "creationTimestamp": made, **meta}, "spec": spec}


def test_a_network_is_a_bridge_with_the_gateway() -> None:
    state, verdicts = networks([network("example-network", "192.168.0.0/16", "192.168.0.1")], owner="o")
    bridge = bridge_name("default", "example-network")
    assert bridge == "br-2ce508fbf422" and len(bridge) == 15
    (link,), (address,) = state.all(Link), state.all(Address)
    assert (link.name, link.up, link.why) == (bridge, True, "Network default/example-network")
    assert (address.dev, str(address.address), str(address.broadcast)) == (bridge, "192.168.0.1/16", "192.168.255.255")
    assert verdicts["default/example-network"].message == f"bridge {bridge} with 192.168.0.1/16"
    assert not state.problems()


def test_the_first_address_is_the_gateway_of_who_names_none() -> None:
    state, _ = networks([network("a", "10.0.0.0/24"), network("b", "fd00:1::/64")], owner="o")
    assert {str(a.address) for a in state.all(Address)} == {"10.0.0.1/24", "fd00:1::1/64"}


@pytest.mark.parametrize(
    ("cidr", "gateway", "said"),
    [
        ("nonsense", None, "spec.cidr: 'nonsense' does not appear to be an IPv4 or IPv6 network"),
        ("10.0.0.1/24", None, "spec.cidr: 10.0.0.1/24 has host bits set"),
        ("10.0.0.0/31", None, "spec.cidr: 10.0.0.0/31 has no room for a gateway and anybody else"),
        ("10.0.0.0/24", "10.0.1.1", "spec.gateway: 10.0.1.1 is no host of 10.0.0.0/24"),
        ("10.0.0.0/24", "10.0.0.255", "spec.gateway: 10.0.0.255 is no host of 10.0.0.0/24"),
        ("10.0.0.0/24", "fd00::1", "spec.gateway: fd00::1 is no host of 10.0.0.0/24"),
        ("10.0.0.0/24", "x", "spec.gateway: 'x' does not appear to be an IPv4 or IPv6 address"),
        (None, None, "spec.cidr: 'None' does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_what_makes_no_sense_is_told_and_not_made(cidr: Any, gateway: Any, said: str) -> None:
    state, verdicts = networks([network("a", cidr, gateway)], owner="o")
    assert len(state) == 0
    assert (verdicts["default/a"].bridge, verdicts["default/a"].message) == ("", said)


def test_of_two_that_overlap_the_older_has_the_addresses() -> None:
    young, old = network("a", "10.0.0.0/8", made="2"), network("b", "10.1.0.0/16", made="1")
    state, verdicts = networks([young, old], owner="o")
    assert [link.name for link in state.all(Link)] == [bridge_name("default", "b")]
    assert verdicts["default/a"].message == "spec.cidr: 10.0.0.0/8 overlaps with that of Network default/b"
    _, verdicts = networks([young, {**old, "metadata": {**old["metadata"], "deletionTimestamp": "3"}}], owner="o")
    assert verdicts["default/a"].bridge and "default/b" not in verdicts


class Kernel:
    """A node that remembers what it was told."""

    def __init__(self) -> None:
        self.state = HostState()

    def apply(self, wanted: HostState) -> None:
        self.state = wanted

    @property
    def bridges(self) -> set[str]:
        return {link.name for link in self.state.all(Link)}


def definition(*, status: bool) -> Object:
    version: Object = {
        "name": "v1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        **({"subresources": {"status": {}}} if status else {}),
    }  # fmt: skip
    names = {"plural": "networks", "kind": "Network"}
    spec = {"group": "samplecrd.k8s.io", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": "networks.samplecrd.k8s.io"}, "spec": spec}


@pytest.mark.parametrize("status", [True, False])
def test_the_kind_comes_after_its_controller(status: bool) -> None:
    async def test() -> None:
        async with asyncio.timeout(60), serving() as server:
            client = RestClient(ApiConfig(place="test", server=server.url, token="admin-token"))
            kernel = Kernel()
            runner = Runner(client, ())
            runner.add(Networks.NAME, lambda tools: Networks(tools, kernel))
            running = asyncio.create_task(runner.run())
            try:
                await runner.kinds.wait()
                assert not runner.ready.is_set()
                await client.create(CRDS.path(), definition(status=status))
                await until(lambda: made(client, "one", "10.1.0.0/16"))
                await made(client, "two", "10.1.2.0/24")

                async def told(name: str, reason: str) -> bool:
                    found = await client.get(NETWORKS.path("default", name))
                    return any(c["reason"] == reason for c in (found.get("status") or {}).get("conditions", ()))

                await until(lambda: told("one", "Created"))
                await until(lambda: told("two", "Overlap"))
                assert kernel.bridges == {bridge_name("default", "one")}
                # whoever waits for the addresses gets them when they are free
                await client.delete(NETWORKS.path("default", "one"))
                await until(lambda: told("two", "Created"))
                assert kernel.bridges == {bridge_name("default", "two")}

                async def events() -> bool:
                    listed = (await client.list(EVENTS.path("default")))["items"]
                    return {"Created", "Overlap"} <= {e["reason"] for e in listed}

                await until(events)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await client.aclose()

    async def made(client: RestClient, name: str, cidr: str) -> bool:
        from netlab.client.rest import ApiError

        body = {
            "apiVersion": "samplecrd.k8s.io/v1",
            "kind": "Network",
            "metadata": {"name": name},
            "spec": {"cidr": cidr},
        }
        try:
            await client.create(NETWORKS.path("default"), body)
        except ApiError as e:
            if e.code == 404:
                return False
            raise
        return True

    asyncio.run(test())
