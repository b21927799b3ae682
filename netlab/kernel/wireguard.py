"""Keys and peers of a WireGuard device, over generic netlink with pyroute2's message class.

A change touches only the peers that differ, because a replaced peer forgets its session. Facts: linux/wireguard.h,
wg(8).
"""

from __future__ import annotations

import base64
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from pyroute2.netlink.generic.wireguard import (
    WG_CMD_GET_DEVICE,
    WG_CMD_SET_DEVICE,
    WG_GENL_NAME,
    WG_GENL_VERSION,
    WGPEER_F_REMOVE_ME,
    WGPEER_F_REPLACE_ALLOWEDIPS,
    wgmsg,
)

from netlab.base.addresses import Network
from netlab.base.errors import KernelError
from netlab.kernel import generic
from netlab.model.links import Wireguard, WireguardPeer

_NO_KEY = base64.b64encode(bytes(32)).decode()
#: peers and prefixes of one message: an attribute's length has 16 bits, a prefix takes at most 36 bytes
_PEERS_MAX, _PREFIXES_MAX = 50, 400


def _prefix(network: Network) -> dict[str, Any]:
    return {
        "attrs": [
            ["WGALLOWEDIP_A_FAMILY", int(socket.AF_INET6 if network.version == 6 else socket.AF_INET)],
            ["WGALLOWEDIP_A_IPADDR", network.network_address.packed],
            ["WGALLOWEDIP_A_CIDR_MASK", network.prefixlen],
        ]
    }


def peer_attributes(peer: WireguardPeer) -> list[dict[str, Any]]:
    """A peer as WGPEER_A_* once or more often: what does not fit into one is added to it by the next."""
    prefixes = [_prefix(network) for network in peer.allowed_ips]
    attributes: list[list[Any]] = [
        ["WGPEER_A_PUBLIC_KEY", peer.public_key],
        ["WGPEER_A_FLAGS", WGPEER_F_REPLACE_ALLOWEDIPS],
        ["WGPEER_A_PRESHARED_KEY", peer.preshared_key or _NO_KEY],
        ["WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", peer.keepalive],
    ]
    if peer.endpoint is not None:
        attributes.append(["WGPEER_A_ENDPOINT", {"addr": str(peer.endpoint[0]), "port": peer.endpoint[1]}])
    attributes.append(["WGPEER_A_ALLOWEDIPS", prefixes[:_PREFIXES_MAX]])
    out: list[dict[str, Any]] = [{"attrs": attributes}]
    for at in range(_PREFIXES_MAX, len(prefixes), _PREFIXES_MAX):
        more: list[list[Any]] = [
            ["WGPEER_A_PUBLIC_KEY", peer.public_key],
            ["WGPEER_A_ALLOWEDIPS", prefixes[at : at + _PREFIXES_MAX]],
        ]
        out.append({"attrs": more})
    return out


def messages(device: str, wanted: Wireguard, actual: Wireguard | None = None) -> list[Any]:
    """What turns the device's configuration from `actual` (None: fresh) into `wanted`. Pure."""
    was = {peer.public_key: peer for peer in actual.peers} if actual else {}
    want = {peer.public_key: peer for peer in wanted.peers}
    head: list[list[Any]] = []
    if actual is None or actual.private_key != wanted.private_key:
        head.append(["WGDEVICE_A_PRIVATE_KEY", wanted.private_key])
    if actual is None or (wanted.listen_port and actual.listen_port != wanted.listen_port):
        head.append(["WGDEVICE_A_LISTEN_PORT", wanted.listen_port])
    if actual is None or actual.fwmark != wanted.fwmark:
        head.append(["WGDEVICE_A_FWMARK", wanted.fwmark])
    peers = [
        {"attrs": [["WGPEER_A_PUBLIC_KEY", key], ["WGPEER_A_FLAGS", WGPEER_F_REMOVE_ME]]}
        for key in was
        if key not in want
    ]
    groups: list[list[dict[str, Any]]] = [peers[at : at + _PEERS_MAX] for at in range(0, len(peers), _PEERS_MAX)]
    weight = _PREFIXES_MAX
    for peer in wanted.peers:
        if was.get(peer.public_key) == peer:
            continue
        for part in peer_attributes(peer):
            weight += 8 + len(part["attrs"][-1][1])
            if weight > _PREFIXES_MAX:
                groups.append([])
                weight = 8 + len(part["attrs"][-1][1])
            groups[-1].append(part)
    out = []
    for number, group in enumerate(groups or ([[]] if head else [])):
        msg = wgmsg()
        msg["cmd"], msg["version"] = WG_CMD_SET_DEVICE, WG_GENL_VERSION
        msg["attrs"] = [["WGDEVICE_A_IFNAME", device], *(head if number == 0 else [])]
        if group:
            msg["attrs"].append(["WGDEVICE_A_PEERS", group])
        out.append(msg)
    return out


def _text(key: Any) -> str:
    value = key["value"] if isinstance(key, dict) else key
    return value.decode() if isinstance(value, bytes) else str(value)


def decode(answers: Sequence[Any]) -> Wireguard:
    """The messages of one dump to a configuration: a peer with many prefixes goes on in the next message."""
    head: dict[str, Any] = {}
    peers: dict[str, dict[str, Any]] = {}
    for answer in answers:
        for name, field in (("PRIVATE_KEY", "private_key"), ("LISTEN_PORT", "listen_port"), ("FWMARK", "fwmark")):
            value = answer.get_attr(f"WGDEVICE_A_{name}")
            if value is not None:
                head[field] = _text(value) if field == "private_key" else value
        for peer in answer.get_attr("WGDEVICE_A_PEERS") or []:
            key = _text(peer.get_attr("WGPEER_A_PUBLIC_KEY"))
            known = peers.setdefault(key, {"public_key": key, "allowed_ips": []})
            endpoint = peer.get_attr("WGPEER_A_ENDPOINT")
            if endpoint is not None:
                known["endpoint"] = (ipaddress.ip_address(endpoint["addr"]), endpoint["port"])
            shared = peer.get_attr("WGPEER_A_PRESHARED_KEY")
            if shared is not None and _text(shared) != _NO_KEY:
                known["preshared_key"] = _text(shared)
            if peer.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL"):
                known["keepalive"] = peer.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL")
            for prefix in peer.get_attr("WGPEER_A_ALLOWEDIPS") or []:
                known["allowed_ips"].append(ipaddress.ip_network(prefix["addr"]))
    found = tuple(WireguardPeer(**{**peer, "allowed_ips": tuple(peer["allowed_ips"])}) for peer in peers.values())
    return Wireguard(**{"private_key": "", **head}, peers=found)


def _opened(netns: str | int) -> Any:
    return generic.opened(netns, WG_GENL_NAME, module="wireguard")


def _read(family: Any, device: str) -> Wireguard:
    msg = wgmsg()
    msg["cmd"], msg["version"] = WG_CMD_GET_DEVICE, WG_GENL_VERSION
    msg["attrs"] = [["WGDEVICE_A_IFNAME", device]]
    try:
        return decode(family.dump(generic.encoded(msg), wgmsg))
    except OSError as e:
        said = "it is no WireGuard device" if e.errno == errno.EOPNOTSUPP else e.strerror
        raise KernelError(f"wireguard {device}: {said}", errno_=e.errno or 0, item=f"link {device}") from e


def read(netns: str | int, device: str) -> Wireguard:
    """The device's configuration. KernelError if there is no such device, MachineError without WireGuard."""
    with _opened(netns) as family:
        return _read(family, device)


def configure(netns: str | int, device: str, wanted: Wireguard) -> None:
    """Give the device this configuration; peers that have it already keep their sessions."""
    with _opened(netns) as family:
        for msg in messages(device, wanted, _read(family, device)):
            family.request([(generic.encoded(msg), ())], f"cannot configure wireguard device {device}")
