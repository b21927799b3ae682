"""The agreement on leases: one suite, run against every store."""

import asyncio
import json
import random
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from agreeing import DUAL, FIRST, IPV4, IPV6, THIRD, TINY, Watching, first, manager, node, run
from stores import (
    Bench,
    Etcd,
    Etcd2Bench,
    EtcdBench,
    FileBench,
    MemoryBench,
    running_etcd,
    until,
)

from netlab.base.errors import InputError
from netlab.overlay.lease import ConfigMissing, Lease, LeaseAttrs, LeaseLost, NoSubnetLeft, StoreUnavailable, Subnet


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture(params=["memory", "file", "etcd", "etcd2"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Bench]:
    kinds = {"etcd": EtcdBench, "etcd2": Etcd2Bench}
    if request.param in kinds:
        etcd = request.getfixturevalue("etcd")
        return lambda: kinds[request.param](etcd)
    return lambda: (MemoryBench if request.param == "memory" else FileBench)(tmp_path)


def test_config_missing_wrong_and_right(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        asked = manager(bench)
        with pytest.raises(ConfigMissing, match="no network configuration"):
            await asked.config()
        await bench.configure({"Network": "nonsense"})
        with pytest.raises(InputError, match="nonsense"):
            await asked.config()
        await bench.configure(IPV4)
        config = await asked.config()
        assert config.ipv4 and config.ipv4.network == IPv4Network("100.96.0.0/16")

    run(make, test)


def test_acquire_and_come_back_with_the_same_address(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        one = await manager(bench).acquire(node(1))
        assert one.subnet == FIRST and one.attrs == node(1) and one.expires
        assert await bench.keys() == {"100.96.1.0-24"}
        two = await manager(bench).acquire(node(2))
        assert two.subnet == Subnet(IPv4Network("100.96.2.0/24"))
        # back again, with another MAC, after having forgotten all
        changed = node(1, backend_data={"VNI": 1, "VtepMAC": "02:aa:aa:aa:aa:aa"})
        again = await manager(bench).acquire(changed, previous=THIRD)
        assert again.subnet == FIRST and again.attrs == changed
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24", "100.96.2.0-24"})
            assert watching.seen[-1]["100.96.1.0-24"].attrs == changed

    run(make, test)


def test_previous_subnet_is_asked_for_first(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        assert (await manager(bench).acquire(node(1), previous=THIRD)).subnet == THIRD
        # taken; of another length; of another network
        assert (await manager(bench).acquire(node(2), previous=THIRD)).subnet == FIRST
        short = Subnet(IPv4Network("100.96.4.0/25"))
        assert (await manager(bench).acquire(node(3), previous=short)).subnet.key == "100.96.2.0-24"
        other = Subnet(IPv4Network("10.244.1.0/24"))
        assert (await manager(bench).acquire(node(4), previous=other)).subnet.key == "100.96.4.0-24"

    run(make, test)


def test_reservations(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.7"}')
        # somebody else's reservation is not given away; an odd one takes all that it covers
        await bench.put("100.96.2.0-23", '{"PublicIP":"10.0.0.8"}')
        assert (await manager(bench).acquire(node(1))).subnet.key == "100.96.4.0-24"
        mine = await manager(bench).acquire(node(7))
        assert mine.subnet == FIRST and mine.expires is None
        assert (await manager(bench).renew(mine)).expires is None
        await manager(bench).release(mine)
        assert "100.96.1.0-24" in await bench.keys()
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24", "100.96.2.0-23", "100.96.4.0-24"})
            found = watching.seen[-1]
            assert found["100.96.1.0-24"].expires is None and found["100.96.1.0-24"].attrs == node(7)
            assert found["100.96.4.0-24"].expires is not None

    run(make, test)


def test_two_race_for_the_last_subnet(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(TINY)
        await manager(bench).acquire(node(1))
        racing = [manager(bench).acquire(node(n)) for n in (2, 3)]
        found = await asyncio.gather(*racing, return_exceptions=True)
        won = [f for f in found if isinstance(f, Lease)]
        lost = [f for f in found if isinstance(f, NoSubnetLeft)]
        assert len(won) == len(lost) == 1, found
        assert "10.5.0.0/24" in str(lost[0]) and "2 leases" in str(lost[0])
        assert await bench.keys() == {"10.5.0.16-28", "10.5.0.32-28"}

    run(make, test)


@pytest.mark.parametrize("config", [IPV4, DUAL], ids=["ipv4", "dual"])
def test_fifty_race_and_get_fifty(make: Callable[[], Bench], config: dict[str, object]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(config)
        ipv6 = {"public_ipv6": IPv6Address("fd00::1")} if config is DUAL else {}
        # three that share what they would choose, and the choice by chance for the rest
        racing = [manager(bench, choose=first).acquire(node(n, **ipv6)) for n in range(1, 4)]
        racing += [manager(bench, choose=random.Random(n).choice).acquire(node(n, **ipv6)) for n in range(4, 51)]
        leases = await asyncio.gather(*racing)
        for family in ("ipv4", "ipv6") if config is DUAL else ("ipv4",):
            assert len({getattr(lease.subnet, family) for lease in leases}) == 50
        assert await bench.keys() == {lease.subnet.key for lease in leases}

    run(make, test)


def test_renew(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        lease = await manager(bench, ttl=3600).acquire(node(1))
        longer = await manager(bench, ttl=7200).renew(lease)
        assert longer.subnet == lease.subnet and lease.expires and longer.expires
        assert longer.expires >= lease.expires + 3500
        # the lease in hand need not be the newest one
        assert (await manager(bench, ttl=7200).renew(lease)).subnet == FIRST
        # somebody touched the value: it is still this node's
        await bench.put("100.96.1.0-24", json.dumps({"PublicIP": str(node(1).public_ip), "BackendType": "udp"}))
        again = await manager(bench).renew(longer)
        assert again.attrs == node(1) and again.expires is None
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24"})
            assert watching.seen[-1]["100.96.1.0-24"].attrs == node(1)

    run(make, test)


def test_expiry(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(TINY)
        lease = await manager(bench).acquire(node(1))
        async with Watching(manager(bench)) as watching:
            await watching.until({"10.5.0.16-28"})
            await bench.put("10.5.0.32-28", '{"PublicIP":"10.0.0.9"}')
            await watching.until({"10.5.0.16-28", "10.5.0.32-28"})
            await bench.expire("10.5.0.16-28")
            await watching.until({"10.5.0.32-28"})
        with pytest.raises(LeaseLost, match="expired or was removed"):
            await manager(bench).renew(lease)
        # free again
        assert (await manager(bench).acquire(node(2))).subnet == lease.subnet
        with pytest.raises(LeaseLost, match=r"belongs to 10\.0\.0\.2 now"):
            await manager(bench).renew(lease)

    run(make, test)


def test_lost(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        lease = await manager(bench).acquire(node(1))
        await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.66"}')
        with pytest.raises(LeaseLost, match=r"10\.0\.0\.66"):
            await manager(bench).renew(lease)
        # it is not ours to give back
        await manager(bench).release(lease)
        assert "100.96.1.0-24" in await bench.keys()
        await bench.put("100.96.1.0-24", "{")
        with pytest.raises(LeaseLost, match="overwritten"):
            await manager(bench).renew(lease)
        await bench.drop("100.96.1.0-24")
        with pytest.raises(LeaseLost, match="removed"):
            await manager(bench).renew(lease)

    run(make, test)


def test_release(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        lease = await manager(bench).acquire(node(1))
        await manager(bench).renew(lease)
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24"})
            await manager(bench).release(lease)
            await watching.until(set())
        await manager(bench).release(lease)
        assert await bench.keys() == set()

    run(make, test)


def test_dual_stack_and_overlap_in_one_family(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(DUAL)
        # the first IPv4 subnet is taken by one who has no IPv6
        await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.77"}')
        attrs = node(1, public_ipv6=IPv6Address("fd00::1"))
        lease = await manager(bench).acquire(attrs)
        assert lease.subnet == Subnet(IPv4Network("100.96.2.0/24"), IPv6Network("fd00:10:0:1::/64"))
        assert lease.subnet.key == "100.96.2.0-24&fd00:10:0:1::-64"
        assert (await manager(bench).renew(lease)).subnet == lease.subnet
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24", lease.subnet.key})
            assert watching.seen[-1][lease.subnet.key].attrs.public_ipv6 == IPv6Address("fd00::1")

    run(make, test)


def test_ipv6_only(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV6)
        one = LeaseAttrs(public_ipv6=IPv6Address("fd00::1"), backend_type="vxlan")
        two = LeaseAttrs(public_ipv6=IPv6Address("fd00::2"), backend_type="vxlan")
        leases = [await manager(bench).acquire(attrs) for attrs in (one, two, one)]
        assert [lease.subnet.key for lease in leases] == [
            "0.0.0.0-0&fd00:10:0:1::-64", "0.0.0.0-0&fd00:10:0:2::-64", "0.0.0.0-0&fd00:10:0:1::-64",
        ]  # fmt: skip
        assert leases[0].subnet.ipv4 is None
        await manager(bench).renew(leases[1])
        async with Watching(manager(bench)) as watching:
            await watching.until({lease.subnet.key for lease in leases})

    run(make, test)


def test_the_network_was_changed(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        old = await manager(bench).acquire(node(1))
        await bench.put("100.96.9.0-24", '{"PublicIP":"10.0.0.2"}')
        await bench.configure({"Network": "10.244.0.0/16"})
        assert (await manager(bench).acquire(node(1), previous=old.subnet)).subnet.key == "10.244.1.0-24"
        # the old lease is gone; a reservation is a person's to remove
        assert (await manager(bench).acquire(node(2))).subnet.key == "10.244.2.0-24"
        assert await bench.keys() == {"10.244.1.0-24", "10.244.2.0-24", "100.96.9.0-24"}

    run(make, test)


def test_keys_that_make_no_sense(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        await bench.put("hello", "{}")
        await bench.put("100.96.300.0-24", '{"PublicIP":"10.0.0.2"}')
        await bench.put("100.96.1.0-24", "not json")
        await bench.put("100.96.2.0-24", '{"PublicIP":17}')
        await bench.put("100.96.3.0-24", '["PublicIP"]')
        await bench.put("100.96.4.0-24", "[" * 20_000)
        await bench.put("100.96.5.0-24", "{}")
        await bench.put("100.96.06.0-24", '{"PublicIP":"10.0.0.2"}')
        await bench.put("100.96.7.1-24", '{"PublicIP":"10.0.0.2"}')
        reports: list[str] = []
        asked = manager(bench, reports)
        # a key that is a subnet's takes the subnet, whatever its value
        assert (await asked.acquire(node(1))).subnet.key == "100.96.6.0-24"
        async with Watching(asked) as watching:
            await watching.until({"100.96.6.0-24"})
            await bench.put("100.96.8.0-24", '{"PublicIP":"10.0.0.8"}')
            await watching.until({"100.96.6.0-24", "100.96.8.0-24"})
            # mended by hand
            await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.9"}')
            await watching.until({"100.96.1.0-24", "100.96.6.0-24", "100.96.8.0-24"})
        assert len(reports) == 9, reports
        assert any("'hello' makes no sense" in report for report in reports)

    run(make, test)


def test_a_watch_sees_all_changes(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        asked = manager(bench)
        async with Watching(manager(bench)) as watching:
            await watching.until(set())
            keys = set()
            for n in range(1, 11):
                keys.add((await asked.acquire(node(n))).subnet.key)
                await watching.until(keys)
            # as fast as it goes
            await asyncio.gather(*(manager(bench).acquire(node(n)) for n in range(11, 21)))
            keys = await bench.keys()
            assert len(keys) == 20
            await watching.until(keys)
            for key in sorted(keys)[:10]:
                await bench.drop(key)
            await watching.until(set(sorted(keys)[10:]))

    run(make, test)


def test_the_store_goes_away(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        reports: list[str] = []
        asked = manager(bench, reports)
        one = await asked.acquire(node(1))
        async with Watching(asked) as watching:
            await watching.until({one.subnet.key})
            await bench.go_away()
            for call in (lambda: asked.config(), lambda: asked.acquire(node(1)), lambda: asked.renew(one),
                         lambda: asked.release(one)):  # fmt: skip
                with pytest.raises(StoreUnavailable):
                    await call()
            await until(lambda: any("cannot be watched" in report for report in reports))
            assert not watching.task.done()
            # behind the watcher's back: one goes, one comes
            await bench.come_back()
            await bench.drop(one.subnet.key)
            two = await manager(bench).acquire(node(2), previous=THIRD)
            await watching.until({two.subnet.key})
            await bench.put("100.96.9.0-24", '{"PublicIP":"10.0.0.9"}')
            await watching.until({two.subnet.key, "100.96.9.0-24"})
        # told once for one absence
        assert len([r for r in reports if "cannot be watched" in r]) <= 2

    run(make, test)


def test_a_thousand_leases(make: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        keys = {f"100.{96}.{n}.0-24" for n in range(1, 251)} | {f"10.{n >> 8}.{n & 255}.0-24" for n in range(750)}
        turn = asyncio.Semaphore(20)

        async def put(number: int, key: str) -> None:
            async with turn:
                await bench.put(key, json.dumps({"PublicIP": f"172.16.{number >> 8}.{number & 255}"}))

        await asyncio.gather(*(put(n, key) for n, key in enumerate(sorted(keys))))
        lease = await manager(bench).acquire(node(1))
        assert lease.subnet.key == "100.96.251.0-24"
        async with Watching(manager(bench)) as watching:
            await watching.until(keys | {lease.subnet.key})
            await manager(bench).release(lease)
            await watching.until(keys)

    run(make, test)
