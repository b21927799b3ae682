"""What every backend of `kernel.apply` must do, real or fake. Subclasses say how to make one."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from strategies import COMMON, host_states

from netlab.base.errors import KernelError
from netlab.kernel.apply import Backend, DaemonKernel, Kernel
from netlab.kernel.ledger import MemoryLedger
from netlab.model import (
    Address,
    Bridge,
    BridgePort,
    Chain,
    HostState,
    IptablesRule,
    Link,
    Loopback,
    Neighbour,
    NextHop,
    Route,
    Sysctl,
    Veth,
)  # fmt: skip
from netlab.model.diff import Create
from netlab.model.links import FALLBACK_TUNNELS

#: tests of random states draw so many; fewer where a kernel runs in an emulator
EXAMPLES = int(os.environ.get("NETLAB_EXAMPLES", "60"))

PREFIX = f"ct{os.getpid()}"
A, B, C = f"{PREFIX}.a", f"{PREFIX}.b", f"{PREFIX}.c"
LO = Link(name="lo", kind=Loopback())

#: in an emulator, shrinking a failure takes longer than looking at it
PHASES = [p for p in Phase if p is not Phase.shrink] if "NETLAB_VM" in os.environ else list(Phase)
relaxed = settings(deadline=None, phases=PHASES, derandomize=True, suppress_health_check=list(HealthCheck))


def pair(near: str, far: str, netns: str, **more: object) -> Link:
    return Link(name=near, kind=Veth(far, netns), **more)  # type: ignore[arg-type]


def host(address: str, gateway: str, dev: str = "eth0", peer: tuple[str, str] = ("v0", A)) -> HostState:
    ip = ip_interface(address)
    return HostState.of(
        [
            LO,
            pair(dev, *peer),
            Address(dev=dev, address=ip),
            Route(dst=ip_network("0.0.0.0/0"), via=ip_address(gateway), dev=dev),
        ]
    )


def switch(*ports: str) -> HostState:
    links = [pair(f"v{i}", "eth0", ns, master="br0") for i, ns in enumerate(ports)]
    return HostState.of([LO, Link(name="br0", kind=Bridge(), mac="02:00:00:00:00:01"), *links])


class Contract:
    """The tests. `world()` gives a backend whose namespaces named PREFIX.* are gone when it is left."""

    examples = EXAMPLES
    kinds = COMMON

    def world(self) -> AbstractContextManager[Backend]:
        raise NotImplementedError

    def test_applying_twice_changes_nothing(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            lab = {
                A: switch(B, C),
                B: host("10.0.0.1/24", "10.0.0.9"),
                C: host("10.0.0.2/24", "10.0.0.9", peer=("v1", A)),
            }
            assert kernel.apply_all("x", lab)
            assert kernel.apply_all("x", lab) == {}
            plans, strangers = kernel.drift("x", lab)
            assert (plans, strangers) == ({}, {})

    def test_random_states_turn_into_each_other(self) -> None:
        @settings(relaxed, max_examples=self.examples)
        @given(a=host_states(self.kinds), b=host_states(self.kinds))
        def turn(a: HostState, b: HostState) -> None:
            with self.world() as backend:
                kernel = Kernel(backend, MemoryLedger())
                for state in (a, b):
                    kernel.apply(A, "x", state)
                    again = kernel.plan_all("x", {A: state})
                    assert again == {}, [str(op.item) for op in again[A]]
                plans, strangers = kernel.drift("x", {A: b})
                assert plans == {} and strangers.get(A, []) == []
                kernel.apply(A, "x", HostState())
                _, left = kernel.drift("x", {A: HostState()})
                assert left.get(A, []) == []

        turn()

    def test_an_owner_leaves_the_others_alone(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            mine = HostState.of(
                [Link(name="br0", kind=Bridge()), Address(dev="br0", address=ip_interface("10.0.0.1/24"))]
            )
            route = Route(dst=ip_network("10.9.0.0/16"), via=ip_address("10.0.0.7"), dev="br0")
            jump = Chain(family=4, table="filter", name="FORWARD", rules=(IptablesRule.of("-j KUBE-FORWARD"),))
            own = Chain(family=4, table="filter", name="KUBE-FORWARD", rules=(IptablesRule.of("-j ACCEPT"),))
            docker = Chain(family=4, table="filter", name="FORWARD", rules=(IptablesRule.of("-o br0 -j ACCEPT"),))
            kernel.apply(A, "one", HostState.of([*mine, docker]))
            kernel.apply(A, "two", HostState.of([route, jump, own]))
            assert kernel.plan_all("one", {A: HostState.of([*mine, docker])}) == {}
            rules = self.chain(backend, "FORWARD")
            # declared precedence: jumps to KUBE- chains stand before what declares none, whoever came first
            assert [str(r) for r in rules] == ["-j KUBE-FORWARD", "-o br0 -j ACCEPT"]
            kernel.apply(A, "two", HostState())
            assert kernel.plan_all("one", {A: HostState.of([*mine, docker])}) == {}
            assert [str(r) for r in self.chain(backend, "FORWARD")] == ["-o br0 -j ACCEPT"]
            kernel.apply(A, "one", HostState())
            state = backend.read({A: HostState()}, everything=True)[A]
            assert {link.name for link in state.all(Link)} - FALLBACK_TUNNELS == {"lo"}

    def chain(self, backend: Backend, name: str) -> tuple[IptablesRule, ...]:
        probe = HostState.of([Chain(family=4, table="filter", name=name)])
        found = [c for c in backend.read({A: probe})[A].all(Chain) if c.name == name and c.family == 4]
        return found[0].rules if found else ()

    def test_a_deleted_link_comes_back_with_all_that_hung_on_it(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            lab = {A: switch(B), B: host("10.0.0.1/24", "10.0.0.9")}
            kernel.apply_all("x", lab)
            # what a hand would do: the end in A deleted, by another owner that claims it
            thief = Kernel(backend, MemoryLedger())
            v0 = HostState.of([LO, *(link for link in lab[A].all(Link) if link.name in ("v0", "br0"))])
            thief.apply_all("thief", {A: v0, B: HostState.of([LO, *lab[B].all(Link)])})
            thief.apply_all("thief", {A: HostState.of([LO, *(i for i in v0 if getattr(i, "name", "") == "br0")])})
            assert backend.read(lab)[B].link("eth0") is None
            kernel.apply_all("x", lab)
            assert kernel.plan_all("x", lab) == {}

    def test_a_veth_end_moves_to_another_namespace(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            kernel.apply_all("x", {A: switch(B), B: host("10.0.0.1/24", "10.0.0.9"), C: HostState.of([LO])})
            moved = {A: switch(C), B: HostState.of([LO]), C: host("10.0.0.1/24", "10.0.0.9")}
            kernel.apply_all("x", moved)
            assert kernel.plan_all("x", moved) == {}
            assert backend.read(moved)[B].link("eth0") is None

    def test_sysctls_go_back_to_what_they_were(self) -> None:
        name = "net/ipv4/ip_forward"
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            base = HostState.of([LO])
            kernel.apply(A, "x", base)
            kernel.apply(A, "x", HostState.of([LO, Sysctl(name=name, value="1")]))
            kernel.apply(A, "x", HostState.of([LO, Sysctl(name=name, value="1")]))
            probe = HostState.of([Sysctl(name=name, value="?")])
            assert [s.value for s in backend.read({A: probe})[A].all(Sysctl)] == ["1"]
            kernel.apply(A, "x", base)
            assert [s.value for s in backend.read({A: probe})[A].all(Sysctl)] == ["0"]

    def test_a_link_that_goes_down_and_comes_up_again(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            links = [LO, Link(name="br0", kind=Bridge())]
            full = HostState.of(
                [
                    *links,
                    Address(dev="br0", address=ip_interface("10.0.0.1/24")),
                    Address(dev="br0", address=ip_interface("fd00::1/64")),
                    Route(dst=ip_network("10.9.0.0/16"), via=ip_address("10.0.0.7"), dev="br0"),
                    Route(dst=ip_network("fd09::/64"), via=ip_address("fd00::7"), dev="br0"),
                    Neighbour(dev="br0", address=ip_address("10.0.0.7"), mac="02:00:00:00:00:07"),
                ]
            )
            down = HostState.of(
                [LO, Link(name="br0", kind=Bridge(), up=False), *(full.where(lambda i: isinstance(i, Address)))]
            )
            for state in (full, down, full):
                kernel.apply(A, "x", state)
                assert kernel.plan_all("x", {A: state}) == {}

    def test_a_changed_address_takes_its_routes_along_and_gives_them_back(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            for ip in ("10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/25"):
                state = host(ip, "10.0.0.9")
                kernel.apply_all("x", {A: switch(B), B: state})
                assert kernel.plan_all("x", {A: switch(B), B: state}) == {}

    def test_multipath(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            links = [LO, *(Link(name=n, kind=Bridge()) for n in ("br0", "br1"))]
            addresses = [Address(dev=f"br{i}", address=ip_interface(f"10.{i}.0.1/24")) for i in (0, 1)]
            hops = tuple(NextHop(f"br{i}", ip_address(f"10.{i}.0.9"), i + 1) for i in (0, 1))
            routes = [Route(dst=ip_network("10.9.0.0/16"), nexthops=hops)]
            state = HostState.of([*links, *addresses, *routes])
            kernel.apply(A, "x", state)
            assert kernel.plan_all("x", {A: state}) == {}
            one = HostState.of([*links[:2], addresses[0]])
            kernel.apply(A, "x", one)
            assert kernel.drift("x", {A: one}) == ({}, {})

    def test_port_options(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            ports = [BridgePort(hairpin=True), BridgePort(learning=False, flood=False), BridgePort(isolated=True), None]
            for port in ports:
                near = pair("v0", "eth0", B, master="br0", port=port)
                lab = {
                    A: HostState.of([Link(name="br0", kind=Bridge()), near]),
                    B: HostState.of([pair("eth0", "v0", A)]),
                }
                kernel.apply_all("x", lab)
                assert kernel.plan_all("x", lab) == {}

    def test_a_refusal_names_the_item_and_its_why(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            bad = Route(dst=ip_network("10.9.0.0/16"), via=ip_address("192.0.2.1"), dev="br0", why="lab.yaml:7")
            state = HostState.of([LO, Link(name="br0", kind=Bridge()), bad])
            with pytest.raises(KernelError) as caught:
                kernel.apply(A, "x", state)
            assert "10.9.0.0/16" in str(caught.value)
            # what was done is claimed, so the next apply can take it away
            kernel.apply(A, "x", HostState.of([LO]))
            assert kernel.drift("x", {A: HostState.of([LO])}) == ({}, {})

    def test_planning_touches_nothing(self) -> None:
        with self.world() as backend:
            kernel = Kernel(backend, MemoryLedger())
            plans = kernel.plan_all("x", {A: switch(B), B: host("10.0.0.1/24", "10.0.0.9")})
            assert all(isinstance(op, Create) for op in plans[B])
            assert A not in set(backend.names())

    def test_a_step_is_as_good_as_apply(self) -> None:
        """What a daemon hands over reaches the kernel without a look at the rest, and is claimed."""
        with self.world() as backend:
            ledger = MemoryLedger()
            kernel = DaemonKernel(backend, ledger)
            own = [
                Chain(family=4, table="filter", name=f"KUBE-{n}", rules=(IptablesRule.of("-j RETURN"),)) for n in "ABC"
            ]
            jump = Chain(family=4, table="filter", name="FORWARD", rules=(IptablesRule.of("-j KUBE-A"),))
            everything = HostState.of([jump, *own])
            assert kernel.apply(A, "x", HostState.of([LO])) is not None
            kernel.step(A, "proxy", (), tuple(everything))
            assert kernel.plan_all("proxy", {A: everything}) == {}
            other = Chain(family=4, table="filter", name="KUBE-B", rules=(IptablesRule.of("-s 10.0.0.0/8 -j ACCEPT"),))
            ops = kernel.step(A, "proxy", own[1:], (other,))
            assert [type(op).__name__ for op in ops] == ["Change", "Delete"]
            assert kernel.plan_all("proxy", {A: HostState.of([jump, own[0], other])}) == {}
            # what is claimed is taken away by somebody who knows nothing but the ledger
            Kernel(backend, ledger).apply(A, "proxy", HostState())
            assert kernel.drift("x", {A: HostState.of([LO])}) == ({}, {})
