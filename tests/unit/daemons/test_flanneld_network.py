"""flanneld and its node's network: what a hand has spoilt is mended, another underlay starts it over, flannel0 is kept."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flanneld_world import FakeMachine, World, eth0, gateway, run, until, world

from netlab.base.errors import KernelError
from netlab.model import Address, Chain, Fdb, Item, Link, Neighbour, Route


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flanneld")


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


async def noticed(w: World) -> None:
    """The kernel tells of a change, and flanneld looks."""
    before = w.clock.asked.count(0.3)
    w.machine.tell()
    await until(lambda: w.clock.asked.count(0.3) > before)
    await w.clock.advance(0.3)


async def started(w: World, kind: str = "vxlan", peers: int = 1) -> None:
    w.configure(kind)
    for number in range(7, 7 + peers):
        w.peer(number, kind)
    w.start()
    await w.ready()


@pytest.mark.parametrize("kind", [Route, Neighbour, Fdb, Chain, Address, Link])
def test_what_a_hand_removes_is_back_at_the_next_look(
    tmp_path: Path, kind: type[Item], caplog: pytest.LogCaptureFixture
) -> None:
    def ours(item: Item) -> bool:
        return (
            isinstance(item, kind) and "eth0" not in str(item) and "lo" not in str(item) and "default" not in str(item)
        )

    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            before = w.network.state
            if kind is Link:
                w.network.unplug("flannel.1")
            w.network.drop(lambda item: not ours(item))
            assert w.network.state != before
            await w.later(lambda: w.network.state == before)
            await until(lambda: w.agent.figures.repairs > 0)
            assert told(caplog, "mended: create") == 1

    run(body)


def test_a_change_that_the_kernel_tells_of_is_looked_at_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, options={"resync": 1e6}) as w:
            await started(w)
            before = w.network.state
            for _ in range(2):
                w.network.unplug("flannel.1")
                await noticed(w)
                await until(lambda: w.network.state == before)

    run(body)


@pytest.mark.parametrize("kind", ["vxlan", "host-gw"])
def test_another_mtu_starts_it_over_and_is_announced(tmp_path: Path, kind: str) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, kind)
            less = 50 if kind == "vxlan" else 0
            assert f"FLANNEL_MTU={1500 - less}\n" in w.env.read_text()
            w.network.put(*eth0(mtu=1400))
            await noticed(w)
            await until(lambda: f"FLANNEL_MTU={1400 - less}\n" in w.env.read_text())
            assert w.agent.waiting is None
            link = w.network.state.link("flannel.1")
            assert (link.mtu if link else None) == (1350 if kind == "vxlan" else None)

    run(body)


def move(w: World, address: str) -> None:
    w.network.drop(lambda item: not isinstance(item, Address) or item.dev != "eth0")
    w.network.put(*eth0(address))


def test_another_address_keeps_the_subnet_for_the_pods_are_on_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            move(w, "10.168.0.99/24")
            await noticed(w)
            key = "100.96.1.0-24"
            await until(lambda: key in w.store.keys and b"10.168.0.99" in w.store.keys[key].value)
            await until(lambda: w.agent.waiting is None)
            assert set(w.store.keys) == {"100.96.1.0-24", "100.96.7.0-24"}
            assert "FLANNEL_SUBNET=100.96.1.1/24" in w.env.read_text()
            link = w.network.state.link("flannel.1")
            assert link and link.kind.local == IPv4Address("10.168.0.99")  # type: ignore[union-attr]

    run(body)


def test_an_address_that_is_gone_for_a_while_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            w.network.drop(lambda item: not isinstance(item, Address) or item.dev != "eth0")
            await w.later(lambda: "no global IPv4 address" in (w.agent.waiting or ""))
            await w.clock.advance(15)
            assert told(caplog, "is not usable") == 1
            # leases go on being followed meanwhile, and do not make it ready
            w.peer(8)
            await until(lambda: "100.96.8.0/24" in w.network.routes())
            assert w.agent.waiting
            w.network.put(*eth0())
            await w.later(lambda: w.agent.waiting is None)
            assert not w.over() and told(caplog, "starting over") == 0

    run(body)


def test_the_device_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, "host-gw")
            w.network.unplug("eth0")
            await w.later(lambda: "eth0 is not usable" in (w.agent.waiting or ""))
            assert not w.network.routes()
            w.network.put(*eth0(), Route(dst=ip_network("0.0.0.0/0"), via=gateway(), dev="eth0"))
            await w.later(lambda: w.agent.waiting is None and bool(w.network.routes()))

    run(body)


@pytest.mark.parametrize("kind", ["vxlan", "host-gw"])
def test_the_device_down_and_up_though_the_default_route_is_not_made_again(tmp_path: Path, kind: str) -> None:
    """A kernel takes the routes of a device that goes down; whoever made the default route may not look again."""

    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, kind)
            before = w.network.routes()
            w.network.put(*eth0(up=False))
            w.network.drop(lambda item: not isinstance(item, Route) or item.dev != "eth0")
            if kind == "host-gw":
                await w.later(lambda: "eth0 is down" in (w.agent.waiting or ""))
                # a lease that comes meanwhile is refused by the kernel, which ends nothing
                w.peer(8, kind)
                await until(lambda: w.agent.figures.leases == 2)
                assert not w.over()
            w.network.put(*eth0())
            await noticed(w)
            await until(lambda: w.network.routes().items() >= before.items() and w.agent.waiting is None)
            assert not w.over()
            if kind == "host-gw":
                assert "100.96.8.0/24" in w.network.routes()

    run(body)


def test_an_underlay_that_goes_while_it_starts_over_is_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            w.configure("host-gw")
            w.peer(7, "host-gw")
            w.network.unplug("eth0")
            await w.later(lambda: "the network:" in (w.agent.waiting or ""))
            await w.clock.advance(20)
            assert not w.over()
            w.network.put(*eth0(), Route(dst=ip_network("0.0.0.0/0"), via=gateway(), dev="eth0"))
            await w.later(lambda: w.agent.waiting is None)
            assert w.network.routes() == {"100.96.7.0/24": "10.168.0.8 eth0"}

    run(body)


def test_a_kernel_that_refuses_a_change_is_told_once_and_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            w.network.error = KernelError("cannot make route 100.96.8.0/24: No buffer space available")
            w.peer(8)
            await until(lambda: "No buffer space" in (w.agent.waiting or ""))
            w.peer(9)
            await until(lambda: w.agent.figures.leases == 3)
            await w.clock.advance(20)
            assert told(caplog, "No buffer space") == 1 and not w.over()
            w.network.error = None
            # the next change of the leases does not trust what it does not know: all is looked at
            w.peer(10)
            await until(lambda: w.agent.waiting is None and len(w.network.routes()) == 4)

    run(body)


def test_starting_over_waits_for_the_kernel_work_that_is_under_way(tmp_path: Path) -> None:
    """Two threads on one ledger would undo each other's work."""

    async def body() -> None:
        async with world(tmp_path, options={"resync": 59.9}) as w:
            await started(w)
            w.configure("host-gw")
            w.peer(7, "host-gw")
            await until(lambda: not w.network.routes())
            w.network.gate.clear()
            await w.clock.advance(59.95)
            await until(lambda: w.network.busy == 1)
            await w.clock.advance(1)  # the configuration is another
            await asyncio.sleep(0)
            assert w.network.busy == 1
            w.network.gate.set()
            await until(lambda: w.network.routes() == {"100.96.7.0/24": "10.168.0.8 eth0"})
            await until(lambda: w.agent.waiting is None)
            assert w.network.most_busy == 1

    run(body)


# -- udp


async def carrying(w: World, count: int) -> None:
    await w.later(lambda: len(w.machine.carriers) == count and w.machine.carriers[-1].running)
    assert all(carrier.closed for carrier in w.machine.carriers[:-1])
    assert {str(n) for n in w.machine.carriers[-1].routes} == {"100.96.7.0/24"}


@pytest.mark.parametrize("offloads", [True, False])
@pytest.mark.parametrize("noticed", ["by the data path", "by the kernel", "by the look"])
def test_a_data_path_whose_device_was_deleted_is_opened_again(
    tmp_path: Path, noticed: str, offloads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with world(tmp_path, machine=FakeMachine(offloads=offloads)) as w:
            await started(w, "udp")
            await carrying(w, 1)
            w.network.unplug("flannel0")
            if noticed == "by the data path":
                w.machine.carriers[0].ended.set()
            elif noticed == "by the kernel":
                w.machine.tell()
            await carrying(w, 2)
            assert w.network.state.link("flannel0") and w.agent.waiting is None
            assert told(caplog, "without offloads") == (not offloads)

    run(body)


def test_a_data_path_that_ends_though_its_device_is_there_is_opened_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, "udp")
            for count in (1, 2, 3):
                await carrying(w, count)
                w.machine.carriers[-1].ended.set()
                await until(lambda count=count: w.machine.carriers[count - 1].closed)  # type: ignore[misc]
                # not as fast as it can: it may end each time
                await until(lambda: w.clock.asked[-1] == 0.2)
            await carrying(w, 4)

    run(body)


def test_a_data_path_that_cannot_be_opened_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.machine.refusal = KernelError("open the TUN device flannel0: Device or resource busy")
            w.configure("udp")
            w.peer(7, "udp")
            w.start()
            await until(lambda: "resource busy" in (w.agent.waiting or ""))
            await w.clock.advance(20)
            assert told(caplog, "resource busy") == 1 and not w.env.exists()
            w.machine.refusal = None
            await w.later(lambda: w.agent.waiting is None)
            await carrying(w, 1)

    run(body)


def test_the_data_path_is_closed_when_it_starts_over_and_when_it_ends(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, "udp")
            await carrying(w, 1)
            w.network.put(*eth0(mtu=1400))
            await carrying(w, 2)
            await until(lambda: "FLANNEL_MTU=1372" in w.env.read_text())
            await w.stop()
            assert all(carrier.closed for carrier in w.machine.carriers)

    run(body)


# -- leases that would do harm


@pytest.mark.parametrize(
    ("key", "public", "message"),
    [
        ("100.96.1.128-25", "10.168.0.9", "overlaps this node's own subnet"),
        ("10.168.0.0-24", "10.168.0.9", "has addresses of this node's own network"),
        ("100.96.9.0-24", "10.168.0.255", "not the address of a node"),
        ("100.96.9.0-24", "127.0.0.1", "not the address of a node"),
        ("100.96.9.0-24", "224.0.0.5", "not the address of a node"),
    ],
)
@pytest.mark.parametrize("kind", ["vxlan", "host-gw", "udp"])
def test_a_lease_that_would_take_what_is_not_its_own_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, key: str, public: str, message: str
) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, kind)
            value = {"PublicIP": public, "BackendType": kind}
            if kind == "vxlan":
                value |= {"BackendData": {"VNI": 1, "VtepMAC": "0e:00:00:00:00:09"}}  # type: ignore[dict-item]
            w.peer(9, kind, key=key, value=json.dumps(value))
            await until(lambda: w.agent.figures.refused == 1)
            assert told(caplog, message) == 1
            assert w.agent.figures.leases == 1 and w.agent.waiting is None

    run(body)


def test_a_second_address_of_the_underlay_is_no_reason_to_refuse_anybody(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            extra = eth0("10.169.0.2/24")[1]
            w.network.put(extra)
            await started(w, "host-gw")
            w.peer(9, "host-gw", value='{"PublicIP":"10.169.0.9"}')
            await until(lambda: len(w.network.routes()) == 2)

    run(body)
