"""`netlab lab capture --read`, and what capture refuses before it listens."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether

from netlab.cli.main import cli
from netlab.lab.capture.packet import Interface, Packet, Place
from netlab.lab.capture.pcapng import Writer

SECOND = 1_700_000_000 * 10**9
A, B = Place("nginx-1", "eth0"), Place("node1", "eth0")


def packets() -> list[Packet]:
    """A SYN that is masqueraded on its way, and a ping that goes no further than A."""
    syn = TCP(sport=4000, dport=80, flags="S", seq=7)
    frames = [
        (A, True, Ether(src="02:00:00:00:00:01") / IP(src="172.17.0.2", dst="10.168.0.100", id=9) / syn),
        (B, True, Ether(src="02:00:00:00:00:02") / IP(src="10.168.0.2", dst="10.168.0.100", id=9, ttl=63) / syn),
        (A, True, Ether() / IP(src="172.17.0.2", dst="172.17.0.3", id=1) / ICMP(id=5, seq=1)),
    ]
    data = [(place, outgoing, bytes(frame)) for place, outgoing, frame in frames]
    return [Packet(SECOND + 1000 * i, p, o, raw, len(raw)) for i, (p, o, raw) in enumerate(data)]


@pytest.fixture
def file(tmp_path: Path) -> str:
    stream = io.BytesIO()
    writer = Writer(stream, [Interface(A), Interface(B)])
    for packet in packets():
        writer.write(packet)
    path = tmp_path / "out.pcapng"
    path.write_bytes(stream.getvalue())
    return str(path)


def capture(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["lab", "capture", *arguments], prog_name="netlab", input=stdin)


def test_a_file_is_read_line_by_line(file: str) -> None:
    result = capture("--read", file)
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr, len(lines)) == (0, "", 3)
    assert lines[0].endswith(
        ".000000 nginx-1:eth0 > 172.17.0.2:4000 → 10.168.0.100:80 TCP SYN seq 7 ack 0 len 0 ttl 64"
    )
    assert capture("--read", "-", stdin=Path(file).read_bytes()).stdout == result.stdout


@pytest.mark.parametrize(
    ("more", "count"), [(["node1:eth0"], 1), (["n*:eth0"], 3), (["nginx-1"], 2), (["-c", "1"], 1), (["-q"], 0)]
)
def test_places_and_count_choose(file: str, more: list[str], count: int) -> None:
    assert len(capture("--read", file, *more).stdout.splitlines()) == count


def test_json_is_one_object_per_packet(file: str) -> None:
    shown = [json.loads(line) for line in capture("--read", file, "--json").stdout.splitlines()]
    assert [(p["place"], p["outgoing"]) for p in shown] == [(str(p.place), True) for p in packets()]
    assert shown[1]["time_ns"] == SECOND + 1000 and shown[1]["length"] == 54
    assert shown[1]["fields"]["ip.src"] == "10.168.0.2"


def test_follow_tells_the_way_of_each_packet_and_what_changed(file: str) -> None:
    first, second = capture("--read", file, "-q", "--follow").stdout.strip("\n").split("\n\n")
    assert "TCP SYN" in first and "echo request" in second
    hops = [line.split(" µs ")[1] for line in first.splitlines()[1:]]
    assert hops[0] == "nginx-1:eth0 >"
    assert hops[1].startswith("node1:eth0 >  ") and "ip.src 172.17.0.2 → 10.168.0.2 (SNAT), ttl 64 → 63" in hops[1]


def test_follow_as_json(file: str) -> None:
    shown = [json.loads(line) for line in capture("--read", file, "-q", "--follow", "--json").stdout.splitlines()]
    assert [[hop["place"] for hop in line["journey"]] for line in shown] == [[str(A), str(B)], [str(A)]]
    assert "ttl 64 → 63" in shown[0]["journey"][1]["changes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the LAB"),
        (["--read", "x", "-f", "icmp"], "-f is for a capture"),
        (["--read", "x", "-w", "y"], "-w is for a capture"),
        (["docker0", "-w", "x", "--wireshark"], "either -w or --wireshark"),
        (["--read", "no-such-file"], "no-such-file: cannot be read: No such file"),
        (["docker0", "-c", "0"], "0 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str) -> None:
    result = capture(*arguments)
    assert result.exit_code == 2 and said in result.stderr and result.stdout == ""


def test_a_place_that_is_not_in_the_file_is_named(file: str) -> None:
    result = capture("--read", file, "nginx-1:eth7")
    assert result.exit_code == 2 and "no device of nginx-1 matches 'eth7'; devices: eth0" in result.stderr


def test_no_capture_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, world")
    result = capture("--read", str(tmp_path / "text"))
    assert result.exit_code == 2 and "neither pcapng nor pcap" in result.stderr
