"""Services in a kernel that refuses some of them: who is left out, who is told, and what is forgotten when."""

from __future__ import annotations

import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from proxy_world import CONFIG, Kernel, served

from netlab.base.errors import KernelError
from netlab.compile.gathered import Served
from netlab.compile.objects import Objects
from netlab.compile.rules import Mode, service_rules
from netlab.daemons.proxy.programme import Programme
from netlab.model import Chain, HostState, IpvsService
from netlab.model.diff import Change
from netlab.model.flows import Flow


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def programme(kernel: Kernel) -> Programme:
    made = Programme(kernel, "iptables")
    made.configure(CONFIG, [4])
    return made


def value(*services: Served, mode: Mode = "iptables") -> HostState:
    """The own chains of a kernel that serves just these."""
    objects = Objects(tuple(s for s, _ in services), tuple(one for _, slices in services for one in slices))
    whole = service_rules(objects, CONFIG, mode, 4)
    return HostState.of(replace(i, owner="", why="") for i in whole if isinstance(i, Chain) and not i.builtin)


def same(kernel: Kernel, *services: Served) -> bool:
    """Whether the kernel holds that, rule for rule."""

    def plain(state: HostState) -> dict[object, list[str]]:
        return {c.order: [str(rule) for rule in c.rules] for c in state.all(Chain)}

    return plain(kernel.holds()) == plain(value(*services))


def test_the_first_sync_is_whole_and_later_ones_are_steps(programme: Programme, kernel: Kernel) -> None:
    a, b = served("a", "10.244.1.2"), served("b", "10.244.1.3")
    programme.sync(dict([a]), full=True)
    assert same(kernel, a[1])
    programme.sync(dict([b]), full=False)
    assert same(kernel, a[1], b[1])
    programme.sync({a[0]: None}, full=False)
    assert same(kernel, b[1])
    programme.sync({}, full=False)
    assert kernel.log == ["apply", "step", "step"]


@pytest.mark.parametrize(
    "bad", [{"c"}, {"a", "h"}, {"a", "b", "c", "d"}, set("abcdefgh")], ids=lambda b: "".join(sorted(b))
)
def test_what_the_kernel_refuses_is_found_and_everything_else_is_served(
    programme: Programme, kernel: Kernel, bad: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    kernel.bad = {f"x/{name}" for name in bad}
    everything = dict(served(name, f"10.244.1.{i + 2}") for i, name in enumerate("abcdefgh"))
    programme.sync(everything, full=True)
    assert set(programme.refused) == {("x", name) for name in bad}
    assert same(kernel, *(one for name, one in everything.items() if name[1] not in bad))
    for name in bad:
        assert f"Service x/{name} is left out" in caplog.text
    # and when the kernel has learnt it
    kernel.bad = set()
    programme.sync({}, full=True)
    assert not programme.refused and same(kernel, *everything.values())


def test_a_kernel_that_is_full_serves_whom_it_has_room_for_and_the_others_are_named(
    programme: Programme, kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    programme.sync({}, full=True)
    kernel.room = len(kernel.chains()) + 2 * 5  # a Service of one endpoint has two chains
    everything = dict(served(name, f"10.244.1.{i + 2}") for i, name in enumerate("abcdefgh"))
    programme.sync(everything, full=False)
    left_out = set(programme.refused)
    assert len(left_out) == 3
    assert same(kernel, *(one for name, one in everything.items() if name not in left_out))
    for space, name in left_out:
        assert f"Service {space}/{name} is left out, for the kernel refuses it" in caplog.text
    # who goes makes room for another
    first = next(name for name in everything if name not in left_out)
    programme.sync({first: None}, full=True)
    assert len(programme.refused) == 2


def test_a_refused_change_leaves_out_the_changed_alone(programme: Programme, kernel: Kernel) -> None:
    a, b, c = (served(name, f"10.244.1.{i + 2}") for i, name in enumerate("abc"))
    programme.sync(dict([a, b]), full=True)
    kernel.bad, kernel.log = {"x/c"}, []
    programme.sync(dict([c]), full=False)
    assert list(programme.refused) == [("x", "c")] and same(kernel, a[1], b[1])
    assert kernel.log == ["step", "apply", "apply", "step", "apply"]
    # it is tried again when it changes
    kernel.bad = set()
    c2 = served("c", "10.244.1.9")
    programme.sync(dict([c2]), full=False)
    assert same(kernel, a[1], b[1], c2[1])


def test_a_kernel_that_refuses_everything_is_an_error_and_is_tried_again(programme: Programme, kernel: Kernel) -> None:
    a = served("a", "10.244.1.2")
    kernel.bad, kernel.broken = {"anything"}, True
    with pytest.raises(KernelError):
        programme.sync(dict([a]), full=True)
    kernel.bad, kernel.broken = set(), False
    programme.sync({}, full=False)
    assert same(kernel, a[1])


def test_what_others_did_is_mended_and_told(programme: Programme, kernel: Kernel) -> None:
    a = served("a", "10.244.1.2")
    programme.sync(dict([a]), full=True)
    assert programme.sync({}, full=True).mended == []
    chain = next(c for c in kernel.holds().all(Chain) if c.name.startswith("KUBE-SVC-"))
    kernel.backend.perform({"here": [Change(chain, replace(chain, rules=()))]})
    assert not same(kernel, a[1])
    report = programme.sync({}, full=True)
    assert [op.item.key for op in report.mended] == [chain.key] and same(kernel, a[1])


def test_what_two_want_is_the_first_one_s_until_it_goes(programme: Programme, kernel: Kernel) -> None:
    a = served("a", "10.244.1.2", type="NodePort", node_port=30080)
    b = served("b", "10.244.1.3", type="NodePort", node_port=30080)
    without = served("b", "10.244.1.3", type="NodePort", node_port=0)
    programme.sync(dict([b, a]), full=True)
    assert same(kernel, a[1], without[1]) and list(programme.clashes) == [("x", "b")]
    programme.sync({a[0]: None}, full=False)
    assert same(kernel, b[1]) and not programme.clashes


def test_S112_connections_are_forgotten_after_the_rules_and_only_those_of_changed_services(
    programme: Programme, kernel: Kernel
) -> None:
    client = ip_address("10.244.2.2")

    def flow(address: str, answerer: str) -> Flow:
        return Flow("udp", client, 5000, ip_address(address), 80, ip_address(answerer), 80)

    dns = served("d", "10.244.1.2", protocol="udp", ip="10.96.0.10")
    programme.sync(dict([dns, served("t", "10.244.1.3")]), full=True)
    kernel.tracked = [flow("10.96.0.10", "10.244.1.2"), flow("10.96.0.11", "10.244.1.7")]
    kernel.log = []
    report = programme.sync(dict([served("d", "10.244.1.4", protocol="udp", ip="10.96.0.10")]), full=False)
    assert kernel.log == ["step", "flows 4 udp", "forget 10.96.0.10:80"] and report.forgotten == 1
    assert kernel.tracked == [flow("10.96.0.11", "10.244.1.7")]
    kernel.log = []
    programme.sync(dict([served("t", "10.244.1.9")]), full=False)
    assert kernel.log == ["step"]  # TCP is never touched
    kernel.tracked = [flow("10.96.0.10", "10.244.1.4")]
    programme.sync({("x", "d"): None}, full=False)
    assert kernel.tracked == []


def test_an_address_that_moves_to_another_service_is_judged_by_that_one(programme: Programme, kernel: Kernel) -> None:
    old = served("old", "10.244.1.2", protocol="udp", ip="10.96.0.10")
    new = served("new", "10.244.1.2", protocol="udp", ip="10.96.0.10")
    programme.sync(dict([old]), full=True)
    kept = Flow("udp", ip_address("10.244.2.2"), 1, ip_address("10.96.0.10"), 80, ip_address("10.244.1.2"), 80)
    kernel.tracked = [kept]
    programme.sync({old[0]: None, **dict([new])}, full=False)
    assert kernel.tracked == [kept]


def test_another_address_of_the_node_is_another_programme(programme: Programme, kernel: Kernel) -> None:
    a = served("a", "10.244.1.2", type="NodePort", node_port=30080)
    programme.sync(dict([a]), full=True)
    programme.configure(replace(CONFIG, masquerade_all=True), [4])
    programme.sync({}, full=True)
    masked = [str(r) for c in kernel.holds().all(Chain) if c.name.startswith("KUBE-SVC-") for r in c.rules]
    assert masked and not any("! -s" in rule for rule in masked)


def test_both_families_share_what_they_share(kernel: Kernel) -> None:
    programme = Programme(kernel, "ipvs")
    programme.configure(CONFIG, [4, 6])
    programme.sync({}, full=True)  # one kube-ipvs0 for both
    assert kernel.log == ["apply"]


# -- IPVS: who is taken out of a Service keeps his connections


@pytest.fixture
def balancer(kernel: Kernel) -> Programme:
    made = Programme(kernel, "ipvs")
    made.configure(CONFIG, [4])
    return made


def weights(kernel: Kernel) -> dict[str, int]:
    """By real server, of all virtual ones."""
    there = kernel.backend.read({"here": HostState()}, everything=True)["here"].all(IpvsService)
    return {str(d.address): d.weight for server in there for d in server.destinations}


def test_S104_who_has_connections_gets_no_new_ones_and_goes_when_they_have_ended(
    balancer: Programme, kernel: Kernel
) -> None:
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3")]), full=True)
    kernel.talking = {"10.244.1.3"}
    balancer.sync(dict([served("a", "10.244.1.2")]), full=False)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.3": 0}
    # nothing of that is a repair
    report = balancer.sync({}, full=True)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.3": 0} and not report.mended
    balancer.sync(dict([served("b", "10.244.1.9")]), full=False)
    kernel.talking = set()
    report = balancer.sync({}, full=True)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.9": 1} and report.ops == 1 and not report.mended


def test_S104_a_change_that_is_applied_with_all_else_is_as_patient(balancer: Programme, kernel: Kernel) -> None:
    """On a slow machine every sync may be a full one."""
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3")]), full=True)
    kernel.talking = {"10.244.1.3"}
    balancer.sync(dict([served("a", "10.244.1.2")]), full=True)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.3": 0}
    kernel.talking = set()
    balancer.sync({}, full=True)
    assert weights(kernel) == {"10.244.1.2": 1}


def test_S104_who_is_idle_is_first_not_chosen_any_more(balancer: Programme, kernel: Kernel) -> None:
    """Between a look at who has connections and the change somebody may connect, whose packets would then be dropped."""
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3")]), full=True)
    balancer.sync(dict([served("a", "10.244.1.2")]), full=True)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.3": 0}
    balancer.sync({}, full=True)
    assert weights(kernel) == {"10.244.1.2": 1}


def test_S104_who_returns_is_chosen_again(balancer: Programme, kernel: Kernel) -> None:
    name, both = served("a", "10.244.1.2", "10.244.1.3")
    kernel.talking = {"10.244.1.3"}
    balancer.sync({name: both}, full=True)
    balancer.sync(dict([served("a", "10.244.1.2")]), full=False)
    balancer.sync({name: both}, full=False)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.3": 1}
    assert not balancer.sync({}, full=True).ops


def test_S104_a_flow_of_udp_is_sent_elsewhere_at_once(balancer: Programme, kernel: Kernel) -> None:
    kernel.talking = {"10.244.1.3"}
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3", protocol="udp")]), full=True)
    balancer.sync(dict([served("a", "10.244.1.2", protocol="udp")]), full=False)
    assert weights(kernel) == {"10.244.1.2": 1}


def test_S104_a_successor_is_as_patient(balancer: Programme, kernel: Kernel) -> None:
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3", "10.244.1.4")]), full=True)
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3")]), full=False)
    kernel.talking = {"10.244.1.3", "10.244.1.4"}
    successor = Programme(kernel, "ipvs")
    successor.configure(CONFIG, [4])
    successor.sync(dict([served("a", "10.244.1.2")]), full=True)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.3": 0, "10.244.1.4": 0}
    kernel.talking = {"10.244.1.4"}
    successor.sync({}, full=True)
    assert weights(kernel) == {"10.244.1.2": 1, "10.244.1.4": 0}


def test_S104_of_a_service_that_is_gone_nothing_is_left(balancer: Programme, kernel: Kernel) -> None:
    kernel.talking = {"10.244.1.2", "10.244.1.3"}
    balancer.sync(dict([served("a", "10.244.1.2", "10.244.1.3")]), full=True)
    balancer.sync(dict([served("a", "10.244.1.2")]), full=False)
    balancer.sync({("x", "a"): None}, full=False)
    assert weights(kernel) == {}
    assert not balancer.sync({}, full=True).ops
