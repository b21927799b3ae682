"""Nodes get their pods' prefixes: none twice, whatever comes and goes, and over restarts."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

import pytest
from controlworld import EVENTS, World, until, world
from hypothesis import given
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient
from netlab.controllers.nodeipam import NodeIpam
from netlab.controllers.podranges import ClusterRange, Pool, Pools, cluster_ranges, networks_of

NODES = Resource("v1", "nodes")
TWO = cluster_ranges("10.244.0.0/16,fd00:10:244::/56", "24,64")


def test_the_prefixes_of_a_cluster() -> None:
    assert cluster_ranges("") == ()
    four, six = TWO
    assert (four.network, four.length, four.count) == (ip_network("10.244.0.0/16"), 24, 256)
    assert six.part(255) == ip_network("fd00:10:244:ff::/64")
    assert cluster_ranges("10.0.0.0/8")[0].length == 24
    assert [whole.length for whole in cluster_ranges("fd00::/48, 10.1.0.0/16", "60,26")] == [60, 26]


@pytest.mark.parametrize(
    ("prefixes", "lengths", "said"),
    [
        ("10.244.0.1/16", "", "has host bits set"),
        ("10.244.0.0/16,10.245.0.0/16", "", "one of each family"),
        ("10.244.0.0/16", "24,64", "one for each of --cluster-cidr"),
        ("10.244.0.0/16", "15", "expected 16 to 31"),
        ("10.0.0.0/8", "25", "expected 8 to 24"),
        ("fd00::/32", "", "64 for fd00::/32: expected 32 to 48"),
        ("10.244.0.0/16", "much", "much for 10.244.0.0/16"),
    ],
)
def test_what_is_no_prefix_of_a_cluster(prefixes: str, lengths: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        cluster_ranges(prefixes, lengths)


def test_parts_that_a_prefix_touches() -> None:
    whole = ClusterRange(ip_network("10.244.0.0/16"), 24)
    assert list(whole.numbers(ip_network("10.244.3.0/24"))) == [3]
    assert list(whole.numbers(ip_network("10.244.2.0/23"))) == [2, 3]
    assert list(whole.numbers(ip_network("10.244.9.128/25"))) == [9]
    assert len(whole.numbers(ip_network("10.0.0.0/8"))) == 256
    assert not whole.numbers(ip_network("10.245.0.0/24")) and not whole.numbers(ip_network("fd00::/64"))


def test_what_came_back_is_not_the_next() -> None:
    pool = Pool(ClusterRange(ip_network("10.244.0.0/22"), 24))

    def take() -> str:
        part = pool.free()
        assert part is not None
        pool.hold(part)
        return str(part)

    assert [take(), take()] == ["10.244.0.0/24", "10.244.1.0/24"]
    pool.release(ip_network("10.244.0.0/24"))
    assert [take(), take(), take()] == ["10.244.2.0/24", "10.244.3.0/24", "10.244.0.0/24"]
    assert pool.free() is None


def test_a_spec_that_makes_no_sense_holds_nothing() -> None:
    assert networks_of({}) == [] and networks_of({"podCIDRs": ["much"]}) == [] and networks_of({"podCIDRs": 7}) == []
    assert networks_of({"podCIDR": "10.244.1.0/24"}) == [ip_network("10.244.1.0/24")]


STEPS = st.lists(st.tuples(st.sampled_from(["take", "release", "bring"]), st.integers(0, 9), st.integers(0, 40)))


@given(STEPS)
def test_no_part_has_two_holders(steps: list[tuple[str, int, int]]) -> None:
    """bring: a node that comes with a prefix which somebody else gave it, perhaps one that another has."""
    ranges = cluster_ranges("10.244.0.0/21,fd00:10:244::/60", "24,64")
    pools = Pools(ranges)
    names, start = [f"n{number}" for number in range(10)], int(IPv4Address("10.244.0.0"))
    for what, who, number in steps:
        name = names[who]
        match what:
            case "take":
                got = pools.take(name)
                others = [network for other in names if other != name for network in pools.of(other)]
                assert not any(a.version == b.version and a.overlaps(b) for a in got for b in others)
                assert not got or pools.of(name) == got
            case "release":
                pools.release(name)
            case _:
                pools.hold(name, [IPv4Network((start + number * 128, 25))])
    for name in names:
        pools.release(name)
    assert len({pools.take(f"m{n}") for n in range(8)}) == 8, "what was given back is there again"
    assert pools.take("one more") == ()


def run(test: Any, ranges: str = "10.244.0.0/16") -> None:
    async def whole() -> None:
        async with world([]) as w:
            await test(w, cluster_ranges(ranges))

    asyncio.run(whole())


async def settled(w: World, count: int) -> dict[str, list[str]]:
    """The prefixes of so many nodes, once all have theirs."""

    async def all_have() -> Any:
        nodes = (await w.client.list(NODES.path()))["items"]
        found = {n["metadata"]["name"]: n["spec"].get("podCIDRs") or [] for n in nodes}
        return found if len(found) == count and all(found.values()) else None

    found: dict[str, list[str]] = await until(all_have)
    texts = [text for texts in found.values() for text in texts]
    assert len(set(texts)) == len(texts), found
    return found


def test_nodes_get_theirs_over_restarts() -> None:
    async def test(w: World, ranges: tuple[ClusterRange, ...]) -> None:
        async def join(first: int, last: int) -> None:
            await asyncio.gather(*(w.client.create(NODES.path(), {"metadata": {"name": f"n{i}"}})
                                   for i in range(first, last)))  # fmt: skip

        await w.client.create(NODES.path(), {"metadata": {"name": "own"}, "spec": {"podCIDRs": ["10.244.1.0/24"]}})
        async with w.more([NodeIpam], pod_ranges=ranges):
            await join(0, 12)
            before = await settled(w, 13)
        assert before["own"] == ["10.244.1.0/24"]
        # nobody looked when these came and went
        await w.delete(NODES, "n3", "")
        await join(20, 30)
        async with w.more([NodeIpam], pod_ranges=ranges):
            after = await settled(w, 22)
        assert {name: after[name] for name in before if name != "n3"} == {n: t for n, t in before.items() if n != "n3"}

    run(test, "10.244.0.0/16,fd00:10:244::/56")


def test_a_killed_controller_takes_its_promises_with_it() -> None:
    """Wherever it is killed, the next one gives everybody what nobody else has."""

    async def test(w: World, ranges: tuple[ClusterRange, ...]) -> None:
        for number in range(24):
            await w.client.create(NODES.path(), {"metadata": {"name": f"n{number}"}})
        for turns in (1, 3, 7, 20):
            async with w.more([NodeIpam], pod_ranges=ranges):
                for _ in range(turns):
                    await asyncio.sleep(0)
        async with w.more([NodeIpam], pod_ranges=ranges):
            await settled(w, 24)

    run(test)


def test_an_answer_that_is_lost_costs_no_prefix() -> None:
    async def test(w: World, ranges: tuple[ClusterRange, ...]) -> None:
        lost = ["before", "after", "refused"]

        class Losing(RestClient):
            async def patch(self, path: str, body: Any, **more: Any) -> Object:
                how = lost.pop(0) if lost and path.startswith("/api/v1/nodes/") else ""
                if how == "refused":
                    raise ApiError("no", code=500)
                if how == "before":
                    raise ApiUnavailable("nobody answers")
                done = await super().patch(path, body, **more)
                if how == "after":
                    raise ApiUnavailable("the answer is lost")
                return done

        async with w.more([NodeIpam], pod_ranges=ranges, make=Losing):
            for number in range(4):
                await w.client.create(NODES.path(), {"metadata": {"name": f"n{number}"}})
            found = await settled(w, 4)
        assert not lost and {texts[0] for texts in found.values()} == {f"10.244.{n}.0/24" for n in range(4)}

    run(test)


def test_who_waits_gets_what_another_gives_back() -> None:
    async def test(w: World, ranges: tuple[ClusterRange, ...]) -> None:
        async with w.more([NodeIpam], pod_ranges=ranges):
            for name in ("a", "b"):
                await w.client.create(NODES.path(), {"metadata": {"name": name}})
            await settled(w, 2)
            await w.client.create(NODES.path(), {"metadata": {"name": "c"}})

            async def said() -> list[str]:
                events = (await w.client.list(EVENTS.path()))["items"]
                return [e["message"] for e in events if e["reason"] == "CIDRNotAvailable"]

            assert await until(said) == ["Node c status is now: CIDRNotAvailable"]
            await w.delete(NODES, "a", "")
            await settled(w, 2)

    async def whole() -> None:
        async with world([]) as w:
            await test(w, cluster_ranges("10.244.0.0/23"))

    asyncio.run(whole())
