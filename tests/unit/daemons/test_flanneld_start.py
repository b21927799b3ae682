"""flanneld up to `ready`: what it waits for and says, what it refuses, when subnet.env is written."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parent))

from flanneld_world import FakeMachine, run, until, world

from netlab.base.errors import InputError, KernelError, MachineError
from netlab.daemons.flanneld import metrics
from netlab.model import Chain

ENV = """\
FLANNEL_NETWORK=100.96.0.0/16
FLANNEL_SUBNET=100.96.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
"""


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flanneld")


def test_from_nothing_to_ready(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure()
            w.peer(7)
            w.start()
            await w.ready()
            assert w.env.read_text() == ENV
            assert [p.name for p in w.env.parent.iterdir()] == ["subnet.env"]
            assert w.own() == "100.96.1.0-24"
            assert w.network.routes() == {"100.96.7.0/24": "100.96.7.0 flannel.1"}
            assert {c.name for c in w.network.state.all(Chain)} == {"FORWARD", "FLANNEL-FWD"}
            assert w.agent.figures.leases == 1 and w.agent.figures.lease_expires == w.clock.now() + 86400

    run(body)


def test_kernel_work_is_done_in_threads_one_at_a_time(tmp_path: Path) -> None:
    """The loop goes on, with a data path and health questions on it, while the kernel takes its time."""

    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure()
            w.start()
            await w.ready()
            w.network.gate.clear()
            w.peer(7)
            await until(lambda: w.network.busy == 1)
            w.machine.tell()
            await w.clock.advance(6)  # resync and the look after a change wait for their turn
            turns = 0
            for _ in range(100):
                await asyncio.sleep(0)
                turns += 1
            assert (turns, w.network.busy) == (100, 1)
            w.network.gate.set()
            await until(lambda: "100.96.7.0/24" in w.network.routes())
            assert w.network.most_busy == 1
            assert threading.get_ident() not in w.network.threads

    run(body)


def test_waits_for_the_configuration_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.start()
            await until(lambda: "no network configuration yet" in (w.agent.waiting or ""))
            await w.clock.advance(60)
            assert told(caplog, "no network configuration") == 1
            # asked again more and more slowly, and never less often than every 5 s
            assert w.clock.asked[:6] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0] and max(w.clock.asked) == 5.0
            assert not w.env.exists() and not w.store.keys
            w.configure()
            await w.later(lambda: w.agent.waiting is None)
            assert told(caplog, "got the network's configuration") == 1

    run(body)


def test_waits_for_a_store_that_is_away_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure()
            w.store.away = True
            w.start()
            await until(lambda: "is away" in (w.agent.waiting or ""))
            await w.clock.advance(30)
            assert told(caplog, "waiting for") == 1 and w.agent.figures.store_errors > 5
            w.store.away = False
            await w.later(lambda: w.agent.waiting is None)

    run(body)


def test_waits_for_a_free_subnet_and_takes_the_first_that_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure("host-gw", "100.96.0.0/22", SubnetLen=24)
            w.peer(1, "host-gw", value='{"PublicIP":"10.168.0.99"}')
            w.peer(2, "host-gw")
            w.peer(3, "host-gw")
            w.start()
            await until(lambda: "no subnet of length /24 is left" in (w.agent.waiting or ""))
            await w.clock.advance(20)
            assert told(caplog, "no subnet of length") == 1
            assert not w.env.exists() and w.network.routes() == {}
            del w.store.keys["100.96.2.0-24"]
            w.store.touch()
            await w.later(lambda: w.agent.waiting is None)
            assert w.own() == "100.96.2.0-24"

    run(body)


def test_asks_for_the_subnet_that_it_had_before(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure()
            w.env.parent.mkdir()
            w.env.write_text(ENV.replace("96.1.1/24", "96.9.1/24"))
            w.start()
            await w.ready()
            assert w.own() == "100.96.9.0-24"

    run(body)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iface": ("eth7",)}, "no such device"),
        ({"iface_regex": ("[",)}, "not a regular expression"),
        ({"iface_can_reach": IPv6Address("2001:db8::1")}, "no route leads there"),
    ],
)
def test_an_option_that_makes_no_sense_ends_it(tmp_path: Path, options: dict[str, object], message: str) -> None:
    async def body() -> None:
        async with world(tmp_path, options=options) as w:
            w.configure()
            w.start()
            with pytest.raises(InputError, match=message):
                await w.ready()
            assert not w.store.keys

    run(body)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"Network": "100.96.0.0/16", "Backend": {"Type": "vxlan", "Vni": 7}}'])
def test_a_configuration_that_makes_no_sense_ends_it_before_it_has_a_lease(tmp_path: Path, text: bytes) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.store.configuration = text
            w.start()
            with pytest.raises(InputError):
                await w.ready()
            assert not w.store.keys

    run(body)


def test_a_kernel_that_lacks_the_backend_ends_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure()
            w.network.error = MachineError("this kernel has no vxlan", hint="modprobe vxlan")
            w.start()
            with pytest.raises(MachineError, match="no vxlan"):
                await w.ready()

    run(body)


def test_a_kernel_that_refuses_is_told_once_and_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And subnet.env is not written before all stands."""

    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure()
            w.peer(7)
            w.network.error = KernelError("cannot make route 100.96.7.0/24: No buffer space available")
            w.start()
            await until(lambda: "No buffer space" in (w.agent.waiting or ""))
            for _ in range(3):
                before = w.network.applies
                await w.later(lambda before=before: w.network.applies > before)  # type: ignore[misc]
            assert told(caplog, "No buffer space") == 1
            assert not w.env.exists()
            w.network.error = None
            await w.later(lambda: w.agent.waiting is None)
            assert w.network.routes() and w.env.exists()

    run(body)


def test_tells_who_started_it_when_all_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sd_notify(3), once, and subnet.env is there by then."""

    async def body() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(tmp_path / "notify"))
            listener.setblocking(False)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            async with world(tmp_path) as w:
                w.start()
                await until(lambda: "configuration" in (w.agent.waiting or ""))
                with pytest.raises(BlockingIOError):
                    listener.recv(100)
                w.configure()
                await w.later(lambda: w.agent.waiting is None)
                assert listener.recv(100) == b"READY=1"
                assert w.env.exists()
                w.peer(7)
                await until(lambda: bool(w.network.routes()))
                with pytest.raises(BlockingIOError):
                    listener.recv(100)

    run(body)


class Node:
    """The node's object in Kubernetes; away at first."""

    def __init__(self) -> None:
        from netlab.overlay.lease import StoreUnavailable

        self.error: Exception | None = StoreUnavailable("the API does not answer")
        self.available = 0

    async def node_public_ips(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        return IPv4Address("192.0.2.7"), None

    async def network_available(self) -> None:
        if self.error:
            raise self.error
        self.available += 1


def test_the_node_object_says_the_public_address_and_is_told_when_all_stands(tmp_path: Path) -> None:
    async def body() -> None:
        node = Node()
        async with world(tmp_path, node=node) as w:
            w.configure()
            w.start()
            await until(lambda: "the node's condition: the API does not answer" in (w.agent.waiting or ""))
            assert not w.env.exists()
            node.error = None
            await w.later(lambda: w.agent.waiting is None)
            assert node.available == 1
            assert b'"PublicIP":"192.0.2.7"' in w.store.keys["100.96.1.0-24"].value

    run(body)


def test_the_node_object_is_told_too_when_the_kernel_refused_at_first(tmp_path: Path) -> None:
    async def body() -> None:
        node = Node()
        node.error = None
        async with world(tmp_path, node=node) as w:
            w.configure()
            w.network.error = KernelError("cannot make link flannel.1: Cannot allocate memory")
            w.start()
            await until(lambda: "allocate memory" in (w.agent.waiting or ""))
            assert node.available == 0
            w.network.error = None
            await w.later(lambda: w.agent.waiting is None)
            assert node.available == 1

    run(body)


@pytest.mark.parametrize("offloads", [True, False])
def test_udp_falls_back_to_the_way_without_offloads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, offloads: bool
) -> None:
    async def body() -> None:
        async with world(tmp_path, machine=FakeMachine(offloads=offloads)) as w:
            w.configure("udp")
            w.peer(7, "udp")
            w.start()
            await w.ready()
            carrier = w.machine.carriers[-1]
            await until(lambda: carrier.running)
            assert carrier.backend.offload is offloads
            link = w.network.state.link("flannel0")
            assert link is not None and link.kind.vnet_hdr is offloads  # type: ignore[union-attr]
            assert {str(n): str(to[0]) for n, to in carrier.routes.items()} == {"100.96.7.0/24": "10.168.0.8"}
            assert told(caplog, "without offloads") == (not offloads)
            page = metrics.text(w.agent.figures, carrier).decode()
            names = {family.name for family in text_string_to_metric_families(page)}
            assert {"flannel_leases", "flannel_udp_packets", "flannel_lease_expiry_seconds"} <= names
            w.peer(8, "udp")
            await until(lambda: len(carrier.routes) == 2)
            assert len(w.machine.carriers) == 1

    run(body)


def test_udp_that_the_kernel_cannot_at_all_ends_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure("udp")
            w.machine.refusal = MachineError("there is no /dev/net/tun", hint="modprobe tun")
            w.start()
            with pytest.raises(MachineError, match="no /dev/net/tun"):
                await w.ready()

    run(body)
