"""Connection tracking of a namespace: read and forgotten, over netlink.

It has messages of its own, because there may be a hundred thousand entries, of which the kernel is to send those of one
protocol. Facts: linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator

from netlab.kernel.refusals import failed
from netlab.kernel.rtnl import wire
from netlab.kernel.rtnl.decode import address_of
from netlab.kernel.rtnl.socket import Netlink
from netlab.model.flows import Flow

NETLINK_NETFILTER = 12
_SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_FILTER
_IP, _PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_NUM, _FROM_PORT, _TO_PORT = 1, 2, 3  # CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
#: CTA_IP_*, by the version of the addresses
_ENDS = {4: (1, 2), 6: (3, 4)}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
#: CTA_FILTER_FLAG(PROTO_NUM): of the original direction, the protocol has to be the same
_SAME_PROTOCOL = 1 << 3
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}


def _head(version: int) -> bytes:
    return struct.pack("!BBH", _FAMILIES[version], 0, 0)


def read(netns: str | int, version: int, protocol: str) -> list[Flow]:
    """All connections of one family and protocol (tcp, udp, sctp). KernelError if the kernel does not tell them."""
    number = _NUMBERS[protocol]
    # kernels before 5.8 know no filter, and send everything
    only = wire.nested(
        wire.NLA_F_NESTED | _ORIGINAL,
        wire.nested(wire.NLA_F_NESTED | _PROTO, wire.u8(_NUM, number)),
    ) + wire.nested(wire.NLA_F_NESTED | _FILTER, wire.u32(1, _SAME_PROTOCOL), wire.u32(2, 0))
    try:
        with Netlink(netns, NETLINK_NETFILTER) as netlink:
            return list(_flows(netlink.dump(_GET, _head(version) + only), number, protocol))
    except OSError as e:
        raise failed("cannot read the tracked connections", e) from e


def _flows(messages: Iterable[memoryview], number: int, protocol: str) -> Iterator[Flow]:
    for body in messages:
        found = wire.attrs(body, 4)
        if _ORIGINAL not in found or _REPLY not in found:
            continue
        original, reply = wire.attrs(found[_ORIGINAL]), wire.attrs(found[_REPLY])
        ends = wire.attrs(original[_PROTO])
        if ends[_NUM][0] == number:
            addresses, back = wire.attrs(original[_IP]), wire.attrs(reply[_IP])
            source, target = _ENDS[4] if _ENDS[4][0] in addresses else _ENDS[6]
            yield Flow(
                protocol, address_of(addresses[source]), _port(ends[_FROM_PORT]), address_of(addresses[target]),
                _port(ends[_TO_PORT]), address_of(back[source]), _port(wire.attrs(reply[_PROTO])[_FROM_PORT]),
            )  # fmt: skip


def _port(view: memoryview) -> int:
    return int.from_bytes(view, "big")


def forget(netns: str | int, flows: Iterable[Flow]) -> int:
    """Delete connections, so that the next packet of each is a first one. Returns how many there still were."""
    requests = [(_DELETE, 0, _head(flow.address.version) + _tuple(flow)) for flow in flows]
    if not requests:
        return 0
    with Netlink(netns, NETLINK_NETFILTER) as netlink:
        refused = netlink.send(requests)
    for refusal in refused:
        if refusal.errno != errno.ENOENT:  # it has ended by itself
            raise failed("cannot forget a tracked connection", OSError(refusal.errno, str(refusal))) from refusal
    return len(requests) - len(refused)


def _tuple(flow: Flow) -> bytes:
    source, target = _ENDS[flow.address.version]
    addresses = wire.attr(source, flow.source.packed) + wire.attr(target, flow.address.packed)
    return wire.nested(
        wire.NLA_F_NESTED | _ORIGINAL, wire.nested(wire.NLA_F_NESTED | _IP, addresses),
        wire.nested(
            wire.NLA_F_NESTED | _PROTO, wire.u8(_NUM, _NUMBERS[flow.protocol]),
            wire.attr(_FROM_PORT, flow.source_port.to_bytes(2, "big")),
            wire.attr(_TO_PORT, flow.port.to_bytes(2, "big")),
        ),
    )  # fmt: skip
