"""Who gets which address: blocks, borrowing, giving back; and that nothing is handed out twice or lost."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.calico import world
from unit.calico.world import item, objects, plain, pool

from netlab.base.errors import InputError
from netlab.calico.block import Attribute, Block, name_of
from netlab.calico.fields import Given
from netlab.calico.ipam import Ipam, NoAddress, changes
from netlab.calico.objects import Objects, read


def owner(pod: str, node: str) -> Attribute:
    return Attribute(f"handle-{pod}", (("namespace", "default"), ("node", node), ("pod", pod)))


def take(ipam: Ipam, node: str, pod: str, version: int = 4, **labels: str) -> tuple[Ipam, str]:
    ipam, address = ipam.assign(plain(node, **labels), owner(pod, node), version)
    return ipam, str(address)


def many(ipam: Ipam, node: str, count: int) -> tuple[Ipam, list[str]]:
    found = []
    for i in range(count):
        ipam, address = take(ipam, node, f"{node}-{i}")
        found.append(address)
    return ipam, found


def test_each_node_has_a_block_and_pods_are_numbered_in_it() -> None:
    ipam = Ipam.of(objects(pool("10.244.0.0/16"), pool("fd00:10:244::/48", "six")))
    ipam, a = take(ipam, "node1", "a")
    ipam, b = take(ipam, "node2", "b")
    ipam, c = take(ipam, "node1", "c")
    ipam, d = take(ipam, "node1", "c", 6)
    assert (a, b, c, d) == ("10.244.0.0", "10.244.0.64", "10.244.0.1", "fd00:10:244::")
    assert [(str(x.cidr), x.node) for x in ipam.blocks] == [
        ("10.244.0.0/26", "node1"),
        ("10.244.0.64/26", "node2"),
        ("fd00:10:244::/122", "node1"),
    ]


def test_a_full_block_brings_another() -> None:
    ipam, found = many(Ipam.of(objects(pool())), "node1", 65)
    assert found[64] == "10.244.0.64"
    assert len(ipam.affine("node1")) == 2


def test_borrowing_when_the_pool_is_used_up_and_not_if_it_is_strict() -> None:
    ipam = Ipam.of(objects(pool("10.244.0.0/25")))
    ipam, _ = take(ipam, "node2", "b")
    ipam, _ = many(ipam, "node1", 64)
    ipam, borrowed = take(ipam, "node1", "more")
    assert borrowed == "10.244.0.1"
    assert ipam.borrowed("node1") == [IPv4Address("10.244.0.1")]
    assert ipam.borrowed("node2") == []
    strict = Ipam.of(objects(pool("10.244.0.0/25"), item("IPAMConfig", "default", strictAffinity=True)))
    strict, _ = take(strict, "node2", "b")
    strict, _ = many(strict, "node1", 64)
    with pytest.raises(NoAddress, match="its blocks are full"):
        take(strict, "node1", "more")


def test_max_blocks_and_no_automatic_blocks() -> None:
    few = Ipam.of(objects(pool(), item("IPAMConfig", "default", maxBlocksPerHost=1, strictAffinity=True)))
    few, _ = many(few, "node1", 64)
    with pytest.raises(NoAddress):
        take(few, "node1", "x")
    none = Ipam.of(objects(pool(), item("IPAMConfig", "default", autoAllocateBlocks=False)))
    with pytest.raises(NoAddress):
        take(none, "node1", "x")


def test_pools_serve_nodes_by_their_selector() -> None:
    ipam = Ipam.of(objects(pool(nodeSelector="rack == 'a'"), pool("10.9.0.0/24", "other", disabled=True)))
    assert take(ipam, "node1", "x", rack="a")[1] == "10.244.0.0"
    with pytest.raises(NoAddress, match="no IPPool for IPv4 serves node node2"):
        take(ipam, "node2", "x", rack="b")


def test_reserved_addresses_are_left_out() -> None:
    ipam = Ipam.of(objects(pool(), item("IPReservation", "r", reservedCIDRs=["10.244.0.0/31", "10.244.0.64/26"])))
    ipam, found = many(ipam, "node1", 63)
    assert (found[0], found[62]) == ("10.244.0.2", "10.244.0.128")


def test_what_was_given_back_comes_last() -> None:
    ipam, found = many(Ipam.of(objects(pool())), "node1", 2)
    ipam = ipam.release(ip_address(found[0]))
    assert take(ipam, "node1", "x")[1] == "10.244.0.2"
    with pytest.raises(NoAddress, match="is not in use"):
        ipam.release(ip_address(found[0]))
    with pytest.raises(NoAddress, match="no block"):
        ipam.release(ip_address("10.9.9.9"))


def test_a_handle_gives_back_all_that_it_has_and_again() -> None:
    ipam = Ipam.of(objects(pool(), pool("fd00::/64", "six")))
    ipam, _ = take(ipam, "node1", "a")
    ipam, _ = take(ipam, "node1", "a", 6)
    ipam = ipam.release_handle("handle-a")
    assert ipam.used() == {}
    assert ipam.release_handle("handle-a") == ipam


def test_this_very_address() -> None:
    ipam = Ipam.of(objects(pool()))
    ipam = ipam.assign_given(plain("node1"), owner("a", "node1"), ip_address("10.244.0.77"))
    assert [str(b.cidr) for b in ipam.affine("node1")] == ["10.244.0.64/26"]
    with pytest.raises(NoAddress, match="in use"):
        ipam.assign_given(plain("node2"), owner("b", "node2"), ip_address("10.244.0.77"))
    with pytest.raises(NoAddress, match="in no IPPool"):
        ipam.assign_given(plain("node1"), owner("b", "node1"), ip_address("10.9.0.1"))


def test_a_node_that_goes_leaves_its_pods_their_addresses() -> None:
    ipam, _ = take(Ipam.of(objects(pool())), "node1", "a")
    ipam = ipam.release_affinity("node1")
    assert [(str(b.cidr), b.node) for b in ipam.blocks] == [("10.244.0.0/26", None)]
    taken, address = take(ipam, "node2", "b")
    assert (address, taken.blocks[0].node) == ("10.244.0.1", "node2")
    assert ipam.release(ip_address("10.244.0.0")).blocks == ()


def test_changes_are_objects_in_an_order_that_is_safe() -> None:
    old = Ipam.of(objects(pool()))
    new, _ = take(old, "node1", "a")
    made = changes(old, new)
    assert [(c.verb, c.item["kind"], c.item["metadata"]["name"]) for c in made] == [
        ("create", "BlockAffinity", "node1-10-244-0-0-26"),
        ("create", "IPAMBlock", "10-244-0-0-26"),
        ("create", "IPAMHandle", "handle-a"),
    ]
    spec = made[1].item["spec"]
    assert (spec["affinity"], spec["allocations"][:2], spec["unallocated"][0]) == ("host:node1", [0, None], 1)
    assert made[2].item["spec"]["block"] == {"10.244.0.0/26": 1}
    after = new.release_handle("handle-a")
    assert [(c.verb, c.item["kind"]) for c in changes(new, after)] == [
        ("update", "IPAMBlock"),
        ("delete", "IPAMHandle"),
    ]
    assert changes(new, new) == []


def test_a_block_that_contradicts_itself_is_refused() -> None:
    block = Block.fresh(ip_network("10.244.0.0/26"), "node1").as_object()
    block["spec"]["unallocated"] = [1]
    with pytest.raises(InputError, match="IPAMBlock 10-244-0-0-26 makes no sense"):
        Ipam.of(Objects(blocks=(Given(block),)))
    assert name_of(ip_network("fd00::/122")) == "fd00---122"


NODES = ["node1", "node2", "node3"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), st.sampled_from(NODES)),
        st.tuples(st.just("release"), st.integers(0, 40)),
        st.tuples(st.just("handle"), st.integers(0, 40)),
        st.tuples(st.just("leave"), st.sampled_from(NODES)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS, strict=st.booleans())
def test_never_the_same_address_twice_and_nothing_is_lost(steps: list[tuple[str, object]], strict: bool) -> None:
    size = 16
    said = objects(pool("10.244.0.0/28", blockSize=30), item("IPAMConfig", "default", strictAffinity=strict))
    ipam, live, n = Ipam.of(said), {}, 0
    for what, arg in steps:
        before = ipam
        if what == "assign":
            n += 1
            try:
                ipam, address = ipam.assign(plain(str(arg)), owner(str(n), str(arg)), 4)
            except NoAddress:
                assert strict or len(live) == size
                continue
            assert address not in live
            live[address] = f"handle-{n}"
        elif what == "release" and live:
            address = sorted(live)[int(str(arg)) % len(live)]
            ipam = ipam.release(address)
            del live[address]
        elif what == "handle" and live:
            handle = live[sorted(live)[int(str(arg)) % len(live)]]
            ipam = ipam.release_handle(handle)
            live = {a: h for a, h in live.items() if h != handle}
        elif what == "leave":
            ipam = ipam.release_affinity(str(arg))
        assert {a: o.handle for a, o in ipam.used().items()} == live
        # what was decided is what is written, and reads back as the same
        written = [o for o in ipam.objects().values() if o["kind"] == "IPAMBlock"]
        assert Ipam.of(
            read([*world.given(world.pool("10.244.0.0/28", blockSize=30)), *map(Given, written)])
        ).blocks == (ipam.blocks)
        grown = {b.cidr: b.sequence for b in ipam.blocks}
        changed = {
            c.item["spec"]["cidr"]
            for c in changes(before, ipam)
            if c.verb == "update" and c.item["kind"] == "IPAMBlock"
        }
        assert all(grown[b.cidr] > b.sequence for b in before.blocks if str(b.cidr) in changed)
