"""WireGuard configuration as messages, without a kernel that has WireGuard."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

from pyroute2.netlink.generic.wireguard import WGPEER_F_REMOVE_ME, wgmsg

from netlab.kernel import wireguard
from netlab.model import Wireguard, WireguardPeer


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


ONE = WireguardPeer(
    key(1), (ip_network("10.244.1.0/24"), ip_network("fd00:1::/64")), (ip_address("192.0.2.1"), 51820), 25
)
TWO = WireguardPeer(key(2), (ip_network("10.244.2.0/24"),), (ip_address("2001:db8::2"), 51820), preshared_key=key(9))
DEVICE = Wireguard(private_key=key(7), listen_port=51820, fwmark=0x10, peers=(ONE, TWO))


def sent(message: Any) -> Any:
    message["header"]["type"] = 0x21
    message.encode()
    received = wgmsg(message.data)
    received.decode()
    return received


def peers_of(messages: list[Any]) -> list[Any]:
    return [peer for message in messages for peer in message.get_attr("WGDEVICE_A_PEERS") or []]


def test_a_configuration_survives_the_wire() -> None:
    assert wireguard.decode([sent(m) for m in wireguard.messages("flannel-wg", DEVICE)]) == DEVICE


def test_nothing_is_sent_for_what_is_so_already() -> None:
    assert wireguard.messages("flannel-wg", DEVICE, DEVICE) == []


def test_only_what_differs_is_sent() -> None:
    moved = replace(ONE, endpoint=(ip_address("192.0.2.9"), 51820))
    messages = [sent(m) for m in wireguard.messages("flannel-wg", replace(DEVICE, peers=(moved,)), DEVICE)]
    assert all(m.get_attr("WGDEVICE_A_PRIVATE_KEY") is None for m in messages)
    flags = {
        wireguard._text(p.get_attr("WGPEER_A_PUBLIC_KEY")): p.get_attr("WGPEER_A_FLAGS") for p in peers_of(messages)
    }
    assert set(flags) == {key(1), key(2)}
    assert flags[key(2)] == WGPEER_F_REMOVE_ME and flags[key(1)] != WGPEER_F_REMOVE_ME


def test_many_peers_and_prefixes_are_spread_over_messages() -> None:
    many = tuple(IPv4Network((0x0A000000 + (i << 8), 24)) for i in range(1000))
    peers = (WireguardPeer(key(3), many), *(WireguardPeer(key(n), many[:100]) for n in range(10, 30)))
    wanted = Wireguard(private_key=key(7), peers=peers)
    messages = wireguard.messages("wg0", wanted)
    assert len(messages) > 3
    received = [sent(m) for m in messages]
    assert max(len(m.data) for m in messages) < 65536
    assert wireguard.decode(received) == wanted
