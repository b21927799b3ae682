"""Where clients address Services, and which tracked connections lead past their endpoints.

The kernel rewrites the first packet of a connection alone. A UDP client that keeps its port goes on with whatever its
first packet got: an endpoint that is no more, or none at all. Such connections have to be forgotten once the rules
stand, not before: the next packet would be a first one under the old rules (S110 to S116). TCP notices by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from netlab.compile.proxying import Port, joined
from netlab.model.flows import Flow

#: what has no end of its own that a client would notice
LASTING = ("udp", "sctp")


class Frontend(NamedTuple):
    """An address and port at which a Service is asked. address: "" for every one of the node (a node port)."""

    protocol: str
    address: str
    port: int


Frontends = dict[Frontend, frozenset[str]]


def frontends(ports: Iterable[Port]) -> Frontends:
    """The frontends of connections that last, each with the endpoints that this node sends to."""
    found: Frontends = {}
    for port in ports:
        if port.protocol in LASTING:
            endpoints = frozenset(port.reachable)
            for address in (port.cluster_ip, *port.external_ips, *port.balancer_ips):
                found[Frontend(port.protocol, address, port.port)] = endpoints
            if port.node_port:
                found[Frontend(port.protocol, "", port.node_port)] = endpoints
    return found


def outdated(before: Frontends, after: Frontends) -> Frontends:
    """What of `before` has gone, with no endpoints, and all of `after` that is new or another."""
    gone: Frontends = {front: frozenset() for front in before if front not in after}
    return gone | {front: endpoints for front, endpoints in after.items() if before.get(front) != endpoints}


def stale(flows: Iterable[Flow], looked_at: Mapping[Frontend, frozenset[str]], local_ips: Sequence[str]) -> list[Flow]:
    """Connections to one of the frontends that no endpoint of it answers."""
    local = frozenset(local_ips)
    found = []
    for flow in flows:
        address = str(flow.address)
        endpoints = looked_at.get(Frontend(flow.protocol, address, flow.port))
        if endpoints is None and address in local:
            endpoints = looked_at.get(Frontend(flow.protocol, "", flow.port))
        if endpoints is not None and joined(str(flow.answerer), flow.answerer_port) not in endpoints:
            found.append(flow)
    return found
