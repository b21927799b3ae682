"""The route that every backend takes where it can: a node on the same link is itself the gateway to its pods."""

from __future__ import annotations

from netlab.model import Item, Route
from netlab.overlay.lease import Lease
from netlab.overlay.underlay import Underlay


def why(lease: Lease) -> str:
    """Who asked for it, in the words that explain prints."""
    at = " and ".join(str(a) for a in (lease.attrs.public_ip, lease.attrs.public_ipv6) if a)
    return f"lease {lease.subnet} of {at}"


def direct_routes(lease: Lease, underlay: Underlay) -> list[Item]:
    """`10.244.1.0/24 via 10.168.0.3 dev eth0`, for each family of the lease."""
    return [
        Route(dst=subnet, via=public, dev=underlay.dev, why=why(lease))
        for subnet, public in (
            (lease.subnet.ipv4, lease.attrs.public_ip),
            (lease.subnet.ipv6, lease.attrs.public_ipv6),
        )
        if subnet and public
    ]


def is_direct(lease: Lease, underlay: Underlay) -> bool:
    """Whether every family of the lease has its node on our own link."""
    pairs = ((lease.subnet.ipv4, lease.attrs.public_ip), (lease.subnet.ipv6, lease.attrs.public_ipv6))
    return all(underlay.on_link(public) for subnet, public in pairs if subnet)
