"""Messages from and to bytes: examples by hand from the RFCs' pictures, round trips, and anything at all."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.bgp import nlri
from netlab.bgp.attribute_codec import DISCARD, WITHDRAW
from netlab.bgp.attributes import Aggregator, Attrs, Segment, Unknown, community_text, parse_community
from netlab.bgp.capabilities import Capabilities, Restart
from netlab.bgp.codes import AS_SEQUENCE, AS_SET, Kind, Notification, ProtocolError
from netlab.bgp.message import (
    MARKER,
    Codec,
    Framer,
    Ignored,
    Keepalive,
    Open,
    RouteRefresh,
    Update,
    as_json,
    decode_open,
    encode,
    end_of_rib,
)
from netlab.bgp.nlri import Family

HOP4, HOP6 = IPv4Address("10.0.0.2"), IPv6Address("fd00::2")
ORIGIN, PATH = "40010100", "4002060201000000fd"  # IGP; AS_SEQUENCE 253
NEXT_HOP = "4003040a000002"
GOOD = ORIGIN + PATH + NEXT_HOP
ROUTE = "18c00002"  # 192.0.2.0/24


def update(attributes: str, new: str = ROUTE, old: str = "") -> bytes:
    a, o = bytes.fromhex(attributes), bytes.fromhex(old)
    return len(o).to_bytes(2, "big") + o + len(a).to_bytes(2, "big") + a + bytes.fromhex(new)


def frames(data: bytes, *, extended: bool = False) -> list[tuple[int, bytes]]:
    framer = Framer()
    framer.extended = extended
    framer.feed(data)
    return list(framer.frames())


def decoded(data: bytes, codec: Codec | None = None) -> list[object]:
    return [(codec or Codec()).decode(kind, body) for kind, body in frames(data)]


@pytest.mark.parametrize(
    ("data", "code", "subcode", "extra"),
    [
        (b"\0" + MARKER[1:] + b"\0\x13\4", 1, 1, b""),
        (MARKER + b"\0\x12\4", 1, 2, b"\0\x12"),
        (MARKER + b"\0\x14\4\0", 1, 2, b"\0\x14"),
        (MARKER + b"\x10\x01\2", 1, 2, b"\x10\x01"),
        (MARKER + b"\0\x1c\1", 1, 2, b"\0\x1c"),
        (MARKER + b"\0\x16\2", 1, 2, b"\0\x16"),
        (MARKER + b"\0\x13\x09", 1, 3, b"\x09"),
        (MARKER + b"\0\x13\x00", 1, 3, b"\x00"),
    ],
)
def test_headers_that_cannot_be(data: bytes, code: int, subcode: int, extra: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        frames(data)
    assert caught.value.notification == Notification(code, subcode, extra)


def test_a_stream_is_cut_wherever_its_pieces_end() -> None:
    data = encode(Keepalive()) + end_of_rib(Family.IPV4) + encode(RouteRefresh(Family.IPV6))
    framer = Framer()
    found = []
    for i in range(len(data)):
        framer.feed(data[i : i + 1])
        found += list(framer.frames())
    assert [kind for kind, _ in found] == [Kind.KEEPALIVE, Kind.UPDATE, Kind.ROUTE_REFRESH]


def test_extended_messages_only_when_agreed() -> None:
    big = MARKER + b"\x20\x00\2" + bytes(0x2000 - 19)
    with pytest.raises(ProtocolError):
        frames(big)
    assert len(frames(big, extended=True)) == 1


@pytest.mark.parametrize(
    ("body", "code", "subcode", "extra"),
    [
        ("03fde8005a0a00000100", 2, 1, b"\0\4"),
        ("04fde800010a00000100", 2, 6, b""),
        ("04fde8005a0000000000", 2, 3, b""),
        ("04fde8005a0a00000103010100", 2, 4, b""),
        ("04fde8005a0a00000104020100", 2, 0, b""),
        ("04fde8005a0a00000105", 2, 0, b""),
    ],
)
def test_opens_that_cannot_be(body: str, code: int, subcode: int, extra: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_open(bytes.fromhex(body))
    assert caught.value.notification == Notification(code, subcode, extra)


@pytest.mark.parametrize(
    ("data", "subcode"),
    [
        (b"\0\xff\0\0", 1),
        (b"\0\0\0\xff", 1),
        (update(GOOD, "21c0000200"), 10),
        (update(GOOD, "18c000"), 10),
        (update(GOOD, old="21"), 10),
        (update("000101" + GOOD[8:]), 2),  # a well-known attribute that nobody knows
        (update(GOOD + "800f03000101800f03000101"), 1),  # MP_UNREACH_NLRI twice
        (update("800e020001", ""), 9),
        (update("80110901", ""), 1),  # nothing names a route, and the list is broken
    ],
)
def test_updates_that_end_the_session(data: bytes, subcode: int) -> None:
    if data == update("000101" + GOOD[8:]):
        data = update("0063" + "01" + "00" + GOOD)
    with pytest.raises(ProtocolError) as caught:
        Codec().decode(Kind.UPDATE, data)
    assert (caught.value.notification.code, caught.value.notification.subcode) == (3, subcode)


@pytest.mark.parametrize(
    ("attributes", "attribute"),
    [
        ("40010103" + PATH + NEXT_HOP, 1),
        ("4001020000" + PATH + NEXT_HOP, 1),
        ("c0010100" + PATH + NEXT_HOP, 1),
        (ORIGIN + "4002060301000000fd" + NEXT_HOP, 2),
        (ORIGIN + "4002060202000000fd" + NEXT_HOP, 2),
        (ORIGIN + PATH + "4003050a00000200", 3),
        (ORIGIN + PATH + "400304e0000001", 3),
        (GOOD + "8004030000", 4),
        (GOOD + "c00803000000", 8),
        (GOOD + "c010070000000000000000"[:20], 16),
        (GOOD + "c0200400000000", 32),
        (PATH + NEXT_HOP, 1),
        (ORIGIN + NEXT_HOP, 2),
        (ORIGIN + PATH, 3),
    ],
)
def test_updates_that_withdraw(attributes: str, attribute: int) -> None:
    """RFC 7606 section 7: the session goes on, and what was announced is withdrawn."""
    found = Codec().decode(Kind.UPDATE, update(attributes))
    assert isinstance(found, Update)
    assert found.withdrawn == ((Family.IPV4, [bytes.fromhex(ROUTE)]),)
    assert found.announced == ()
    assert any(f.action == WITHDRAW and f.attribute in (attribute, 0) for f in found.faults), found.faults


@pytest.mark.parametrize(
    ("attributes", "attribute"),
    [
        (GOOD + "40060100", 6),
        (GOOD + "c00703000000", 7),
        (GOOD + "40050400000064", 5),  # LOCAL_PREF from outside
        (GOOD + "80090401010101", 9),
        (GOOD + "800a0401010101", 10),
        (GOOD + ORIGIN, 1),  # twice: the first counts
        (GOOD + "c011020201", 17),
    ],
)
def test_attributes_that_are_left_out(attributes: str, attribute: int) -> None:
    found = Codec().decode(Kind.UPDATE, update(attributes))
    assert isinstance(found, Update)
    ((family, attrs, prefixes),) = found.announced
    assert (family, prefixes) == (Family.IPV4, [bytes.fromhex(ROUTE)])
    assert attrs == Attrs(as_path=(Segment(AS_SEQUENCE, (253,)),), next_hop=HOP4)
    assert [(f.action, f.attribute) for f in found.faults] == [(DISCARD, attribute)]


def test_unknown_attributes_pass_on_with_partial_if_transitive() -> None:
    found = Codec().decode(Kind.UPDATE, update(GOOD + "c063020102" + "8064020304"))
    assert isinstance(found, Update)
    attrs = found.announced[0][1]
    assert attrs.unknown == (Unknown(0xE0, 0x63, b"\1\2"),)
    (sent,) = Codec().announcements(Family.IPV4, attrs, [bytes.fromhex(ROUTE)])
    assert bytes.fromhex("e063020102") in sent
    assert bytes.fromhex("64020304") not in sent


def test_a_peer_with_two_octets_sees_as_trans_and_as4_path() -> None:
    attrs = Attrs(
        as_path=(Segment(AS_SEQUENCE, (100, 4200000000, 200)), Segment(AS_SET, (300, 70000))),
        next_hop=HOP4,
        aggregator=Aggregator(70000, IPv4Address("1.1.1.1")),
    )
    old = Codec(as4=False)
    (sent,) = old.announcements(Family.IPV4, attrs, [bytes.fromhex(ROUTE)])
    ((_, body),) = frames(sent)
    assert bytes.fromhex("02030064" + "5ba0" + "00c8") in body
    found = old.decode(Kind.UPDATE, body)
    assert isinstance(found, Update)
    assert found.announced[0][1] == attrs


def test_as4_path_is_behind_what_an_old_speaker_has_prepended() -> None:
    """RFC 6793 section 4.2.3: the excess of AS_PATH, and then AS4_PATH."""
    two = "4002080203" + "0001" + "5ba0" + "0003"
    four = "c0110a0202" + "00011170" + "00000003"
    found = Codec(as4=False).decode(Kind.UPDATE, update(ORIGIN + two + NEXT_HOP + four))
    assert isinstance(found, Update)
    assert found.announced[0][1].as_path == (Segment(AS_SEQUENCE, (1, 70000, 3)),)


def test_end_of_rib() -> None:
    for family in Family:
        (found,) = decoded(end_of_rib(family))
        assert found == Update(end_of_rib=family)


def test_shutdown_words() -> None:
    words = "ü" * 200
    cease = Notification.ceasing(2, words)
    assert len(cease.data) == 255 and cease.text == "ü" * 127
    assert decoded(encode(cease)) == [cease]
    assert str(Notification.ceasing(2)) == "cease: administrative shutdown"
    assert Notification(6, 2, b"\xff\xff").text


@pytest.mark.parametrize("text", ["65000:1", "no-export", "0:0", "65535:65535"])
def test_communities_as_text(text: str) -> None:
    assert community_text(parse_community(text)) == text


# -- anything

asns = st.integers(1, (1 << 32) - 1)
segments = st.builds(Segment, st.sampled_from([AS_SET, AS_SEQUENCE]), st.lists(asns, min_size=1, max_size=5).map(tuple))
u32 = st.integers(0, (1 << 32) - 1)
v4 = st.integers(1 << 24, (1 << 24) + 99999).map(IPv4Address)


def networks(family: Family) -> st.SearchStrategy[bytes]:
    def make(value: int, length: int) -> bytes:
        return nlri.nlri(ip_network((value >> (family.bits - length) << (family.bits - length), length)
                                    if family is Family.IPV4 or value >> 32 else (value << 96, 0), strict=False))  # fmt: skip

    if family is Family.IPV4:
        return st.builds(make, u32, st.integers(0, 32))
    return st.builds(make, st.integers(1 << 120, (1 << 128) - 1), st.integers(8, 128))


@st.composite
def attributes(draw: st.DrawFn, family: Family) -> Attrs:
    return Attrs(
        origin=draw(st.integers(0, 2)),
        as_path=draw(st.lists(segments, max_size=3).map(tuple)),
        next_hop=draw(v4) if family is Family.IPV4 else HOP6,
        med=draw(st.none() | u32),
        local_pref=draw(u32),
        atomic=draw(st.booleans()),
        aggregator=draw(st.none() | st.builds(Aggregator, asns, v4)),
        communities=draw(st.lists(u32, max_size=70).map(tuple)),
        extended=draw(st.lists(st.binary(min_size=8, max_size=8), max_size=3).map(tuple)),
        large=draw(st.lists(st.tuples(u32, u32, u32), max_size=3).map(tuple)),
        originator=draw(st.none() | v4),
        clusters=draw(st.lists(v4, max_size=3).map(tuple)),
        unknown=draw(
            st.lists(st.builds(Unknown, st.just(0xE0), st.just(99), st.binary(max_size=300)), max_size=1).map(tuple)
        ),
    )


@pytest.mark.parametrize("family", list(Family))
@given(data=st.data())
def test_routes_come_back_as_they_went(family: Family, data: st.DataObject) -> None:
    attrs = data.draw(attributes(family))
    prefixes = data.draw(st.lists(networks(family), min_size=1, max_size=2000 if data.draw(st.booleans()) else 5))
    codec = Codec(ebgp=False)
    got: list[bytes] = []
    for message in decoded(b"".join(codec.announcements(family, attrs, prefixes)), codec):
        assert isinstance(message, Update) and not message.faults
        for where, found, some in message.announced:
            assert (where, found) == (family, attrs)
            got += some
    assert got == prefixes
    gone = [p for m in decoded(b"".join(codec.withdrawals(family, prefixes))) for _, some in m.withdrawn for p in some]  # type: ignore[attr-defined]
    assert gone == prefixes


capabilities = st.builds(
    Capabilities,
    families=st.none() | st.permutations(list(Family)).map(tuple) | st.just((Family.IPV6,)),
    as4=st.none() | asns,
    route_refresh=st.booleans(),
    enhanced_refresh=st.booleans(),
    extended_message=st.booleans(),
    restart=st.none()
    | st.builds(
        Restart,
        st.integers(0, 4095),
        st.lists(st.tuples(st.sampled_from(Family), st.booleans()), unique_by=lambda x: x[0]).map(tuple),
        st.booleans(),
        st.booleans(),
    ),
    others=st.lists(st.tuples(st.integers(100, 120), st.binary(max_size=80)), max_size=5, unique=True).map(tuple),
)


@given(st.builds(Open, st.integers(1, 65535), st.just(0) | st.integers(3, 65535), v4, capabilities))
def test_opens_come_back_as_they_went(opening: Open) -> None:
    assert decoded(encode(opening)) == [opening]


@given(st.binary(max_size=200), st.sampled_from(list(Kind)), st.booleans(), st.booleans())
def test_any_body_is_a_message_or_a_notification(body: bytes, kind: Kind, as4: bool, ebgp: bool) -> None:
    data = MARKER + (19 + len(body)).to_bytes(2, "big") + bytes((kind,)) + body
    try:
        for found in decoded(data, Codec(as4=as4, ebgp=ebgp)):
            assert isinstance(found, Open | Update | Notification | Keepalive | RouteRefresh | Ignored)
            as_json(found)
    except ProtocolError as e:
        assert e.notification.code in (1, 2, 3, 7)
        assert decoded(encode(e.notification)) == [e.notification]


@given(st.data())
def test_a_good_update_with_any_octets_changed(data: st.DataObject) -> None:
    """Nearly right is what fuzzing by chance alone never reaches."""
    family = data.draw(st.sampled_from(Family))
    codec = Codec(ebgp=data.draw(st.booleans()))
    message = bytearray(
        next(
            codec.announcements(
                family, data.draw(attributes(family)), data.draw(st.lists(networks(family), min_size=1, max_size=4))
            )
        )
    )
    for at, value in data.draw(st.lists(st.tuples(st.integers(19, len(message) - 1), st.integers(0, 255)), max_size=4)):
        message[at] = value
    try:
        (found,) = decoded(bytes(message), codec)
        assert isinstance(found, Update)
        as_json(found)
        assert not (found.announced and any(f.action == WITHDRAW for f in found.faults))
    except ProtocolError as e:
        assert e.notification.code == 3


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.128/25", "::/0", "2001:db8::/33", "fd00::1/128"])
def test_prefixes(text: str) -> None:
    network = ip_network(text)
    family = Family.of(network.version)
    key = nlri.nlri(network)
    assert nlri.network(key, family) == network
    assert nlri.parse(key, family.bits) == [key]
    assert (
        ip_address(nlri.number(key, family) if family is Family.IPV4 else network.network_address)
        == network.network_address
    )


def test_spare_bits_are_cleared() -> None:
    assert nlri.parse(bytes.fromhex("0aff" + "ff"), 32) == [bytes.fromhex("0affc0")]
