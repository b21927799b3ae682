"""Who must reach whom, in clusters of each network and proxy.

A few combinations run always; NETLAB_MATRIX=all runs all but those by IPVS, which few kernels have. A VM has it, and takes
some ten minutes for a cluster of one node where its processor is emulated, so that it is done by hand:

    netlab vm run --memory 3G -- sh -c 'mkdir /run/disks && netlab cluster up ipvs --nodes 1 --proxy ipvs --disk /run/disks
        --node-monitor-grace-period 3000 && netlab cluster check ipvs --within 300; netlab cluster down ipvs'
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clustermatrix import NETWORKS, holds

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nodes are made of namespaces"),
    pytest.mark.not_in_vm("starts Python by the dozen, on nodes whose files are an overlay already"),
]

#: network, proxy, whether with IPv6. flannel-vxlan by iptables is checked in test_cluster_nodes.py
FEW = [("flannel-udp", "iptables", False), ("flannel-host-gw", "iptables", True), ("calico", "nftables", True)]
ALL = [
    (network, proxy, ipv6)
    for network, both in NETWORKS.items()
    for proxy in ("iptables", "nftables")
    for ipv6 in ((False, True) if both else (False,))
]


@pytest.mark.parametrize(("network", "proxy", "ipv6"), ALL if os.environ.get("NETLAB_MATRIX") == "all" else FEW)
def test_everybody_reaches_whom_they_should(network: str, proxy: str, ipv6: bool, tmp_path: Path) -> None:
    holds(f"cm{os.getpid()}", tmp_path, network=network, proxy=proxy, ipv6=ipv6)
