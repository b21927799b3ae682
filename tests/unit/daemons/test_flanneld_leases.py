"""flanneld and the store, over days: the own lease grows old, others come and go, the store is away, the clock is set."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flanneld_world import World, run, until, world

from netlab.overlay.lease import LeaseLost

HOUR = 3600.0
#: looks at the kernel are another file's: an hour is 720 of them
SELDOM = {"resync": 1e6}
#: a lease of 20 minutes, renewed at 5, for what lasts longer than it
SHORT: dict[str, Any] = {"ttl": 1200.0, "options": {**SELDOM, "renew_margin": 300.0}}
OWN = "100.96.1.0-24"


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flanneld")


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


async def started(w: World, kind: str = "host-gw") -> None:
    w.configure(kind)
    w.start()
    await w.ready()
    assert w.own() == OWN


def expires(w: World) -> float:
    found = w.store.keys[OWN].expires
    assert found is not None
    return found


def test_others_come_change_and_go(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            w.peer(7, "host-gw")
            await until(lambda: w.network.routes() == {"100.96.7.0/24": "10.168.0.8 eth0"})
            w.peer(7, "host-gw", value='{"PublicIP":"10.168.0.77"}')
            await until(lambda: w.network.routes() == {"100.96.7.0/24": "10.168.0.77 eth0"})
            w.peer(8, "host-gw", ttl=30.0)
            await until(lambda: len(w.network.routes()) == 2)
            await w.clock.advance(31)
            await until(lambda: len(w.network.routes()) == 1)
            # each was one small step from what was known, without a look at the kernel; the agent's figures follow it
            assert w.network.transitions == 4
            await until(lambda: w.agent.figures.leases == 1)

    run(body)


def test_leases_that_make_no_sense_are_told_once_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            w.peer(7, "vxlan")
            w.peer(8, "host-gw", value='{"PublicIP":"192.0.2.9","BackendType":"host-gw"}')
            w.peer(9, "host-gw", value="{")
            w.peer(10, "host-gw")
            await until(lambda: "100.96.10.0/24" in w.network.routes())
            await until(lambda: w.agent.figures.refused == 2)
            assert list(w.network.routes()) == ["100.96.10.0/24"]
            w.peer(11, "host-gw")
            await until(lambda: len(w.network.routes()) == 2)
            assert told(caplog, "100.96.7.0-24 is left out: is of backend vxlan") == 1
            assert told(caplog, "100.96.8.0-24 is left out: its node is not on the link") == 1
            # it is mended: taken in; spoilt again: told again
            w.peer(8, "host-gw")
            await until(lambda: "100.96.8.0/24" in w.network.routes())
            w.peer(8, "host-gw", value='{"PublicIP":"192.0.2.9","BackendType":"host-gw"}')
            await until(lambda: told(caplog, "100.96.8.0-24 is left out") == 2)

    run(body)


def test_is_renewed_at_the_margin_and_not_before(tmp_path: Path) -> None:
    """The original's: of 24 hours, an hour is left."""

    async def body() -> None:
        async with world(tmp_path, options=SELDOM) as w:
            await started(w)
            first = expires(w)
            assert first == w.clock.now() + 24 * HOUR
            await w.clock.advance(23 * HOUR - 10)
            assert expires(w) == first
            await w.clock.advance(20)
            await until(lambda: expires(w) > first)
            assert expires(w) == pytest.approx(w.clock.now() + 24 * HOUR, abs=20)
            await until(lambda: w.agent.figures.lease_expires == expires(w))

    run(body)


def test_is_renewed_again_and_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, **SHORT) as w:
            await started(w)
            for _ in range(4):
                before = expires(w)
                await w.clock.advance(870)
                assert expires(w) == before
                await w.later(lambda before=before: expires(w) > before)  # type: ignore[misc]
            assert not w.over()

    run(body)


def test_a_store_that_gives_less_than_the_margin_is_not_asked_all_the_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, ttl=600.0, options=SELDOM) as w:
            await started(w)
            revision = w.store.keys[OWN].revision
            await w.clock.advance(1000)
            assert w.store.keys[OWN].revision == revision + 3

    run(body)


def test_a_reservation_is_never_renewed(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, options=SELDOM) as w:
            w.peer(4, "host-gw", value='{"PublicIP":"10.168.0.2"}', ttl=None)
            w.configure("host-gw")
            w.start()
            await w.ready()
            entry = w.store.keys["100.96.4.0-24"]
            assert entry.expires is None and b"host-gw" in entry.value
            w.clock.set(48 * HOUR)
            await w.clock.advance(2 * HOUR)
            assert w.store.keys["100.96.4.0-24"] == entry

    run(body)


def test_the_clock_is_put_forward(tmp_path: Path) -> None:
    """Past the renewal: renewed within a minute. Past the end: the store has dropped it, and it is got back."""

    async def body() -> None:
        async with world(tmp_path, options=SELDOM) as w:
            await started(w)
            for jump in (23.5 * HOUR, 40 * HOUR):
                w.clock.set(jump)
                await w.later(lambda: OWN in w.store.keys and expires(w) > w.clock.now() + 23 * HOUR)
                assert w.own() == OWN and not w.over()

    run(body)


def test_the_clock_is_put_back(tmp_path: Path) -> None:
    """A store of its own time (etcd) goes on counting, so the lease is renewed by the time that has really passed."""

    async def body() -> None:
        async with world(tmp_path, **SHORT) as w:
            await started(w)
            revision = w.store.keys[OWN].revision
            w.clock.set(-100 * HOUR)
            await w.clock.advance(961)
            await until(lambda: w.store.keys[OWN].revision > revision)

    run(body)


def test_a_store_that_is_away_leaves_the_network_alone(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, **SHORT) as w:
            await started(w)
            w.peer(7, "host-gw", ttl=None)
            await until(lambda: bool(w.network.routes()))
            first = expires(w)
            w.store.away = True
            w.store.touch()
            await w.clock.advance(1100)
            await until(lambda: w.agent.figures.store_errors > 0)
            assert w.network.routes() and w.agent.waiting is None and not w.over()
            w.store.away = False
            await w.later(lambda: expires(w) > first)

    run(body)


def test_a_store_that_was_away_past_the_end_gives_the_same_subnet_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, **SHORT) as w:
            await started(w)
            w.peer(7, "host-gw", ttl=None)
            await until(lambda: bool(w.network.routes()))
            w.store.away = True
            w.store.touch()
            await w.clock.advance(1800)
            assert w.network.routes()
            w.store.away = False
            await w.later(lambda: OWN in w.store.keys and expires(w) > w.clock.now())
            assert w.own() == OWN and w.agent.waiting is None and not w.over()

    run(body)


def test_an_own_key_that_a_hand_removes_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with world(tmp_path, **SHORT) as w:
            await started(w)
            w.peer(7, "host-gw", ttl=None)
            await until(lambda: bool(w.network.routes()))
            del w.store.keys[OWN]
            w.store.touch()
            await until(lambda: OWN in w.store.keys)
            assert told(caplog, "the lease 100.96.1.0/24 is not in the store any more") == 1
            assert w.network.routes() and not w.over()
            before = expires(w)
            await w.clock.advance(961)
            await until(lambda: expires(w) > before)

    run(body)


@pytest.mark.parametrize("full", [False, True])
def test_a_subnet_that_another_node_has_now_is_lost(tmp_path: Path, full: bool) -> None:
    """The error names it; the node does not go on with another, nor wait for one to get free."""

    async def body() -> None:
        async with world(tmp_path) as w:
            w.configure("host-gw", "100.96.0.0/22", SubnetLen=24)
            if full:
                w.peer(2, "host-gw")
                w.peer(3, "host-gw")
            w.start()
            await w.ready()
            before = set(w.store.keys)
            w.peer(1, "host-gw", value='{"PublicIP":"10.168.0.66","BackendType":"host-gw"}')
            await until(w.over)
            with pytest.raises(LeaseLost, match=r"100\.96\.1\.0/24"):
                await w.ready()
            assert set(w.store.keys) == before

    run(body)


def test_a_network_that_is_another_now_starts_it_over(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, "vxlan")
            w.peer(7)
            await until(lambda: bool(w.network.routes()))
            assert "FLANNEL_MTU=1450" in w.env.read_text()
            w.configure("host-gw", "100.64.0.0/16")
            w.peer(7, "host-gw", key="100.64.7.0-24")
            await w.later(lambda: w.network.routes() == {"100.64.7.0/24": "10.168.0.8 eth0"})
            assert w.network.state.link("flannel.1") is None
            await until(lambda: "FLANNEL_NETWORK=100.64.0.0/16" in w.env.read_text())
            assert "FLANNEL_MTU=1500" in w.env.read_text()
            assert w.own() == "100.64.1.0-24"
            assert w.agent.waiting is None

    run(body)


@pytest.mark.parametrize("text", ["{", '{"Network": "100.96.0.0/16", "Backend": {"Type": "vxlan", "Vni": 7}}', None])
def test_a_configuration_that_makes_no_sense_any_more_is_left_out_of_account(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w)
            w.store.configuration = text.encode() if text is not None else None
            await w.clock.advance(150)
            assert not w.over() and w.agent.waiting is None
            assert told(caplog, "makes no sense any more") == (text is not None)

    run(body)


def test_what_original_flannelds_of_any_age_wrote_is_understood(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            await started(w, "vxlan")
            w.peer(7, value=json.dumps({
                "PublicIP": "10.168.0.8", "BackendType": "vxlan", "BackendData": {"VtepMAC": "5A:0B:C0:DE:FF:07"},
            }))  # fmt: skip
            await until(lambda: bool(w.network.routes()))
            listed = {str(item) for item in w.network.state}
            assert "fdb 5a:0b:c0:de:ff:07 dev flannel.1" in listed
            await w.stop()
        for kind in ("host-gw", "udp"):
            async with world(tmp_path / kind) as w:
                await started(w, kind)
                w.peer(7, value='{"PublicIP":"10.168.0.8"}')
                await until(lambda w=w: w.agent.figures.leases == 1)  # type: ignore[misc]
                assert w.agent.figures.refused == 0

    run(body)
