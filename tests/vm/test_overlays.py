"""The backends whose devices a small kernel lacks, with real flannelds: ipip and wireguard over two nodes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kernel"))

from flannel_network import Load, Network, network, until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]
DEVICE = {"ipip": "flannel.ipip", "wireguard": "flannel-wg"}
LESS = {"ipip": 20, "wireguard": 80}


@pytest.fixture(scope="module", params=["ipip", "wireguard"])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    dual = request.param == "wireguard"
    with network(tmp_path_factory.mktemp("net"), request.param, nodes=2, dual=dual) as made:
        for number in made.numbers:
            made.start(number, wait=False)
        for daemon in made.daemons.values():
            daemon.ready()
        yield made.settle(six=dual)


def test_packets_go_through_the_device(net: Network) -> None:
    device = DEVICE[net.kind]

    def sent() -> int:
        found = re.search(r"TX:.*\n\s*\d+\s+(\d+)", net.tool(1, "ip", "-s", "link", "show", device))
        assert found
        return int(found.group(1))

    before = sent()
    assert net.reaches(1, 2) and net.reaches(2, 1)
    assert sent() >= before + 2


def test_the_mtu_that_is_told_is_the_largest_that_passes(net: Network) -> None:
    mtu = 1500 - LESS[net.kind]
    assert f"FLANNEL_MTU={mtu}\n" in net.env_file(1).read_text()

    def ping(size: int) -> str:
        return net.tool(1, "ping", "-c1", "-W5", "-Mdo", f"-s{size - 28}", "10.244.2.2", kind="c", check=False)

    assert " 0% packet loss" in ping(mtu)
    said = ping(mtu + 1)
    assert re.search(rf"[Ff]rag needed and DF set.*mtu ?[=:] ?{mtu}\b", said), said


def test_killed_and_started_again_nothing_is_lost(net: Network) -> None:
    device = net.tool(1, "ip", "-o", "-d", "link", "show", DEVICE[net.kind])
    with Load(net, 1, 2) as load:
        for number in net.numbers:
            net.daemons[number].kill()
        load.more(20)
        for number in net.numbers:
            net.start(number, wait=False)
        for number in net.numbers:
            net.daemons[number].ready()
        load.more(20)
    assert load.lost == []
    assert "mended" not in net.daemons[1].said()
    # the same device, by its index; and the same key
    assert net.tool(1, "ip", "-o", "-d", "link", "show", DEVICE[net.kind]) == device


def test_the_device_is_made_again(net: Network) -> None:
    net.tool(1, "ip", "link", "del", DEVICE[net.kind])
    until(lambda: net.reaches(1, 2) and net.reaches(2, 1))


def test_a_node_that_goes_is_followed(net: Network) -> None:
    """The way there goes with the lease, and comes back with it."""

    def way() -> str:
        if net.kind == "wireguard":
            return net.tool(1, "wg", "show", "flannel-wg", "allowed-ips")
        return net.tool(1, "ip", "route")

    assert "10.244.2.0/24" in way()
    net.daemons[2].stop()
    (net.store / "subnets" / net.key(2)).unlink()
    until(lambda: "10.244.2.0/24" not in way())
    net.reserve(2)
    net.start(2)
    until(lambda: net.reaches(1, 2) and net.reaches(2, 1))
