"""A steady stream of new connections through a Service, while its endpoints come and go, and its proxy, too.

NETLAB_CHURN says how often they do (500 for the long run); the default is for every day.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import worlds
from podnet import Net, pods_of
from proxying import Known, firewall
from proxyload import come_and_go, die_and_come_back, put, serving, subsets

from netlab.kernel.apply import Kernel
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("two hundred connections a second are more than an emulator can do"),
]
CHURN = int(os.environ.get("NETLAB_CHURN", "25"))
#: new connections a second
RATE = 200
MODES = [("legacy", "iptables"), ("nft", "iptables"), ("nft", "nftables")]


@pytest.fixture(params=MODES, ids="-".join)
def net(request: pytest.FixtureRequest) -> Iterator[tuple[Net, str, str]]:
    variant, mode = request.param
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=False, variant=variant)
    with made.up():
        yield made, variant, mode


def test_endpoints_come_and_go_and_no_connection_fails(net: tuple[Net, str, str], tmp_path: Path) -> None:
    made, variant, mode = net
    with serving(made, variant, mode, tmp_path) as proxy:
        come_and_go(made, proxy, CHURN, RATE)


def test_the_proxy_is_killed_and_comes_back_and_no_connection_fails(net: tuple[Net, str, str], tmp_path: Path) -> None:
    made, variant, mode = net
    with serving(made, variant, mode, tmp_path) as proxy:
        die_and_come_back(made, proxy, max(3, CHURN // 25), RATE)


def test_nothing_is_left_to_do_after_it_was_killed(net: tuple[Net, str, str], tmp_path: Path) -> None:
    """What a proxy claims after a kill in the midst of its work is all that it has ever made."""
    made, variant, mode = net
    where = made.ns("n1")
    with serving(made, variant, mode, tmp_path) as proxy:
        for letters in subsets(4):
            put(proxy.manifests, letters)
            proxy.end(signal.SIGKILL)
            proxy.start()
        proxy.end()
        Kernel(LinuxBackend(iptables=variant), Known(proxy.claims, where)).apply(where, "proxy", HostState())
        assert firewall(where) == []
