"""TCP sockets as BGP wants them: MD5 signatures (RFC 2385), time to live (RFC 5082), a device, a source address.

Facts: tcp(7), ip(7), ipv6(7), linux/tcp.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

from netlab.base.addresses import Address
from netlab.base.errors import MachineError
from netlab.bgp.config import PeerConfig

TCP_MD5SIG, TCP_MD5SIG_MAXKEYLEN = 14, 80
IP_MINTTL, IPV6_MINHOPCOUNT = 21, 73
#: DSCP CS6, internetwork control (RFC 4271 appendix E)
TOS = 0xC0
BACKLOG = 128


def _sockaddr(address: Address) -> bytes:
    """struct sockaddr_storage."""
    if address.version == 4:
        raw = struct.pack("=HH4s", socket.AF_INET, 0, address.packed)
    else:
        raw = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)
    return raw.ljust(128, b"\0")


def set_password(sock: socket.socket, address: Address, password: str | None) -> None:
    """Sign what is exchanged with `address`, and want it signed; None: no longer. MachineError if TCP cannot."""
    key = (password or "").encode()
    option = _sockaddr(address) + struct.pack("=BBHI", 0, 0, len(key), 0) + key.ljust(TCP_MD5SIG_MAXKEYLEN, b"\0")
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, option)
    except OSError as e:
        if not key and e.errno == errno.ENOENT:
            return  # there was none
        raise MachineError(
            f"TCP MD5 signatures for {address}: {e.strerror}",
            hint="the kernel has to be built with CONFIG_TCP_MD5SIG; not all machines have it",
        ) from e


def set_ttl(sock: socket.socket, peer: PeerConfig, *, ebgp: bool) -> None:
    """What packets carry, and with ttl_security the least that they may arrive with."""
    six = sock.family == socket.AF_INET6
    ttl = 255 if peer.ttl_security else peer.multihop or (1 if ebgp else 64)
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
    sock.setsockopt(level, option, ttl)
    least = 256 - peer.ttl_security if peer.ttl_security else 0
    level, option = (socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT) if six else (socket.IPPROTO_IP, IP_MINTTL)
    sock.setsockopt(level, option, least)


def _usual(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TOS)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)


def listening(address: Address, port: int) -> socket.socket:
    """A socket that listens. MachineError if the address is not there or taken."""
    six = address.version == 6
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        else:
            # a peer with TTL security looks at the answer to its SYN already
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        _usual(sock)
        sock.bind((str(address), port))
        sock.listen(BACKLOG)
    except OSError as e:
        sock.close()
        raise MachineError(f"cannot listen on {address} port {port}: {e.strerror}") from e
    return sock


def connecting(peer: PeerConfig, *, ebgp: bool) -> socket.socket:
    """A socket that may connect to the peer. OSError, MachineError."""
    six = peer.address.version == 6
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _usual(sock)
        set_ttl(sock, peer, ebgp=ebgp)
        if peer.password:
            set_password(sock, peer.address, peer.password)
        if peer.interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, peer.interface.encode() + b"\0")
        if peer.local_address is not None:
            sock.bind((str(peer.local_address), 0))
    except BaseException:
        sock.close()
        raise
    return sock


def destination(peer: PeerConfig) -> tuple[str, int] | tuple[str, int, int, int]:
    """Where to connect to."""
    if peer.address.version == 6 and peer.address.is_link_local:
        return (str(peer.address), peer.port, 0, socket.if_nametoindex(peer.interface))
    return (str(peer.address), peer.port)
