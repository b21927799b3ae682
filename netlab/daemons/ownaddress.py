"""By which of its addresses a machine is known to others: the one that its packets to them come from."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from netlab.base.addresses import Address
from netlab.base.errors import MachineError
from netlab.cni.machine import HOST
from netlab.compile.rules import local_ips
from netlab.daemons.cni import KernelMachine

#: an address of documentation (RFC 5737), which only a default route leads to
ANYWHERE = "192.0.2.1"
_DISCARD = 9


def towards(host: str = ANYWHERE) -> Address | None:
    """The address from which this namespace would send to a host, by its routes; nothing is sent. None if there is no
    way to it, or its name means nothing here."""
    try:
        found = socket.getaddrinfo(host, _DISCARD, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    for family, kind, protocol, _, place in found:
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.connect(place)
                return ip_address(sock.getsockname()[0].partition("%")[0])
        except OSError:
            continue
    return None


def own(host: str = ANYWHERE) -> tuple[Address, ...]:
    """The first global address of each family, and before them the one that leads to a host, in place of its family's.
    MachineError if there is none."""
    state = KernelMachine().see(HOST)
    usable = [ip for ip in map(ip_address, local_ips(state) if state else ()) if not ip.is_loopback]
    best = towards(host)
    found = [best] if best is not None and not best.is_loopback else []
    for version in (4, 6):
        if all(ip.version != version for ip in found):
            found += [ip for ip in usable if ip.version == version and not ip.is_link_local][:1]
    if not found:
        raise MachineError("this machine has no address", hint="ip address add 192.168.61.10/24 dev eth1, or its like")
    return tuple(found)
