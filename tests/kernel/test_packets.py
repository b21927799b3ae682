"""Taps on devices of real namespaces. Needs root; makes two namespaces with a veth between them."""

import contextlib
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import patience

from netlab.base.errors import InputError, KernelError, MachineError
from netlab.kernel import netns, packets
from netlab.kernel.packets import Frame, Tap, Taps
from netlab.lab.capture import packet
from netlab.lab.capture.packet import Listener

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces and packet sockets")

OWN = Path("/proc/thread-self/ns/net")
PATIENCE = patience(5.0)  # seconds until a wait is given up


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two namespaces, eth0 to eth0, 10.9.9.1/24 and 10.9.9.2/24, with fixed neighbours and no IPv6 chatter."""
    tag = uuid.uuid4().hex[:8]
    one, two = f"capt{tag}.a", f"capt{tag}.b"
    with contextlib.ExitStack() as undo:
        for name in (one, two):
            ip("netns", "add", name)
            undo.callback(ip, "netns", "delete", name)
            with netns.entered(name):
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", two)
        for number, name in enumerate((one, two), start=1):
            ip("-n", name, "link", "set", "eth0", "address", f"02:00:00:00:00:0{number}", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"10.9.9.{number}/24", "dev", "eth0")
            other = 3 - number
            ip("-n", name, "neigh", "add", f"10.9.9.{other}", "lladdr", f"02:00:00:00:00:0{other}", "dev", "eth0")
        yield one, two


def ping(name: str, target: str) -> None:
    """One echo request; ping asks the namespace's own kernel, so the command has to be there."""
    if shutil.which("ping") is None:
        pytest.skip("ping is not installed (apt-get install iputils-ping)")
    subprocess.run(["ip", "netns", "exec", name, "ping", "-c1", "-W2", target], check=True, capture_output=True)


def send(name: str, target: str, *, count: int = 1, port: int = 9) -> None:
    with netns.entered(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(count):
            sock.sendto(b"n%07d" % number, (target, port))


def collect(taps: Taps, enough: Callable[[list[Frame]], bool]) -> list[Frame]:
    """Poll until `enough`, or fail."""
    found: list[Frame] = []
    end = time.monotonic() + PATIENCE
    while not enough(found):
        assert time.monotonic() < end, f"waited {PATIENCE} s, saw only {found}"
        found += taps.poll(0.1)
    return found


def test_devices_of_a_namespace(pair: tuple[str, str]) -> None:
    found = {name: kind for name, _, kind in packets.devices(pair[0])}
    assert found["lo"] == packets.ARPHRD_LOOPBACK and found["eth0"] == packets.ARPHRD_ETHER
    with pytest.raises(KernelError, match="no network namespace"):
        packets.devices("capt-no-such")


def test_a_ping_is_seen_at_both_ends_in_order_and_with_directions(pair: tuple[str, str]) -> None:
    home = OWN.stat().st_ino
    with Taps.open([(pair[0], "eth0"), (pair[1], "eth0")], "icmp") as taps:
        before = time.time_ns()
        ping(pair[0], "10.9.9.2")
        found = sorted(collect(taps, lambda f: len(f) >= 4), key=lambda f: f.time_ns)
        assert [(f.tap, f.outgoing) for f in found] == [(0, True), (1, False), (1, True), (0, False)]
        assert all(before <= f.time_ns <= time.time_ns() for f in found)
        assert found[0].data == found[1].data and found[0].wire_length == len(found[0].data) == 98
        assert found[0].data[:12] == bytes.fromhex("020000000002020000000001")
        assert taps.statistics() == [(2, 0), (2, 0)]
        assert taps.statistics() == [(2, 0), (2, 0)]  # asking does not forget
    assert OWN.stat().st_ino == home


def listener(taps: Taps) -> Listener:
    """Taps are what a capture session wants (checked by mypy)."""
    return taps


def test_a_filter_lets_pass_only_what_it_says(pair: tuple[str, str]) -> None:
    with Taps.open([(pair[1], "eth0")], "udp dst port 77") as taps:
        send(pair[0], "10.9.9.2", port=76)
        ping(pair[0], "10.9.9.2")
        send(pair[0], "10.9.9.2", port=77)
        (frame,) = collect(taps, bool)
        assert frame.data.endswith(b"n0000000")
        assert taps.statistics() == [(1, 0)]


@pytest.mark.parametrize("expression", ["", "vlan 10"])
def test_a_vlan_tag_is_put_back(pair: tuple[str, str], expression: str) -> None:
    """The kernel takes the tag out of a frame that comes in, before any tap: both ends have to look the same."""
    tagged = bytes.fromhex("0200000000020200000000018100600a88b5") + bytes(46)
    other = bytes.fromhex("0200000000020200000000018100600b88b5") + bytes(46)
    with Taps.open([(name, "eth0") for name in pair], expression) as taps:
        with netns.entered(pair[0]), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind(("eth0", 0))
            sender.send(other)
            sender.send(tagged)
        count = 1 if expression else 2
        found = collect(taps, lambda f: len(f) >= 2 * count)
        wanted = [tagged] if expression else [other, tagged]
        for tap in (0, 1):
            assert [f.data for f in found if f.tap == tap] == wanted
        assert {f.wire_length for f in found} == {len(tagged)}


def test_loopback_shows_every_packet_once(pair: tuple[str, str]) -> None:
    with Taps.open([(pair[0], "lo")], "udp") as taps:
        send(pair[0], "127.0.0.1")
        send(pair[0], "127.0.0.1", port=10)
        found = collect(taps, lambda f: len(f) >= 2)
        assert [f.outgoing for f in found] == [False, False] and taps.statistics() == [(2, 0)]


def test_a_device_without_ethernet_is_recorded_as_bare_ip(pair: tuple[str, str]) -> None:
    try:
        ip("-n", pair[0], "tuntap", "add", "tun0", "mode", "tun")
    except subprocess.CalledProcessError as e:
        pytest.skip(f"no TUN device here: {e.stderr.decode().strip()}")
    with netns.entered(pair[0]):
        holder = os.open("/dev/net/tun", os.O_RDWR)
    try:
        attach_tun(holder, "tun0")
        ip("-n", pair[0], "link", "set", "tun0", "up")
        ip("-n", pair[0], "address", "add", "10.8.0.1/24", "dev", "tun0")
        assert ("tun0", packets.ARPHRD_NONE) in [(name, kind) for name, _, kind in packets.devices(pair[0])]
        with Taps.open([(pair[0], "tun0"), (pair[0], "eth0")], "udp dst port 9") as taps:
            assert [tap.linktype for tap in taps.taps] == [packets.LINKTYPE_RAW, packets.LINKTYPE_ETHERNET]
            send(pair[0], "10.8.0.2")
            (frame,) = collect(taps, bool)
            assert frame.tap == 0 and frame.outgoing and frame.data[0] == 0x45
            assert frame.data[12:20] == bytes([10, 8, 0, 1, 10, 8, 0, 2])
    finally:
        os.close(holder)


def attach_tun(descriptor: int, device: str) -> None:
    tunsetiff, iff_tun, iff_no_pi = 0x400454CA, 0x0001, 0x1000
    fcntl.ioctl(descriptor, tunsetiff, struct.pack("16sH22x", device.encode(), iff_tun | iff_no_pi))


def test_drops_are_counted_when_nobody_reads(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "RECEIVE_BUFFER", 4096)
    with Taps.open([(pair[1], "eth0")], "udp") as taps:
        send(pair[0], "10.9.9.2", count=200)
        read = collect(taps, bool)
        received, dropped = taps.statistics()[0]
        assert received == 200 and dropped > 0 and len(read) <= received - dropped


def test_a_busy_tap_does_not_keep_the_others_waiting(pair: tuple[str, str]) -> None:
    with Taps.open([(pair[0], "eth0"), (pair[1], "eth0")], "udp") as taps:
        send(pair[0], "10.9.9.2", count=500)
        first_round = list(taps.poll(PATIENCE))
        assert len(first_round) == 2 * packets.BATCH and {f.tap for f in first_round} == {0, 1}
        rest = collect(taps, lambda f: len(f) >= 1000 - len(first_round))
        times = [f.time_ns for f in first_round + rest if f.tap == 0]
        assert len(times) == 500 and times == sorted(times)


def test_the_first_packet_already_carries_the_time_of_its_coming(pair: tuple[str, str]) -> None:
    for _ in range(10):
        with Taps.open([(pair[1], "eth0")], "udp") as taps:
            send(pair[0], "10.9.9.2")
            sent = time.time_ns()
            assert [frame.time_ns <= sent for frame in collect(taps, bool)] == [True]


def test_a_device_that_goes_away_falls_silent(pair: tuple[str, str]) -> None:
    with Taps.open([(pair[0], "eth0"), (pair[1], "lo")], "udp") as taps:
        ip("-n", pair[0], "link", "delete", "eth0")
        assert list(taps.poll(0)) == []
        send(pair[1], "127.0.0.1")
        assert [f.tap for f in collect(taps, bool)] == [1]


def test_both_rooms_mean_the_same_by_link_types_and_sizes() -> None:
    """kernel and lab may not import each other; what they both know has to agree."""
    for name in ("LINKTYPE_ETHERNET", "LINKTYPE_RAW", "SNAPLEN"):
        assert getattr(packets, name) == getattr(packet, name)


def test_what_does_not_exist_is_named(pair: tuple[str, str]) -> None:
    with pytest.raises(KernelError, match="has no device 'eth7'"):
        Taps.open([(pair[0], "eth0"), (pair[0], "eth7")])
    with pytest.raises(KernelError, match="no network namespace"):
        Tap("capt-no-such", "eth0")


needs_tcpdump = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump (apt-get install tcpdump)")


@needs_tcpdump
def test_filters_compile_by_link_type() -> None:
    ether = packets.compile_filter("icmp", packets.LINKTYPE_ETHERNET)
    bare = packets.compile_filter("icmp", packets.LINKTYPE_RAW)
    assert ether[0] == (0x28, 0, 0, 12) and ether != bare
    assert packets.compile_filter("arp", packets.LINKTYPE_RAW) == packets.ACCEPT_NONE
    assert packets.compile_filter(" ", packets.LINKTYPE_RAW) == packets.ACCEPT_ALL


@needs_tcpdump
@pytest.mark.parametrize("expression", ["icmpp", "port", "host 300.1.1.1.1", "-w /dev/null", "icmp\0"])
def test_a_bad_filter_is_the_users_to_correct(expression: str) -> None:
    with pytest.raises(InputError, match=r"^filter "):
        packets.compile_filter(expression, packets.LINKTYPE_ETHERNET)


def test_without_tcpdump_the_machine_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MachineError) as caught:
        packets.compile_filter("icmp and len > 77", packets.LINKTYPE_ETHERNET)
    assert caught.value.exit_status == 3 and caught.value.hint == "apt-get install tcpdump"
