"""A real flanneld and what it is asked: the environment, a second one beside it, a port that is taken, the wrong network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flannel_network import ROOT, Network, network

from netlab.kernel import netns
from netlab.kernel.probe import iptables_variant

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Each test leaves it as it was: a flanneld that is ready."""
    with network(tmp_path_factory.mktemp("net"), "host-gw", nodes=1) as made:
        made.start(1)
        yield made


def test_only_one_on_a_node(net: Network) -> None:
    first = net.daemons[1]
    second = net.start(1, "--healthz-port=0", wait=False)
    net.daemons[1] = first
    assert second.ended() == 2
    assert f"another flanneld (process {first.process.pid}) has the subnet file" in second.said()
    assert first.process.poll() is None


def test_a_port_that_is_taken_is_told(net: Network) -> None:
    with netns.entered(net.name("n", 1)):
        taken = socket.create_server(("127.0.0.1", 0))
    net.daemons[1].stop()
    with taken:
        port = taken.getsockname()[1]
        daemon = net.start(1, "-healthz-ip=127.0.0.1", f"--healthz-port={port}", wait=False)
        assert daemon.ended() == 3
        assert f"on 127.0.0.1:{port}" in daemon.said() and "Traceback" not in daemon.said()
    net.start(1)


def test_options_from_the_environment(net: Network) -> None:
    net.daemons[1].stop()
    env = {
        "FLANNELD_IFACE_REGEX": "^eth", "FLANNELD_IP_MASQ": "true", "FLANNELD_HEALTHZ_PORT": "8472",
        "FLANNELD_SUBNET_DIR": str(net.store), "FLANNELD_SUBNET_FILE": "/nonexistent/subnet.env",
    }  # fmt: skip
    # an option that is given counts more than the environment
    net.start(1, "--healthz-port=8473", env=env, store=["-v", "10"])
    assert net.daemons[1].get("/readyz", 8473) == (200, "ready\n")
    assert "FLANNEL_IPMASQ=true" in net.env_file(1).read_text()
    assert "FLANNEL-POSTRTG" in net.tool(1, f"iptables-{iptables_variant()}-save", "-t", "nat")
    net.daemons[1].stop()
    net.start(1)


def test_the_network_of_the_machine_is_refused(net: Network) -> None:
    assert netns.is_machines_own(), "these tests are run in the machine's own network"
    done = subprocess.run(
        [sys.executable, "-m", "netlab.cli.main", "flanneld", "--subnet-dir", str(net.store), "--subnet-file",
         str(net.folder / "own" / "subnet.env")],
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "the machine's own network" in done.stderr and "--this-machine" in done.stderr
    assert not (net.folder / "own").exists()
