"""The real backend keeps the contract of all backends, in namespaces of its own."""

import contextlib
import os
import threading
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from contract import PREFIX, Contract

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns
from netlab.kernel.apply import Backend, Kernel
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.probe import iptables_variant
from netlab.model import Bridge, BridgeVlan, HostState, Link, Loopback, Route, Veth
from netlab.model.links import FALLBACK_TUNNELS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.mark.parametrize("variant", ["legacy", "nft"])
class TestLinux(Contract):
    variant = "legacy"

    @pytest.fixture(autouse=True)
    def _variant(self, variant: str) -> None:
        type(self).variant = variant

    @contextlib.contextmanager
    def world(self) -> Iterator[Backend]:
        try:
            yield LinuxBackend(iptables=self.variant)
        finally:
            for name in netns.names():
                if name.startswith(f"{PREFIX}."):
                    netns.delete(name)


def test_a_variant_that_works_is_found() -> None:
    assert iptables_variant() in ("legacy", "nft")


@pytest.mark.parametrize("filtering", [True, False])
def test_a_kernel_without_vlans_is_said(filtering: bool) -> None:
    name = f"{PREFIX}.vlans"
    kernel = Kernel(LinuxBackend(), MemoryLedger())
    vlan = BridgeVlan(dev="br0", vid=10, on_bridge=True, why="lab.yaml:7")
    state = HostState.of([Link(name="br0", kind=Bridge(vlan_filtering=filtering)), vlan])
    try:
        kernel.apply(name, "x", state)
        assert kernel.plan_all("x", {name: state}) == {}
    except MachineError as e:
        assert "know no VLANs" in e.message and e.hint and "netlab vm run" in e.hint
        assert filtering or e.message.endswith("cannot make vlan 10 dev br0 (wanted by lab.yaml:7)")
    finally:
        netns.delete(name)


def test_nothing_is_left_open() -> None:
    """Descriptors, sockets and the thread's namespace are after an apply, refused or not, what they were before."""
    names = [f"{PREFIX}.{n}" for n in "abc"]
    lo = Link(name="lo", kind=Loopback())
    veths = [Link(name=f"v{n}", kind=Veth("eth0", ns)) for n, ns in enumerate(names[1:])]
    lab = {
        names[0]: HostState.of([lo, *veths]),
        **{ns: HostState.of([lo, Link(name="eth0", kind=Veth(f"v{n}", names[0]))]) for n, ns in enumerate(names[1:])},
    }
    unreachable = Route(dst=ip_network("10.9.0.0/16"), via=ip_address("192.0.2.1"), dev="eth0")
    kernel = Kernel(LinuxBackend(iptables=iptables_variant()), MemoryLedger())
    netns.own()  # opened once for the life of the process
    fds, home = Path("/proc/self/fd"), Path("/proc/thread-self/ns/net")
    before, whence = len(list(fds.iterdir())), home.readlink()
    try:
        kernel.apply_all("x", lab)
        kernel.drift("x", lab)
        with pytest.raises(KernelError):
            kernel.apply(names[1], "x", lab[names[1]] | HostState.of([unreachable]))
    finally:
        for ns in names:
            netns.delete(ns)
    assert len(list(fds.iterdir())) == before
    assert home.readlink() == whence
    assert threading.active_count() == 1


def test_namespaces_made_ahead() -> None:
    """A nursery's namespaces are as good as others, what is not taken is given back, and running out is no matter."""
    fds = Path("/proc/self/fd")
    netns.own()
    before = len(list(fds.iterdir()))
    names = [f"{PREFIX}.n{i}" for i in range(3)]
    try:
        with netns.Nursery(2) as nursery:
            backend = LinuxBackend(nursery=nursery)
            for name in names:
                backend.create(name)
        assert len({netns.inode(name) for name in names}) == 3
        state = backend.read({names[0]: HostState()}, everything=True)[names[0]]
        assert {link.name for link in state.all(Link)} - FALLBACK_TUNNELS == {"lo"}
        with netns.Nursery(5):
            pass
    finally:
        for name in names:
            netns.delete(name)
    assert len(list(fds.iterdir())) == before
    assert threading.active_count() == 1
