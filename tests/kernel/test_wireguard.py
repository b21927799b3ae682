"""WireGuard devices in a namespace, where the kernel has them."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network

import pytest

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns, wireguard
from netlab.kernel.commands import run_in
from netlab.model import Wireguard, WireguardPeer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def key(number: int) -> str:
    # clamped as Curve25519 wants a private key, or the kernel would give back another one
    return base64.b64encode(bytes([number & 0xF8, *[number] * 30, (number & 0x7F) | 0x40])).decode()


@pytest.fixture
def where() -> Iterator[str]:
    name = f"kfw.wg-{os.getpid()}"
    os.close(netns.create(name))
    yield name
    netns.delete(name)


@pytest.fixture
def able(where: str) -> str:
    done = run_in(where, ["ip", "link", "add", "wg0", "type", "wireguard"])
    if done.returncode != 0:
        pytest.skip(f"this kernel has no WireGuard: {done.stderr.strip()}")
    return where


def test_a_kernel_without_wireguard_is_said(where: str) -> None:
    with pytest.raises((MachineError, KernelError)) as caught:
        wireguard.read(where, "wg0")
    if isinstance(caught.value, MachineError):
        assert caught.value.hint and "modprobe wireguard" in caught.value.hint


def test_a_configuration_is_read_back_and_changed(able: str) -> None:
    one = WireguardPeer(
        key(1), (ip_network("10.1.0.0/24"), ip_network("fd00:1::/64")), (ip_address("192.0.2.1"), 51820), 25
    )
    two = WireguardPeer(key(2), (ip_network("10.2.0.0/24"),), (ip_address("2001:db8::2"), 51820), preshared_key=key(9))
    many = WireguardPeer(key(3), tuple(IPv4Network((0x0B000000 + (i << 8), 24)) for i in range(1000)))
    first = Wireguard(private_key=key(40), listen_port=51820, fwmark=16, peers=(one, two))
    for wanted in (first, replace(first, peers=(replace(one, keepalive=0), many)), replace(first, fwmark=0, peers=())):
        wireguard.configure(able, "wg0", wanted)
        found = wireguard.read(able, "wg0")
        assert replace(found, peers=()) == replace(wanted, peers=())
        assert {p.public_key: (set(p.allowed_ips), replace(p, allowed_ips=())) for p in found.peers} == {
            p.public_key: (set(p.allowed_ips), replace(p, allowed_ips=())) for p in wanted.peers
        }
