"""Which address is next: host-local's ranges, and the choice among what nobody has. Pure.

A set of ranges gives one address; several sets give one each (an IPv4 and an IPv6 one). The next address is the one
behind the last that was given out, so that an address rests before it is somebody else's. Source: the reference
plugin's documentation (plugins/ipam/host-local).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from netlab.base.addresses import Address, Interface, Network
from netlab.cni.errors import CniError, Code
from netlab.cni.fields import Fields

#: a look at each of 2^64 addresses never ends; nobody has so many containers that this many neighbours are taken
SEARCH_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses of a subnet from `start` to `end`, both included. The gateway is never given out."""

    subnet: Network
    start: Address
    end: Address
    gateway: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.subnet.version and int(self.start) <= int(address) <= int(self.end)

    def interface(self, address: Address) -> Interface:
        """An address of it, with the subnet's prefix length."""
        return ip_interface(f"{address}/{self.subnet.prefixlen}")


RangeSet = tuple[Range, ...]


def read(ipam: Fields) -> tuple[RangeSet, ...]:
    """`ranges`, or the older `subnet` with its fields beside it. CniError (7), also for ranges that overlap."""
    sets: list[Any] = list(ipam.data.get("ranges") or [])
    if ipam.data.get("subnet"):
        sets.insert(0, [dict(ipam.data)])
    found = []
    for i, given in enumerate(sets):
        place = f"{ipam.place}: ranges[{i}]"
        if not isinstance(given, list) or not given:
            raise CniError(Code.CONFIG, f"{place} is no list of ranges", 'expected [{"subnet": "10.1.0.0/24"}]')
        ranges = tuple(_range(Fields(one, place)) for one in given)
        if len({r.subnet.version for r in ranges}) > 1:
            raise CniError(Code.CONFIG, f"{place} has both families", "expected one set for each family")
        found.append(ranges)
    if not found:
        raise ipam.wrong("ranges", "at least one set of ranges")
    every = [r for ranges in found for r in ranges]
    for i, one in enumerate(every):
        for other in every[:i]:
            if one.start in other or other.start in one:
                raise CniError(
                    Code.CONFIG, f"{ipam.place}: {one.start}-{one.end} and {other.start}-{other.end} overlap"
                )
    return tuple(found)


def _range(f: Fields) -> Range:
    subnet = f.network("subnet")
    if subnet is None:
        raise f.wrong("subnet", "a prefix, such as 10.1.0.0/24")
    if subnet.num_addresses < 4:
        raise f.wrong("subnet", "a prefix with room for containers (IPv4: /30 at the longest)")
    first, last = subnet.network_address + 1, subnet.broadcast_address
    usable_end = last - 1 if subnet.version == 4 else last
    start, end = f.address("rangeStart") or first, f.address("rangeEnd") or usable_end
    gateway = f.address("gateway") or first
    for name, address in (("rangeStart", start), ("rangeEnd", end)):
        if address not in subnet:
            raise f.wrong(name, f"an address of {subnet}")
    if int(start) > int(end):
        raise f.wrong("rangeStart", f"an address not behind rangeEnd {end}")
    return Range(subnet, start, end, gateway)


def pick(ranges: RangeSet, taken: Collection[str], last: str | None, asked: Collection[Address] = ()) -> Interface:
    """An address of one of the ranges. taken: addresses as text; last: the last that was given out; asked: if one of
    those is of these ranges, that one. CniError (101) if there is none.
    """
    for address in asked:
        found = next((r for r in ranges if address in r), None)
        if found is None:
            continue
        if address == found.gateway or str(address) in taken:
            who = "the gateway's" if address == found.gateway else "in use"
            raise CniError(Code.NO_ADDRESS, f"{address} was asked for and is {who}")
        return found.interface(address)
    for found, address in _in_turn(ranges, last):
        if address != found.gateway and str(address) not in taken:
            return found.interface(address)
    names = ", ".join(f"{r.start}-{r.end}" for r in ranges)
    raise CniError(Code.NO_ADDRESS, f"no address is left in {names}", "delete containers, or widen the range")


def _in_turn(ranges: RangeSet, last: str | None) -> Iterator[tuple[Range, Address]]:
    """Every address once, beginning behind the last."""
    at = ip_address(last) if last else None
    home = next((i for i, r in enumerate(ranges) if at is not None and at in r), None)
    searched = 0
    if home is None or at is None:
        pieces: Sequence[tuple[Range, int, int]] = [(r, int(r.start), int(r.end)) for r in ranges]
    else:
        own = ranges[home]
        others = [*ranges[home + 1 :], *ranges[:home]]
        pieces = [
            (own, int(at) + 1, int(own.end)),
            *((r, int(r.start), int(r.end)) for r in others),
            (own, int(own.start), int(at)),
        ]
    for found, start, end in pieces:
        kind = type(found.start)
        for number in range(start, end + 1):
            searched += 1
            if searched > SEARCH_MAX:
                return
            yield found, kind(number)
