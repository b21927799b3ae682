"""Who must reach whom, in clusters whose Services are served by IPVS. NETLAB_MATRIX=all: with every network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clustermatrix import NETWORKS, holds

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nodes are made of namespaces"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]

FEW = [("flannel-vxlan", True)]
ALL = list(NETWORKS.items())


@pytest.mark.parametrize(("network", "ipv6"), ALL if os.environ.get("NETLAB_MATRIX") == "all" else FEW)
def test_everybody_reaches_whom_they_should(network: str, ipv6: bool, tmp_path: Path) -> None:
    holds(f"cv{os.getpid()}", tmp_path, network=network, proxy="ipvs", ipv6=ipv6)
