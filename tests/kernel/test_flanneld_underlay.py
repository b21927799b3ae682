"""Real flannelds whose node's own network changes under them: another MTU, another address, the device gone for a while."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flannel_network import Network, network, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture(scope="module", params=["vxlan", "host-gw"])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("net"), request.param, nodes=2, reserve=False) as made:
        for number in made.numbers:
            made.lease(number)
            made.start(number, wait=False)
        for daemon in made.daemons.values():
            daemon.ready()
        yield made.settle()


def both_ways(net: Network) -> bool:
    return net.reaches(1, 2) and net.reaches(2, 1)


def test_another_mtu(net: Network) -> None:
    less = 50 if net.kind == "vxlan" else 0
    for mtu in (1400, 1500):
        net.tool(1, "ip", "link", "set", "eth0", "mtu", str(mtu))
        until(lambda mtu=mtu: f"FLANNEL_MTU={mtu - less}\n" in net.env_file(1).read_text())  # type: ignore[misc]
        if net.kind == "vxlan":
            assert f"mtu {mtu - less} " in net.tool(1, "ip", "link", "show", "flannel.1")
        until(lambda: both_ways(net))


def test_another_address_and_the_same_subnet(net: Network) -> None:
    for old, new in (("10.168.0.2", "10.168.0.22"), ("10.168.0.22", "10.168.0.2")):
        net.tool(2, "ip", "addr", "del", f"{old}/24", "dev", "eth0")
        until(lambda: net.daemons[2].get("/readyz")[0] == 503)
        net.tool(2, "ip", "addr", "add", f"{new}/24", "dev", "eth0")
        key = net.store / "subnets" / net.key(2)
        until(lambda key=key, new=new: key.exists() and f'"PublicIP":"{new}"' in key.read_text())  # type: ignore[misc]
        until(lambda: net.daemons[2].get("/readyz")[0] == 200)
        until(lambda: both_ways(net))
    assert len(list((net.store / "subnets").iterdir())) == 2


def test_the_device_renamed_for_a_while(net: Network) -> None:
    """To flanneld it is gone, and another one is not taken for it."""
    net.tool(1, "ip", "link", "set", "eth0", "down")
    net.tool(1, "ip", "link", "set", "eth0", "name", "eth9")
    until(lambda: "eth0" in net.daemons[1].get("/readyz")[1])
    net.tool(1, "ip", "link", "set", "eth9", "name", "eth0")
    net.tool(1, "ip", "link", "set", "eth0", "up")
    until(lambda: net.daemons[1].get("/readyz")[0] == 200)
    until(lambda: both_ways(net))
    assert net.daemons[1].process.poll() is None
