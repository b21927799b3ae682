"""The arithmetic: parsing, TTL, checksums, segmentation, coalescing, ICMP, routes; each against a slow reference."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import reference

from netlab.overlay.udp import icmp
from netlab.overlay.udp.coalesce import Batch, Inbox
from netlab.overlay.udp.counters import Drop, PathCounters
from netlab.overlay.udp.packets import (
    NEEDS_CSUM,
    TCP,
    VNET,
    VNET_LEN,
    Header,
    complete,
    decrease_ttl,
    header_ok,
    parse,
    total,
)
from netlab.overlay.udp.routes import RouteTable
from netlab.overlay.udp.segment import MAX_OUTPUT, Segmenter, headers, level
from netlab.overlay.udp.sums import complements, pitch, swapped

addresses = st.integers(0, 2**32 - 1)
words = st.integers(0, 65535)


@given(st.binary(min_size=1, max_size=3000))
def test_total_is_the_sum(data: bytes) -> None:
    assert (-total(data)) % 65535 == reference.checksum(data) % 65535


@given(st.integers(1, 40), st.integers(1, 30).map(lambda n: n * 8), st.sampled_from([0, 1, 0xFF]), st.randoms())
def test_complements(count: int, size: int, fill: int, random) -> None:
    rows = np.full((count, size), fill, np.uint8)
    if fill == 1:
        rows[...] = np.frombuffer(random.randbytes(count * size), np.uint8).reshape(count, size)
    assert [int(s) % 65535 for s in complements(rows)] == [-swapped(total(row.tobytes())) % 65535 for row in rows]


@given(st.integers(2, 255), words, addresses, addresses)
def test_ttl_patch_is_the_checksum_anew(ttl: int, ident: int, src: int, dst: int) -> None:
    packet = bytearray(reference.ipv4(b"x", ttl=ttl, ident=ident, src=src, dst=dst))
    header = parse(packet, 0, len(packet))
    assert isinstance(header, Header)
    decrease_ttl(packet, 0, header.ttl, header.check)
    assert bytes(packet) == reference.hop(reference.ipv4(b"x", ttl=ttl, ident=ident, src=src, dst=dst))


@given(st.integers(2, 255), words)
def test_ttl_patch_keeps_a_wrong_checksum_wrong(ttl: int, error: int) -> None:
    assume(error % 65535)
    packet = bytearray(reference.ipv4(b"x", ttl=ttl))
    packet[10:12] = ((int.from_bytes(packet[10:12], "big") + error) % 65536).to_bytes(2, "big")
    assume(not header_ok(packet, 0, 20))
    decrease_ttl(packet, 0, ttl, int.from_bytes(packet[10:12], "big"))
    assert not header_ok(packet, 0, 20)


@given(st.binary(max_size=100), st.integers(0, 120))
def test_parse_never_fails_and_never_reads_beyond(data: bytes, length: int) -> None:
    length = min(length, len(data))
    found = parse(bytearray(data), 0, length)
    if isinstance(found, Header):
        assert data[0] >> 4 == 4
        assert 20 <= found.size <= found.length <= length


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", Drop.MALFORMED),
        (b"\x45" + bytes(18), Drop.MALFORMED),
        (b"\x60" + bytes(39), Drop.VERSION),
        (b"\x44" + reference.ipv4(b"")[1:], Drop.MALFORMED),
        (reference.ipv4(b"abc")[:-1], Drop.TRUNCATED),
        (b"\x46" + reference.ipv4(b"")[1:], Drop.MALFORMED),
    ],
)
def test_what_is_no_packet(packet: bytes, reason: Drop) -> None:
    assert parse(bytearray(packet), 0, len(packet)) is reason


@given(st.binary(max_size=99), st.booleans())
def test_complete(payload: bytes, is_tcp: bool) -> None:
    packet = reference.tcp(payload) if is_tcp else reference.udp(payload)
    left = bytearray(b"##" + reference.unfinished(packet))
    assert complete(left, 2, len(left), 20, 16 if is_tcp else 6)
    assert bytes(left[2:]) == packet
    assert not complete(left, 2, len(left), len(packet), 0)


@st.composite
def super_packets(draw: st.DrawFn, *, ip_options: bool = True) -> tuple[bytes, int]:
    gso = draw(st.integers(1, 400) | st.sampled_from([1420, 1424, 1448, 8]))
    payload = draw(st.randoms(use_true_random=False)).randbytes(draw(st.integers(1, min(64000, gso * 70))))
    common = {
        "src": draw(addresses),
        "dst": draw(addresses),
        "ident": draw(words | st.just(65530)),
        "ttl": draw(st.integers(2, 255)),
        "tos": draw(st.integers(0, 255)),
        "fragment": draw(st.sampled_from([0, 0x4000])),
    }
    if ip_options:
        common["ip_options"] = b"\x01" * draw(st.sampled_from([0, 0, 0, 4, 40]))
    if draw(st.booleans()):
        packet = reference.tcp(
            payload,
            seq=draw(st.integers(0, 2**32 - 1)),
            flags=draw(st.integers(0, 255)),
            options=b"\x01" * draw(st.sampled_from([0, 12, 40])),
            **common,
        )
    else:
        packet = reference.udp(payload, **common)
    return packet, gso


def cut(packets: list[bytes], gso: int, at: int) -> list[bytes] | None:
    """By the fast segmenter; all of one length."""
    array = np.frombuffer(bytearray(b"".join(packets)), np.uint8).reshape(len(packets), -1)
    out = np.full(at + (len(packets) + 1) * MAX_OUTPUT, 0xAA, np.uint8)
    header = headers(array[0].data, 0, len(packets[0]))
    found = Segmenter(out).cut(array, header, gso, at)
    if found is None:
        return None
    whole = out[at : at + found.total].tobytes()
    return [whole[n : n + found.size] for n in range(0, len(whole), found.size)]


@settings(deadline=None)
@given(super_packets(), st.integers(0, 9))
def test_segments_are_the_kernels(packet: tuple[bytes, int], at: int) -> None:
    data, gso = packet
    found = cut([reference.unfinished(data)], gso, at)
    if found is None:  # segments of a few bytes, more than there is room for: dropped
        assert len(reference.segment(data, gso)) * 128 > MAX_OUTPUT
        return
    assert found == reference.segment(data, gso)
    assert all(map(reference.right, found))


@settings(deadline=None)
@given(
    st.lists(st.tuples(words, st.integers(0, 2**32 - 1), addresses), min_size=2, max_size=4),
    st.integers(1, 30),
    st.booleans(),
)
def test_super_packets_together_are_as_alone(flows: list[tuple[int, int, int]], count: int, is_tcp: bool) -> None:
    payload = bytes(range(100)) * count
    packets = [
        reference.tcp(payload, ident=i, seq=s, src=a, flags=0x18) if is_tcp else reference.udp(payload, ident=i, src=a)
        for i, s, a in flows
    ]
    assert level(len(packets[0]), 40 if is_tcp else 28, 100)
    together = cut(packets, 100, 0)
    assert together == [one for packet in packets for one in cut([packet], 100, 0) or []]


@given(st.binary(min_size=20, max_size=90))
def test_headers_fit_the_packet(data: bytes) -> None:
    found = headers(memoryview(data), 0, len(data))
    assert 0 <= found <= len(data)


def joined(datagrams: list[bytes], start: int = 0) -> list[bytes]:
    """By the fast coalescer: what would be written to the TUN for a batch, with the virtio-net header."""
    inbox = Inbox()
    whole = b"".join(datagrams)
    inbox.buffer[:] = 0x55
    inbox.buffer[start : start + len(whole)] = np.frombuffer(whole, np.uint8)
    batch = Batch(inbox, start, len(datagrams[0]), len(whole))
    out = []
    for run in batch.runs():
        at, length = batch.place(run.first)
        if run.end - run.first == 1:
            out.append(bytes(VNET_LEN) + bytes(inbox.view[at : at + length]))
            continue
        header = parse(inbox.view, at, length)
        assert isinstance(header, Header)
        head = batch.head(run)
        out.append(bytes(head) + b"".join(batch.payloads(run)))
    return out


def taken_apart(written: bytes) -> list[bytes]:
    """What the kernel makes of what was written to the TUN."""
    flags, _, header, gso, _, _ = VNET.unpack_from(written)
    packet = written[VNET_LEN:]
    if not gso:
        return [packet]
    assert flags == NEEDS_CSUM
    assert header == headers(memoryview(packet), 0, len(packet))
    assert reference.checksum(packet[:20]) == 0
    assert int.from_bytes(packet[2:4], "big") == len(packet)
    assert reference.unfinished(packet) == packet
    return reference.segment(packet, gso)


@settings(deadline=None)
@given(super_packets(ip_options=False), st.sampled_from([0, 0, 3, 8]))
def test_coalescing_is_the_inverse_of_segmentation(packet: tuple[bytes, int], start: int) -> None:
    data, gso = packet
    datagrams = reference.segment(data, gso)
    assume(len(data) + len(datagrams) * 60 < 120_000)
    written = joined(datagrams, start)
    apart = [
        one
        for part in written
        for one in (taken_apart(part) if VNET.unpack_from(part)[3] else [reference.hop(part[VNET_LEN:])])
    ]
    assert apart == [reference.hop(one) for one in datagrams]
    # FIN and the like, and UDP with its checksum zero, go alone; so does a single one
    plain = data[9] == 17 or data[33] & 0xF7 == 0x10
    if plain and 2 <= len(datagrams) <= 40:
        assert len(written) == 1


def flow(count: int, size: int = 100, **fields: int) -> list[bytes]:
    seq, ident = fields.pop("seq", 0), fields.pop("ident", 1)
    return [reference.tcp(bytes([n]) * size, seq=seq + n * size, ident=ident + n, **fields) for n in range(count)]


def lengths(written: list[bytes]) -> list[int]:
    """Packets in each write."""
    return [len(taken_apart(one)) for one in written]


def test_a_wrong_checksum_is_not_made_right() -> None:
    datagrams = flow(9)
    bad = bytearray(datagrams[4])
    bad[60] ^= 1
    datagrams[4] = bytes(bad)
    written = joined(datagrams)
    assert lengths(written) == [4, 1, 4]
    assert written[1] == bytes(VNET_LEN) + bad


@pytest.mark.parametrize("which", [{1}, {0, 1}])
def test_two_wrong_ones_that_cancel_are_not_made_right(which: set[int]) -> None:
    datagrams = [bytearray(one) for one in flow(2)]
    for n in which:
        for at in (10, 36):  # one more in the IPv4 header's, one less in TCP's
            number = int.from_bytes(datagrams[n][at : at + 2], "big") + (1 if at == 10 else -1)
            datagrams[n][at : at + 2] = number.to_bytes(2, "big")
    assert lengths(joined([bytes(one) for one in datagrams])) == [1, 1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seq": 401}, [4, 4]),
        ({"window": 501}, [4, 4]),
        ({"ack": 6}, [4, 4]),
        ({"tos": 1}, [4, 4]),
        ({"ttl": 63}, [4, 4]),
        ({"ident": 99}, [4, 4]),
        ({"ports": (1, 3)}, [4, 4]),
        ({"src": 0x64600104}, [4, 4]),
        ({"flags": 0x11}, [4, 1, 1, 1, 1]),
        ({"flags": 0x90}, [4, 1, 1, 1, 1]),
        ({"flags": 0x12}, [4, 1, 1, 1, 1]),
        ({"fragment": 0x2000}, [4, 1, 1, 1, 1]),
        ({"fragment": 0}, [4, 4]),
    ],
)
def test_what_differs_is_kept_apart(change: dict, expected: list[int]) -> None:
    second = {"seq": 400, "ident": 5} | change
    written = joined(flow(4) + flow(4, **second))
    assert lengths(written) == expected


def test_other_options_are_kept_apart() -> None:
    datagrams = flow(4, 112) + [
        reference.tcp(bytes(100), seq=448 + n * 100, ident=5 + n, options=b"\x01" * 12) for n in range(4)
    ]
    assert len({len(one) for one in datagrams}) == 1
    assert lengths(joined(datagrams)) == [4, 4]


def test_push_ends_a_run() -> None:
    datagrams = [
        reference.tcp(bytes(100), seq=n * 100, ident=n, flags=0x18 if n in (2, 3, 7) else 0x10) for n in range(8)
    ]
    written = joined(datagrams)
    assert lengths(written) == [3, 1, 4]
    assert [one for part in (written[0], written[2]) for one in taken_apart(part)] == [
        reference.hop(one) for one in datagrams[:3] + datagrams[4:]
    ]


def test_unconnected_udp_of_one_id_is_joined_if_it_has_df() -> None:
    same = [reference.udp(bytes([n]) * 50, ident=0) for n in range(5)]
    assert lengths(joined(same)) == [5]
    assert lengths(joined([reference.udp(bytes([n]) * 50, ident=0, fragment=0) for n in range(5)])) == [1] * 5


def test_udp_without_checksum_goes_alone() -> None:
    bare = [bytearray(reference.udp(bytes([n]) * 50, ident=n)) for n in range(3)]
    for packet in bare:
        packet[26:28] = b"\0\0"
    assert lengths(joined([bytes(packet) for packet in bare])) == [1, 1, 1]


def test_icmp_goes_alone() -> None:
    assert lengths(joined([reference.ipv4(bytes(64), protocol=1, ident=n) for n in range(5)])) == [1] * 5


@settings(deadline=None)
@given(st.lists(st.binary(min_size=30, max_size=30), min_size=1, max_size=20), st.booleans(), st.integers(0, 30))
@example([b"\x45" + bytes(29)] * 3, False, 5)
def test_any_batch_of_anything_comes_out_whole(rows: list[bytes], likely: bool, cut_off: int) -> None:
    """Fuzz: whatever comes, each datagram is in exactly one run, in its order, and nothing fails."""
    datagrams = [(b"\x45" + row[1:2] + b"\0\x1e" + row[4:9] + b"\x11" + row[10:]) if likely else row for row in rows]
    datagrams[-1] = datagrams[-1][: 30 - cut_off] or b"x"
    inbox = Inbox()
    whole = b"".join(datagrams)
    inbox.buffer[: len(whole)] = np.frombuffer(whole, np.uint8)
    runs = Batch(inbox, 0, 30, len(whole)).runs() if len(whole) > 30 else []
    assert [n for run in runs for n in range(run.first, run.end)] == list(range(len(datagrams) if runs else 0))


def test_sequence_and_id_wrap() -> None:
    packet = reference.tcp(bytes(3000), seq=2**32 - 150, ident=65534)
    datagrams = reference.segment(packet, 100)
    assert cut([packet], 100, 0) == datagrams
    assert lengths(joined(datagrams)) == [30]


def ident_for(check: int, *, size: int = 100) -> int:
    """The id with which the first packet of `flow` has this IPv4 checksum."""
    return next(n for n in range(1, 65536) if flow(1, size, ident=n)[0][10:12] == check.to_bytes(2, "big"))


@pytest.mark.parametrize("check", [0, 3, 0xFFFD])
def test_an_ipv4_checksum_wraps(check: int) -> None:
    first = flow(1, 100, ident=ident_for(check))[0]
    packet = reference.tcp(bytes(950), seq=0, ident=int.from_bytes(first[4:6], "big"))
    datagrams = reference.segment(packet, 100)
    assert datagrams[0][10:12] == check.to_bytes(2, "big")
    assert cut([packet], 100, 0) == datagrams
    assert lengths(joined(datagrams)) == [10]


def test_a_batch_of_some_runs() -> None:
    """As it comes from several super packets: the time stamp or the window changes between them."""
    datagrams = [
        reference.tcp(bytes([n]) * 100, seq=n * 100, ident=n, window=500 + n // 4, flags=0x18 if n == 6 else 0x10)
        for n in range(11)
    ]
    written = joined(datagrams)
    assert lengths(written) == [4, 3, 1, 3]
    assert [one for part in written for one in (taken_apart(part) if VNET.unpack_from(part)[3] else [])] == [
        reference.hop(one) for n, one in enumerate(datagrams) if n != 7
    ]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), words, words, st.sampled_from([0x10, 0x18])), min_size=1, max_size=4),
    st.sampled_from([0, 30, 99]),
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 139), st.integers(1, 255)), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_what_is_damaged_comes_out_as_it_came(
    flows: list[tuple[int, int, int, int]], short: int, damage: list[tuple[int, int, int]], is_tcp: bool, df: bool
) -> None:
    """Every run holds right packets alone, and every packet comes out as it came, however the batch is made up.

    With DF ids that stay may come out counted on.
    """
    fragment = 0x4000 if df else 0
    datagrams = []
    for count, ident, seq, flags in flows:
        for n in range(count):
            fields = {"ident": (ident + n) & 0xFFFF, "fragment": fragment}
            data = bytes([n]) * (100 if is_tcp else 112)
            tcp = {"seq": seq + n * 100, "flags": flags if n == count - 1 else 0x10}
            datagrams.append(reference.tcp(data, **tcp, **fields) if is_tcp else reference.udp(data, **fields))
    if short:
        last = datagrams[-1]
        data = bytes(100 - short)
        fields = {"ident": int.from_bytes(last[4:6], "big"), "fragment": fragment}
        seq = int.from_bytes(last[24:28], "big")
        datagrams[-1] = reference.tcp(data, seq=seq, **fields) if is_tcp else reference.udp(data, **fields)
    for which, at, change in damage:
        bad = bytearray(datagrams[which % len(datagrams)])
        bad[at % len(bad)] ^= change
        datagrams[which % len(datagrams)] = bytes(bad)
    written = iter(joined(datagrams))
    left = list(datagrams)
    for one in written:
        if not VNET.unpack_from(one)[3]:
            assert one[VNET_LEN:] == left.pop(0)
            continue
        for packet in taken_apart(one):
            original = left.pop(0)
            assert reference.right(original)
            expected = reference.hop(original)
            if original[6] & 0x40:
                packet, expected = (one[:4] + one[6:10] + one[12:] for one in (packet, expected))
            assert packet == expected
    assert left == []


NETWORKS = {
    IPv4Network("10.0.0.0/8"): (IPv4Address("1.1.1.1"), 8285),
    IPv4Network("10.1.0.0/16"): (IPv4Address("2.2.2.2"), 8285),
    IPv4Network("10.1.2.0/24"): (IPv4Address("3.3.3.3"), 8285),
    IPv4Network("10.1.3.0/24"): (IPv4Address("1.1.1.1"), 8285),
    IPv4Network("255.255.255.0/24"): (IPv4Address("4.4.4.4"), 8285),
}


@given(
    st.dictionaries(
        st.builds(lambda a, n: IPv4Network((a, n), strict=False), addresses, st.integers(0, 32)), addresses, max_size=12
    ),
    st.lists(addresses, max_size=20),
)
@example({network: int(to[0]) for network, to in NETWORKS.items()}, [0x0A010203, 0x0A010303, 0x0A020000, 0xFFFFFFFF, 0])
def test_routes_are_by_the_longest_prefix(routes: dict[IPv4Network, int], asked: list[int]) -> None:
    own = IPv4Network("100.96.1.0/24")
    table = RouteTable({n: (IPv4Address(to), 8285) for n, to in routes.items()}, PathCounters(), own=own)
    asked += [int(n.network_address) for n in routes] + [int(n.broadcast_address) for n in routes]
    for address in asked:
        around = [n for n in routes if IPv4Address(address) in n and n != own]
        expected = str(IPv4Address(routes[max(around, key=lambda n: n.prefixlen)])) if around else None
        peer = table.lookup(address)
        assert (peer.address if peer else None) == expected
    many = table.lookup_many(np.array(asked, np.int64))
    assert [table.peers[n].address if n >= 0 else None for n in many] == [
        peer.address if (peer := table.lookup(address)) else None for address in asked
    ]


def answer(packet: bytes, code: int, mtu: int = 0) -> bytes | None:
    header = parse(bytearray(packet), 0, len(packet))
    assert isinstance(header, Header)
    return icmp.error(bytearray(packet), 0, header, code=code, source=0x64600100, mtu=mtu)


def test_icmp_unreachable_is_right() -> None:
    packet = reference.udp(b"hello, world", ttl=9)
    said = answer(packet, icmp.NET)
    assert said
    assert reference.checksum(said[:20]) == 0 == reference.checksum(said[20:])
    assert said[9] == 1 and said[12:20] == b"\x64\x60\x01\x00" + packet[12:16]
    assert said[20:22] == b"\x03\x00" and said[28:] == packet[:28]
    said = answer(packet, icmp.TOO_BIG, 1400)
    assert said and said[20:22] == b"\x03\x04" and int.from_bytes(said[26:28], "big") == 1400


@pytest.mark.parametrize(
    ("packet", "net", "too_big"),
    [
        (reference.ipv4(b"\x08" + bytes(9), protocol=1), False, True),
        (reference.ipv4(b"\x03" + bytes(9), protocol=1), False, False),
        (reference.ipv4(b"", protocol=1), False, False),
        (reference.udp(b"", fragment=0x2000), True, True),
        (reference.udp(b"", fragment=0x2001), False, False),
        (reference.udp(b"", dst=0xE0000001), False, False),
        (reference.udp(b"", src=0), False, False),
        (reference.udp(b"", src=0x7F000001), False, False),
        (reference.udp(b"", src=0xFFFFFFFF), False, False),
    ],
)
def test_what_icmp_may_answer(packet: bytes, net: bool, too_big: bool) -> None:
    assert (answer(packet, icmp.NET) is not None) == net
    assert (answer(packet, icmp.TOO_BIG, 1000) is not None) == too_big


def test_icmp_is_limited() -> None:
    now = [0.0]
    limit = icmp.RateLimit(lambda: now[0])
    assert sum(limit.take() for _ in range(100)) == icmp.BURST
    now[0] = 0.01
    assert sum(limit.take() for _ in range(100)) == icmp.RATE // 100


def test_pitch() -> None:
    assert [pitch(n) for n in (1, 8, 9, 1472)] == [8, 8, 16, 1472]
    assert TCP == 6
