"""VLANs of bridges: what is asked for, and the one that the kernel gives by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netlab.base.addresses import derived_mac
from netlab.kernel.apply import Kernel, strangers
from netlab.kernel.fake import FakeBackend
from netlab.kernel.ledger import MemoryLedger
from netlab.model import Bridge, BridgeVlan, Fdb, HostState, Item, Link, Tun
from netlab.model.diff import Change, Create, Delete, Op, diff, plan

BR0 = Link(name="br0", kind=Bridge(vlan_filtering=True))
BR1 = replace(BR0, name="br1")
PORT = Link(name="t", kind=Tun("tap"), master="br0")
#: as the kernel makes it, and as another PVID leaves it
OWN = BridgeVlan(dev="t", vid=1, pvid=True, untagged=True)
ROBBED = replace(OWN, pvid=False)
ACCESS = BridgeVlan(dev="t", vid=10, pvid=True, untagged=True)
TAGGED = BridgeVlan(dev="t", vid=20)


def steps(actual: list[Item], wanted: list[Item], was: list[Item] | None = None) -> list[Op]:
    """Operations on VLANs alone."""
    ops = plan(
        HostState.of([BR0, PORT, *actual]),
        HostState.of([BR0, PORT, *wanted]),
        was=HostState.of([BR0, PORT, *(actual if was is None else was)]),
    )
    return [op for op in ops if isinstance(op.item, BridgeVlan)]


@pytest.mark.parametrize("vid", [0, 4095])
def test_numbers(vid: int) -> None:
    with pytest.raises(ValueError, match=f"vlan {vid} dev t: a VLAN has a number from 1 to 4094"):
        BridgeVlan(dev="t", vid=vid)


@pytest.mark.parametrize(
    ("actual", "wanted", "was", "ops"),
    [
        # the kernel's own is left alone, whatever comes and goes beside it
        ([OWN], [], [], []),
        ([OWN], [TAGGED], [], [Create(TAGGED)]),
        ([OWN, TAGGED], [], [TAGGED], [Delete(TAGGED)]),
        ([OWN], [ACCESS], [], [Create(ACCESS)]),
        # the mark goes back to it when the PVID that took it goes, or is none any more
        ([ROBBED, ACCESS], [], [ACCESS], [Delete(ACCESS), Change(ROBBED, OWN)]),
        (
            [ROBBED, ACCESS],
            [replace(ACCESS, pvid=False)],
            [ACCESS],
            [Change(ACCESS, replace(ACCESS, pvid=False)), Change(ROBBED, OWN)],
        ),
        ([ROBBED, ACCESS], [replace(TAGGED, pvid=True)], [ACCESS], [Delete(ACCESS), Create(replace(TAGGED, pvid=True))]),
        # asked for, it is somebody's; asked for no more, it is what it was
        ([OWN], [OWN], [], []),
        ([OWN], [ROBBED], [], [Change(OWN, ROBBED)]),
        ([ROBBED], [], [ROBBED], [Change(ROBBED, OWN)]),
        ([], [], [OWN], [Create(OWN)]),
        # another owner's PVID keeps the mark
        ([ROBBED, ACCESS, TAGGED], [], [TAGGED], [Delete(TAGGED)]),
    ],
)  # fmt: skip
def test_the_kernels_own(actual: list[Item], wanted: list[Item], was: list[Item], ops: list[Op]) -> None:
    assert steps(actual, wanted, was) == ops


def test_a_bridge_without_a_default_has_only_what_was_asked_for() -> None:
    bare = replace(BR0, kind=Bridge(vlan_filtering=True, default_pvid=0))
    wanted = HostState.of([bare, PORT, ACCESS])
    ops = plan(HostState.of([BR0, PORT, ROBBED, ACCESS]), wanted, was=HostState.of([BR0, PORT, ACCESS]))
    assert ops == [Delete(ROBBED), Delete(ACCESS), Change(BR0, bare), Create(ACCESS)]
    assert strangers(HostState.of([bare, PORT, ROBBED, ACCESS]), wanted) == [ROBBED]


def test_strangers() -> None:
    state = HostState.of([BR0, PORT])
    assert strangers(state | HostState.of([OWN]), state) == []
    assert strangers(state | HostState.of([ROBBED, ACCESS]), state) == [ACCESS]
    # somebody took the mark away, or the tag
    assert strangers(state | HostState.of([ROBBED]), state) == [ROBBED]
    assert strangers(state | HostState.of([replace(OWN, untagged=False)]), state) == [replace(OWN, untagged=False)]


def test_a_port_takes_nothing_along_to_another_bridge() -> None:
    fdb = Fdb(dev="t", mac="02:00:00:00:00:07")
    here, there = [BR0, BR1, PORT, ACCESS, fdb], [BR0, BR1, replace(PORT, master="br1"), ACCESS, fdb]
    assert diff(HostState.of(here), HostState.of(there)) == [Change(PORT, there[2]), Create(ACCESS), Create(fdb)]


def test_a_bridge_takes_along_what_it_knew_of_its_ports() -> None:
    fdb = Fdb(dev="t", mac="02:00:00:00:00:07")
    moved = replace(PORT, master="br1")
    ops = diff(HostState.of([BR0, BR1, PORT, ACCESS, fdb]), HostState.of([BR1, moved, ACCESS, fdb]))
    assert ops[0] == Delete(BR0) and ops[-2:] == [Create(ACCESS), Create(fdb)]


def test_the_fake_has_the_kernels_habits() -> None:
    """What `bridge vlan show` said on Linux 6.1 after each of these steps."""
    backend = FakeBackend()
    kernel = Kernel(backend, MemoryLedger())

    def shown(*items: Item) -> list[str]:
        kernel.apply("n", "x", HostState.of(items))
        return [
            f"{v.dev} {v.vid}{' PVID' * v.pvid}{' untagged' * v.untagged}"
            for v in backend.read({"n": HostState()})["n"].all(BridgeVlan)
        ]

    assert shown(BR0, PORT) == ["br0 1 PVID untagged", "t 1 PVID untagged"]
    assert shown(BR0, PORT, ACCESS) == ["br0 1 PVID untagged", "t 1 untagged", "t 10 PVID untagged"]
    assert shown(BR0, PORT) == ["br0 1 PVID untagged", "t 1 PVID untagged"]
    other = replace(BR0, kind=Bridge(vlan_filtering=True, default_pvid=5))
    assert shown(other, PORT) == ["br0 5 PVID untagged", "t 5 PVID untagged"]
    assert shown(other, replace(PORT, master=None, port=None)) == ["br0 5 PVID untagged"]
    assert shown(replace(BR0, kind=Bridge(default_pvid=0)), PORT) == []


def test_a_bridge_without_ports_gets_an_address_before_a_vlan_of_its_own() -> None:
    """The kernel has taken it away with the last port, and refuses the VLAN without (EINVAL)."""
    alone = replace(BR0, mac="00:00:00:00:00:00")
    own = BridgeVlan(dev="br0", vid=10, on_bridge=True)

    def ops(actual: list[Item], wanted: list[Item]) -> list[Op]:
        return plan(HostState.of(actual), HostState.of(wanted), was=HostState.of(actual))

    with_one = replace(alone, mac=derived_mac("bridge", "br0"))
    assert ops([alone], [BR0, own]) == [Change(alone, with_one), Create(own)]
    there = replace(BR0, mac="02:00:00:00:00:01")
    first, *_, last = ops([there, PORT], [BR0, replace(PORT, master=None, port=None), own])
    assert (first, last) == (Change(there, with_one), Create(own))
    # it needs none that has its own, or a port's, or is made anew
    for actual, wanted in (([there], [BR0, own]), ([there, PORT], [BR0, PORT, own]), ([], [BR0, own])):
        assert not any(isinstance(op, Change) for op in ops(actual, wanted))
