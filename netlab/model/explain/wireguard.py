"""WireGuard devices beyond their birth: wg set. Keys are read from standard input, as wg never takes them as words."""

from __future__ import annotations

from netlab.model.explain.command import Command, command
from netlab.model.links import Wireguard, WireguardPeer


def create(name: str, kind: Wireguard, *, why: str) -> list[Command]:
    """Configure a device that was just added."""
    return change(name, Wireguard(private_key=""), kind, why=why)


def change(name: str, old: Wireguard, new: Wireguard, *, why: str) -> list[Command]:
    """Only what differs. A peer that gives up its endpoint or preshared key is made anew, as wg cannot unset them."""
    out: list[Command] = []
    words: list[str] = []
    if new.listen_port != old.listen_port:
        words += ["listen-port", str(new.listen_port)]
    if new.fwmark != old.fwmark:
        words += ["fwmark", hex(new.fwmark) if new.fwmark else "off"]
    key = new.private_key if new.private_key != old.private_key else None
    if key:
        words += ["private-key", "/dev/stdin"]
    if words:
        out.append(command("wg", "set", name, *words, why=why, stdin=key))
    before = {peer.public_key: peer for peer in old.peers}
    for peer in new.peers:
        known = before.pop(peer.public_key, None)
        if known and ((known.endpoint and not peer.endpoint) or (known.preshared_key and not peer.preshared_key)):
            out.append(_remove(name, known, why))
            known = None
        if known != peer:
            out.append(_peer(name, known or WireguardPeer(peer.public_key), peer, why))
    return [*out, *(_remove(name, peer, why) for peer in before.values())]


def _remove(name: str, peer: WireguardPeer, why: str) -> Command:
    return command("wg", "set", name, "peer", peer.public_key, "remove", why=why)


def _peer(name: str, old: WireguardPeer, new: WireguardPeer, why: str) -> Command:
    words = ["peer", new.public_key]
    secret = new.preshared_key if new.preshared_key != old.preshared_key else None
    if secret:
        words += ["preshared-key", "/dev/stdin"]
    if new.endpoint and new.endpoint != old.endpoint:
        address, port = new.endpoint
        words += ["endpoint", f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"]
    if new.keepalive != old.keepalive:
        words += ["persistent-keepalive", str(new.keepalive) if new.keepalive else "off"]
    if new.allowed_ips != old.allowed_ips:
        words += ["allowed-ips", ",".join(str(network) for network in new.allowed_ips)]
    return command("wg", "set", name, *words, why=why, stdin=secret)
