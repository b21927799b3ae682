"""What is written can be read: by this package, by scapy, and by Wireshark's tools."""

import io
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.lab.capture.packet import LINKTYPE_RAW, Interface, Packet, Place
from netlab.lab.capture.pcapng import Writer
from netlab.lab.capture.reading import read, read_stream

ETH = Place("nginx-1", "eth0")
TUN = Place("node1", "flannel0")
INTERFACES = [
    Interface(ETH, description="nginx-1 eth0, veth to docker0", filter="icmp"),
    Interface(TUN, LINKTYPE_RAW),
]
T0 = 1_700_000_000_123_456_789
IP = bytes.fromhex("4500001c00010000400166dd0a0000010a0000020800f7fe00010000")
ETHER = bytes.fromhex("0242ac1100030242ac1100020800") + IP
PACKETS = [
    Packet(T0, ETH, True, ETHER, len(ETHER)),
    Packet(T0 + 1, TUN, False, IP, len(IP), LINKTYPE_RAW),
    Packet(T0 + 1_000_000_001, ETH, None, ETHER[:21], 1500),
]


def written(packets: list[Packet]) -> bytes:
    stream = io.BytesIO()
    with Writer(stream, INTERFACES) as writer:
        for packet in packets:
            writer.write(packet)
        writer.statistics(ETH, received=7, dropped=2)
        writer.statistics(TUN, received=1, dropped=0)
    return stream.getvalue()


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "lab.pcapng"
    path.write_bytes(written(PACKETS))
    return path


def tool(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (apt-get install tshark)")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_capture_reads_back_as_it_was(capture: Path) -> None:
    assert list(read(capture)) == PACKETS


@given(
    st.lists(
        st.builds(
            lambda time_ns, outgoing, data, more: Packet(time_ns, ETH, outgoing, data, len(data) + more),
            st.integers(0, 2**64 - 1),
            st.sampled_from([True, False, None]),
            st.binary(max_size=200),
            st.integers(0, 1000),
        ),
        max_size=5,
    )
)
def test_any_packets_read_back(packets: list[Packet]) -> None:
    assert list(read_stream(io.BytesIO(written(packets)), "memory")) == packets


def test_every_block_is_aligned_and_closed_by_its_length() -> None:
    data, offset, kinds = written(PACKETS), 0, []
    while offset < len(data):
        kind, length = struct.unpack_from("<II", data, offset)
        assert length % 4 == 0 and struct.unpack_from("<I", data, offset + length - 4) == (length,)
        kinds.append(kind)
        offset += length
    assert kinds == [0x0A0D0D0A, 1, 1, 6, 6, 6, 5, 5]


def test_packets_of_an_unknown_place_are_refused() -> None:
    with pytest.raises(KeyError):
        Writer(io.BytesIO(), INTERFACES).write(Packet(0, Place("x", "y"), True, b"", 0))


def test_scapy_reads_it(capture: Path) -> None:
    from scapy.utils import RawPcapNgReader

    with RawPcapNgReader(str(capture)) as reader:
        found = [(data, meta.ifname, meta.direction, meta.wirelen) for data, meta in reader]
    assert found == [
        (ETHER, b"nginx-1:eth0", 2, len(ETHER)),
        (IP, b"node1:flannel0", 1, len(IP)),
        (ETHER[:21], b"nginx-1:eth0", None, 1500),
    ]


def test_capinfos_finds_interfaces_resolution_and_drops(capture: Path) -> None:
    text = tool("capinfos", "-M", str(capture))
    assert "pcapng" in text and "Number of packets:   3" in text
    for wanted in ("Name = nginx-1:eth0", "Description = nginx-1 eth0", "Time precision = nanoseconds (9)",
                   "Encapsulation = Raw IP", "Filter string = icmp", "netlab"):  # fmt: skip
        assert wanted in text, text


def test_tshark_sees_names_directions_and_nanoseconds(capture: Path) -> None:
    text = tool("tshark", "-n", "-r", str(capture), "-T", "json", "-e", "frame.interface_name",
                "-e", "frame.time_epoch", "-e", "frame.packet_flags_direction", "-e", "ip.dst")  # fmt: skip
    rows = [row["_source"]["layers"] for row in json.loads(text)]
    assert [row["frame.interface_name"] for row in rows] == [["nginx-1:eth0"], ["node1:flannel0"], ["nginx-1:eth0"]]
    assert rows[0]["frame.time_epoch"] == ["1700000000.123456789"]
    assert [int(row["frame.packet_flags_direction"][0], 0) for row in rows[:2]] == [2, 1]
    assert rows[1]["ip.dst"] == ["10.0.0.2"]
