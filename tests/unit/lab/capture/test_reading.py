"""Files that others wrote, and files that nobody should have written."""

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.lab.capture import decode
from netlab.lab.capture.packet import Interface, Packet, Place
from netlab.lab.capture.pcapng import Writer
from netlab.lab.capture.reading import read, read_stream


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, *options: tuple[int, bytes], snaplen: int = 0) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", 1, 0, snaplen) + b"".join(option(order, *o) for o in options))


def enhanced(order: str, ticks: int, data: bytes, number: int = 0) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data)


def packets(data: bytes) -> list[Packet]:
    return list(read_stream(io.BytesIO(data), "x.pcapng"))


both_orders = pytest.mark.parametrize("order", ["<", ">"])


@both_orders
@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [
        ((), 1_500_000, 1_500_000_000),  # microseconds if nothing is said
        (((9, b"\x09"),), 1_500_000, 1_500_000),
        (((9, b"\x03"),), 1_500, 1_500_000_000),
        (((9, b"\x8a"),), 1536, 1_500_000_000),  # 2^-10 s
    ],
)
def test_time_stamps_have_the_resolution_of_their_interface(
    order: str, resolution: tuple[tuple[int, bytes], ...], ticks: int, time_ns: int
) -> None:
    (found,) = packets(section(order) + interface(order, *resolution) + enhanced(order, ticks, b"abc"))
    assert (found.time_ns, found.data, found.place) == (time_ns, b"abc", Place("", "if0"))


@both_orders
def test_a_time_offset_is_added(order: str) -> None:
    offset = struct.pack(order + "q", -2)
    (found,) = packets(section(order) + interface(order, (14, offset)) + enhanced(order, 3_000_000, b""))
    assert found.time_ns == 1_000_000_000


@both_orders
def test_simple_legacy_and_unknown_blocks(order: str) -> None:
    data = section(order) + interface(order, (2, b"node1:eth0"), snaplen=4)
    data += block(order, 3, struct.pack(order + "I", 9) + b"abcd")
    data += block(order, 0x0BAD, b"whatever")
    data += block(order, 2, struct.pack(order + "HHIIII", 0, 0, 0, 7, 2, 2) + b"xy\0\0" + option(order, 2, b"\2\0\0\0"))
    simple, legacy = packets(data)
    assert (simple.data, simple.wire_length, simple.place) == (b"abcd", 9, Place("node1", "eth0"))
    assert (legacy.data, legacy.time_ns) == (b"xy", 7000)


def test_a_second_section_may_have_another_byte_order_and_other_interfaces() -> None:
    data = b"".join(
        section(o) + interface(o, (2, name)) + enhanced(o, 1, b"") for o, name in (("<", b"a:x"), (">", b"b:y"))
    )
    assert [str(p.place) for p in packets(data)] == ["a:x", "b:y"]


@both_orders
@pytest.mark.parametrize(("magic", "time_ns"), [(0xA1B2C3D4, 1_000_002_000), (0xA1B23C4D, 1_000_000_002)])
def test_classic_pcap(order: str, magic: int, time_ns: int) -> None:
    data = (
        struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 101)
        + struct.pack(order + "IIII", 1, 2, 3, 60)
        + b"abc"
    )
    (found,) = packets(data)
    assert (found.time_ns, found.data, found.wire_length, found.linktype) == (time_ns, b"abc", 60, 101)
    assert found.outgoing is None


GOOD = section("<") + interface("<")


@pytest.mark.parametrize(
    ("data", "offset", "words"),
    [
        (b"", 0, "ends before the magic number"),
        (b"\x7fELF", 0, "neither pcapng nor pcap"),
        (section("<")[:20], 12, "ends inside"),
        (GOOD + enhanced("<", 0, b"abcd")[:-6], len(GOOD) + 8, "ends inside"),
        (GOOD + enhanced("<", 0, b"abcd", number=3), len(GOOD), "interface 3, but 1"),
        (GOOD + struct.pack("<II", 6, 13), len(GOOD), "claims 13 bytes"),
        (GOOD + struct.pack("<II", 6, 0xFFFFFFF0), len(GOOD), "claims 4294967280 bytes"),
        (GOOD + block("<", 6, b"1234"), len(GOOD), "too short"),
        (GOOD + struct.pack("<III", 9, 12, 16), len(GOOD), "lengths differ: 12 before, 16 after"),
        (GOOD + interface("<", (2, b"abcd"))[:20] + b"\xff\xff" + bytes(10), len(GOOD), "lengths differ|claims"),
        (block("<", 0x0A0D0D0A, b"12345678" * 2), 0, "no byte-order magic"),
        (block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 9, 0, -1)), 0, "version 9"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 9, 1) + b"1234", 24, "ends inside a record header"),
    ],
)
def test_broken_files_are_refused_with_their_name_and_offset(data: bytes, offset: int, words: str) -> None:
    with pytest.raises(InputError, match=rf"^x\.pcapng: at byte {offset}: .*({words})"):
        packets(data)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        list(read(tmp_path))


def sound_file() -> bytes:
    stream = io.BytesIO()
    place = Place("a", "eth0")
    with Writer(stream, [Interface(place, description="x")]) as writer:
        writer.write(Packet(10**18, place, True, bytes(range(64)), 64))
        writer.statistics(place, received=1, dropped=0)
    return stream.getvalue()


@settings(max_examples=300)
@given(st.data())
def test_only_input_errors_leave_whatever_the_bytes(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([sound_file(), GOOD, section(">"), b"\xa1\xb2\xc3\xd4", b""])))
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content += data.draw(st.binary(max_size=80))
    try:
        for packet in read_stream(io.BytesIO(content), "fuzz"):
            decode.line(packet)
    except InputError as e:
        assert str(e).startswith("fuzz: at byte ")
