"""Services by IPVS, which small kernels lack: simulator = kernel, and what is applied is read back (points S95 to S103)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from oracle import worlds
from podnet import Net, pods_of
from servicejudge import CIDR, HAND, judge

from netlab.compile.proxying import ProxyConfig

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]
CONFIG = ProxyConfig(node="", cluster_cidrs=(CIDR,))


@pytest.fixture(scope="module", params=["bridged", "routed"])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=request.param == "routed", variant="nft")
    with made.up():
        yield made


NAMES = [
    "S1_S7_S8_S9_cluster_ip", "S2_udp", "S3_sctp_beside_tcp", "S4_tcp_and_udp_on_one_number", "S5_two_ports", "S12_hairpin", "S28_no_endpoints",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_service(net: Net, name: str) -> None:
    judge((net, "ipvs"), HAND[name], config=CONFIG)


# whom a scheduler takes is not a matter of where the pods are
@pytest.mark.parametrize("net", ["routed"], indirect=True)
@pytest.mark.parametrize("scheduler", ["rr", "lc", "wrr"])
def test_S97_schedulers(net: Net, scheduler: str) -> None:
    judge((net, "ipvs"), HAND["S1_S7_S8_S9_cluster_ip"], config=replace(CONFIG, scheduler=scheduler))
