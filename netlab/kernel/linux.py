"""The real backend: namespaces, netlink, sysctls, iptables and sets of this machine."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.base.errors import KernelError
from netlab.kernel import netns, tun
from netlab.kernel.apply import States
from netlab.kernel.limits import allow_files
from netlab.kernel.refusals import refusal
from netlab.kernel.rtnl import decode, encode, wire
from netlab.kernel.rtnl.encode import Indices, Request
from netlab.kernel.rtnl.socket import Netlink
from netlab.model.diff import Change, Create, Delete, Op, stage_of
from netlab.model.iptables import Chain
from netlab.model.ipvs import IpvsService
from netlab.model.item import Item
from netlab.model.l3 import Address, Fdb, Neighbour, Route, Rule
from netlab.model.links import FALLBACK_TUNNELS, BridgeVlan, Link, Loopback, Tun, Veth, Wireguard
from netlab.model.nft import NFT, NftTable
from netlab.model.qdisc import Qdisc
from netlab.model.sets import Ipset
from netlab.model.state import HostState
from netlab.model.sysctl import Sysctl

if TYPE_CHECKING:
    from netlab.kernel.iptables import Iptables

#: a deletion that finds nothing has reached its end: the kernel was quicker, or somebody else was
_GONE = {errno.ENODEV, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL, errno.ENXIO}
#: RTEXT_FILTER_SKIP_STATS: a dump of links without their counters is a third of the size
_NO_STATS = wire.u32(29, 1 << 3)
#: RTEXT_FILTER_BRVLAN: a dump of bridges and their ports with their VLANs
_BRIDGE_VLANS = wire.u32(29, 1 << 1)
_PROC_SYS = Path("/proc/sys")


class _Place:
    """An open namespace: its descriptor, its netlink socket, the indices of its devices."""

    __slots__ = ("fd", "indices", "links", "name", "netlink")

    def __init__(self, name: str, fd: int, fresh: Callable[[], int]) -> None:
        self.name = name
        self.fd = fd
        self.netlink = Netlink(fd)
        self.links: list[decode.RawLink] = []
        self.indices = Indices({"lo": 1}, fresh)

    def close(self) -> None:
        self.netlink.close()
        os.close(self.fd)

    def look(self) -> None:
        """Read the devices; everything else refers to them."""
        body = wire.IFINFO.pack(0, 0, 0, 0, 0) + _NO_STATS
        self.links = [decode.raw_link(m) for m in self.netlink.dump(wire.RTM_GETLINK, body)]
        self.indices.by_name = {raw.name: raw.index for raw in self.links}


class LinuxBackend:
    """Namespaces of this machine.

    iptables: `legacy` or `nft`, None if the lab has no chains; nursery: where new namespaces come from;
    paths: of namespaces that have no name here, where they are called by their path;
    after_operation: called after each single operation, which are then sent one by one: the kill test's hook.
    """

    def __init__(
        self,
        *,
        iptables: str | None = None,
        nursery: netns.Nursery | None = None,
        paths: Collection[str] = (),
        after_operation: Callable[[], None] | None = None,
    ) -> None:
        netns.require_root()
        self._nursery = nursery
        self._paths = paths
        self.iptables = iptables
        self._after = after_operation
        self._blank: set[str] = set()
        self._born_bare: bool | None = None

    def names(self) -> Iterable[str]:
        given = [path for path in self._paths if netns.inode(path) is not None]
        return [netns.HERE, netns.OURS, *netns.names(), *given]

    def create(self, name: str) -> None:
        if not self._blank:
            netns.prepare()  # once: it walks all that is mounted there
        fd = netns.create(name, self._nursery)
        try:
            if self._born_bare is None:
                # a kernel that has loaded a tunnel's module puts a device of its own into every new namespace
                with Netlink(fd) as netlink:
                    self._born_bare = len(list(netlink.dump(wire.RTM_GETLINK, wire.IFINFO.pack(0, 0, 0, 0, 0)))) == 1
        finally:
            os.close(fd)
        if self._born_bare:
            self._blank.add(name)
        self._tick()

    def delete(self, name: str) -> bool:
        gone = netns.delete(name)
        self._tick()
        return gone

    def _tick(self) -> None:
        if self._after:
            self._after()

    @contextlib.contextmanager
    def _open(self, names: Iterable[str]) -> Iterator[dict[str, _Place]]:
        """The namespaces, opened together and closed together."""
        names = list(names)
        allow_files(3 * len(names) + 100)
        highest = 1

        def fresh() -> int:
            nonlocal highest
            highest += 1
            return highest

        places: dict[str, _Place] = {}
        try:
            for name in names:
                fd = netns.open_fd(name)
                if fd is None:
                    raise KernelError(f"there is no network namespace {name!r}", errno_=errno.ENOENT)
                place = places[name] = _Place(name, fd, fresh)
                if name not in self._blank:
                    place.look()
                    highest = max(highest, *place.indices.by_name.values())
            yield places
        finally:
            for place in places.values():
                place.close()

    # -- reading

    def read(self, wanted: States, *, everything: bool = False) -> dict[str, HostState]:
        blank = {ns for ns in wanted if ns in self._blank}
        states = {ns: HostState.of([_LO_DOWN, *self._sysctls(wanted[ns], ns)]) for ns in blank}
        with self._open(ns for ns in wanted if ns not in blank) as places:
            cables = _Cables(places)
            for ns, place in places.items():
                states[ns] = self._state(place, wanted[ns], cables, everything)
        return {ns: states[ns] for ns in wanted}

    def _state(self, place: _Place, wanted: HostState, cables: _Cables, everything: bool) -> HostState:
        names = {raw.index: raw.name for raw in place.links}
        kinds = {type(item) for item in wanted}
        links = (decode.link(raw, names, cables.peer(place, raw, names)) for raw in place.links)
        items: list[Item] = [_with_keys(place, link) for link in links]
        dump = place.netlink.dump
        for family in (wire.AF_INET, wire.AF_INET6):
            found: list[Item | None] = []
            head = wire.IFADDR.pack(family, 0, 0, 0, 0)
            found += [decode.address(m, names) for m in dump(wire.RTM_GETADDR, head)]
            head = wire.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
            found += [decode.route(m, names) for m in dump(wire.RTM_GETROUTE, head)]
            if everything or Neighbour in kinds:
                for flags in (0, encode.NTF_PROXY):
                    head = wire.NDMSG.pack(family, 0, 0, flags, 0)
                    found += [decode.neighbour(m, names) for m in dump(wire.RTM_GETNEIGH, head)]
            if everything or Rule in kinds:
                head = wire.FIBRULE.pack(family, 0, 0, 0, 0, 0, 0)
                found += [decode.rule(m) for m in dump(wire.RTM_GETRULE, head)]
            items += [item for item in found if item]
        if everything or Fdb in kinds:
            head = wire.IFINFO.pack(wire.AF_BRIDGE, 0, 0, 0, 0)
            entries = (decode.fdb(m, names) for m in dump(wire.RTM_GETNEIGH, head))
            items += [e for e in entries if e]
        if everything or BridgeVlan in kinds:
            head = wire.IFINFO.pack(wire.AF_BRIDGE, 0, 0, 0, 0) + _BRIDGE_VLANS
            items += [v for m in dump(wire.RTM_GETLINK, head) for v in decode.vlans(m, names)]
        if everything or Qdisc in kinds:
            head = wire.TCMSG.pack(0, 0, 0, 0, 0)
            shaped = (decode.qdisc(m, names) for m in dump(wire.RTM_GETQDISC, head))
            items += [q for q in shaped if q]
        items += self._sysctls(wanted, place.fd)
        items += self._tools(place, kinds, everything)
        return HostState.of(_unambiguous(items))

    def _sysctls(self, wanted: HostState, where: str | int) -> list[Sysctl]:
        names = [item.name for item in wanted.all(Sysctl)]
        if not names:
            return []
        found = []
        with netns.entered(where):
            for name in names:
                with contextlib.suppress(OSError):
                    found.append(Sysctl(name=name, value=(_PROC_SYS / name).read_text()))
        return found

    def _tools(self, place: _Place, kinds: set[type[Item]], everything: bool) -> list[Item]:
        """What is kept by netfilter: chains, sets, virtual services."""
        items: list[Item] = []
        if Chain in kinds or (everything and self.iptables):
            items += self._firewall().read(place.fd)
        if Ipset in kinds:
            from netlab.kernel import ipset

            items += ipset.read(place.fd)
        if IpvsService in kinds:
            from netlab.kernel import ipvs

            items += ipvs.read(place.fd)
        if NftTable in kinds:
            from netlab.kernel import nft

            items += nft.read(place.fd)
        return items

    def _firewall(self) -> Iptables:
        from netlab.kernel.iptables import Iptables

        if self.iptables is None:
            from netlab.kernel.probe import iptables_variant

            self.iptables = iptables_variant()
        return Iptables(self.iptables)

    # -- writing

    def perform(self, plans: Mapping[str, list[Op]]) -> None:
        involved = list(plans)
        others = {
            op.item.kind.peer_netns
            for ops in plans.values()
            for op in ops
            if isinstance(op, Create) and isinstance(op.item, Link) and isinstance(op.item.kind, Veth)
        }
        existing = set(self.names())
        involved += sorted(n for n in others if n and n not in plans and n in existing)
        with self._open(involved) as places:
            self._blank -= set(involved)
            fds = {ns: place.fd for ns, place in places.items()}
            for place in places.values():
                place.indices.netns_fd = fds
            staged = {ns: _stages(ops) for ns, ops in plans.items()}
            for ns, (first, _, _) in staged.items():
                self._run(places[ns], first)
            rest = self._links(places, {ns: devices for ns, (_, devices, _) in staged.items()})
            for ns, (_, _, last) in staged.items():
                self._run(places[ns], last, rest.get(ns, []))

    def _links(
        self, places: Mapping[str, _Place], plans: Mapping[str, list[Op]]
    ) -> dict[str, list[tuple[Op, Request]]]:
        """Make and change devices. A veth pair is made once, from the side that holds more of them.

        Returns, for each namespace that makes no device itself, what can go in one batch with its addresses.
        """
        rest: dict[str, list[tuple[Op, Request]]] = {}
        weight = {
            ns: sum(1 for op in ops if isinstance(op.item, Link) and isinstance(op.item.kind, Veth))
            for ns, ops in plans.items()
        }
        awaited = {
            (ns, op.item.name): op.item
            for ns, ops in plans.items()
            for op in ops
            if isinstance(op, Create) and isinstance(op.item, Link) and isinstance(op.item.kind, Veth)
        }
        born: set[tuple[str, str]] = set()
        for ns in sorted(plans, key=lambda n: (-weight[n], n)):
            place = places[ns]
            batch: list[tuple[Op, Request]] = []
            for op in plans[ns]:
                link = op.item
                assert isinstance(link, Link)
                if (ns, link.name) in born:
                    batch += [(op, request) for request in _finish(link, place.indices)]
                elif isinstance(op, Create) and isinstance(link.kind, Tun):
                    self._send(place, batch)
                    batch = self._tun(place, op, link)
                elif isinstance(op, Create) and not isinstance(link.kind, Loopback):
                    batch += self._new_device(ns, op, link, places, awaited, born)
                else:
                    old = op.old if isinstance(op, Change) else _LO_DOWN
                    assert isinstance(old, Link)
                    batch += [(op, request) for request in encode.link_change(old, link, place.indices)]
            if not any(_makes_device(op) and (ns, *op.item.key) not in born for op in plans[ns]):
                rest[ns] = batch
            else:
                self._send(place, batch)
            self._wireguard(place, plans[ns])
        return rest

    def _new_device(
        self,
        ns: str,
        op: Op,
        link: Link,
        places: Mapping[str, _Place],
        awaited: Mapping[tuple[str, str], Item],
        born: set[tuple[str, str]],
    ) -> list[tuple[Op, Request]]:
        indices = places[ns].indices
        peer, index = None, 0
        if isinstance(link.kind, Veth):
            other = link.kind.peer_netns or ns
            if other not in places:
                raise KernelError(f"{link}: its other end's namespace {other!r} does not exist", item=link.why)
            index = places[other].indices.by_name[link.kind.peer] = indices.fresh()
            found = awaited.get((other, link.kind.peer))
            peer = found if isinstance(found, Link) else None
            born.add((other, link.kind.peer))
        requests: list[tuple[Op, Request]] = [(op, encode.link_create(link, indices, peer, index))]
        return requests + [(op, request) for request in encode.afterthoughts(link, indices)]

    def _tun(self, place: _Place, op: Op, link: Link) -> list[tuple[Op, Request]]:
        assert isinstance(link.kind, Tun)
        index = place.indices.by_name[link.name] = place.indices.fresh()
        try:
            with netns.entered(place.fd):
                tun.create(link.name, link.kind, index)
        except OSError as e:
            raise refusal(op, e.errno or 0, e.strerror or str(e)) from e
        bare = Link(name=link.name, kind=link.kind, up=False, mtu=1500)
        return [(op, request) for request in encode.link_change(bare, link, place.indices)]

    def _wireguard(self, place: _Place, ops: Sequence[Op]) -> None:
        for op in ops:
            if isinstance(op.item, Link) and isinstance(op.item.kind, Wireguard):
                from netlab.kernel import wireguard

                wireguard.configure(place.fd, op.item.name, op.item.kind)

    def _run(self, place: _Place, ops: Sequence[Op], first: Sequence[tuple[Op, Request]] = ()) -> None:
        """Operations in order: neighbouring netlink requests in one batch, chains in one transaction per table."""
        batch = list(first)
        chains: list[Op] = []
        tables: list[Op] = []
        servers = [op for op in ops if isinstance(op.item, IpvsService)]
        for op in ops:
            if isinstance(op.item, NFT):
                tables.append(op)
                continue
            if isinstance(op.item, Chain):
                chains.append(op)
                continue
            if isinstance(op.item, Ipset) and isinstance(op, Delete):
                self._chains(place, chains)
                chains = []
            if isinstance(op.item, IpvsService):
                # they follow each other, and are made by one socket: to open one takes longer than to make ten
                if op is servers[0]:
                    self._send(place, batch)
                    batch = []
                    self._servers(place, servers)
            elif isinstance(op.item, Sysctl | Ipset):
                self._send(place, batch)
                batch = []
                self._other(place, op)
            else:
                batch += [(op, request) for request in _requests(op, place.indices)]
        self._send(place, batch)
        self._chains(place, chains)
        if tables:
            from netlab.kernel import nft

            nft.perform(place.fd, tables)
            self._tick()

    def _send(self, place: _Place, batch: Sequence[tuple[Op, Request]]) -> None:
        parts = [batch] if not self._after else [[one] for one in batch]
        for part in parts:
            if not part:
                continue
            for refused in place.netlink.send([request for _, request in part]):
                op = part[refused.at][0]
                if not (isinstance(op, Delete) and refused.errno in _GONE):
                    raise refusal(op, refused.errno, refused.said) from refused
            self._tick()

    def _other(self, place: _Place, op: Op) -> None:
        item = op.item
        if isinstance(item, Sysctl):
            try:
                with netns.entered(place.fd):
                    (_PROC_SYS / item.name).write_text(item.value)
            except OSError as e:
                raise refusal(op, e.errno or 0, "") from e
        elif isinstance(item, Ipset):
            from netlab.kernel import ipset

            ipset.perform(place.fd, op)
        self._tick()

    def _servers(self, place: _Place, ops: Sequence[Op]) -> None:
        from netlab.kernel import ipvs

        for _ in ipvs.perform(place.fd, ops):
            self._tick()

    def _chains(self, place: _Place, ops: Sequence[Op]) -> None:
        if not ops:
            return
        for _ in self._firewall().perform(place.fd, ops):
            self._tick()


def _with_keys(place: _Place, link: Link) -> Link:
    """A WireGuard device with its keys and peers, which rtnetlink does not tell."""
    if not isinstance(link.kind, Wireguard):
        return link
    from netlab.kernel import wireguard

    return replace(link, kind=wireguard.read(place.fd, link.name))


_LO_DOWN = Link(name="lo", kind=Loopback(), up=False)


def _stages(ops: Iterable[Op]) -> tuple[list[Op], list[Op], list[Op]]:
    """Operations by their stage, in the order that they have."""
    found: tuple[list[Op], list[Op], list[Op]] = ([], [], [])
    for op in ops:
        found[stage_of(op)].append(op)
    return found


def _makes_device(op: Op) -> bool:
    return isinstance(op, Create) and isinstance(op.item, Link) and not isinstance(op.item.kind, Loopback)


def _finish(link: Link, indices: Indices) -> list[Request]:
    """What the other end's message could not give to an end born by it: up, master, port options, alias."""
    bare = Link(name=link.name, kind=link.kind, up=False, mtu=link.mtu, mac=link.mac)
    return encode.link_change(bare, link, indices)


def _requests(op: Op, indices: Indices) -> list[Request]:
    """A netlink operation as requests. What is to be deleted on a device that is gone needs none."""
    item, delete = op.item, isinstance(op, Delete)
    try:
        match item:
            case Link():
                # what a tunnel's module made stays when it is deleted: down is as near as one gets
                down = (
                    encode.link_change(item, replace(item, up=False), indices) if item.name in FALLBACK_TUNNELS else []
                )
                return [*down, encode.link_delete(item.name, indices)]
            case Address():
                return [encode.address(item, indices, delete=delete)]
            case Route():
                return [encode.route(item, indices, delete=delete)]
            case Neighbour():
                return [encode.neighbour(item, indices, delete=delete)]
            case Fdb():
                return [encode.fdb(item, indices, delete=delete)]
            case BridgeVlan():
                return [encode.vlan(item, indices, delete=delete)]
            case Rule():
                return [encode.rule(item, delete=delete)]
            case Qdisc():
                remake = isinstance(op, Change)
                old = [encode.qdisc(item, indices, delete=True)] if remake else []
                return [*old, encode.qdisc(item, indices, delete=delete)]
            case _:
                raise ValueError(f"no request for {item}")
    except KeyError as missing:
        if delete:
            return []
        raise KernelError(f"{item}: there is no device {missing}", errno_=errno.ENODEV, item=item.why) from None


class _Cables:
    """Which veth ends belong together, among the namespaces that were read.

    A dump gives the other end's index and a number for its namespace. Where we made the pair, its two indices occur
    once in the lab; where a person did, several ends may fit, and the namespaces have to be asked for their numbers.
    """

    def __init__(self, places: Mapping[str, _Place]) -> None:
        self._places = places
        self._ends: dict[tuple[int, int], list[tuple[str, str]]] = {}
        for ns, place in places.items():
            for raw in place.links:
                if raw.kind == "veth" and raw.netnsid is not None:
                    self._ends.setdefault((raw.index, raw.link), []).append((ns, raw.name))

    def peer(self, place: _Place, raw: decode.RawLink, names: Mapping[int, str]) -> Veth:
        """The other end; an empty name if it is in no namespace that was read."""
        if raw.kind != "veth":
            return Veth("")
        if raw.netnsid is None:
            return Veth(names.get(raw.link, ""))
        fitting = [(ns, name) for ns, name in self._ends.get((raw.link, raw.index), []) if ns != place.name]
        if len(fitting) > 1:
            numbers = {ns: place.netlink.netnsid(self._places[ns].fd) for ns, _ in fitting}
            fitting = [(ns, name) for ns, name in fitting if numbers[ns] == raw.netnsid]
        return Veth(fitting[0][1], fitting[0][0]) if fitting else Veth("")


def _unambiguous(items: Iterable[Item]) -> list[Item]:
    """The first of each key: a kernel may hold what one key cannot tell apart (IPv6 routes of equal metric)."""
    seen: dict[object, Item] = {}
    for item in items:
        seen.setdefault(item.order, item)
    return list(seen.values())
