"""A backend without a kernel: namespaces as dictionaries, with the kernel's habits that planning depends on.

It refuses what Linux refuses for reasons of order (an address on a device that is not there, a route over one that is
down, a gateway that nothing reaches) and takes away what Linux takes away. The contract tests run against it and
against the real backend alike.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import replace

from netlab.base.errors import KernelError
from netlab.kernel.apply import States
from netlab.model.diff import Delete, Op, falls_with, stage_of, without_devices
from netlab.model.iptables import Chain
from netlab.model.item import Item, Key
from netlab.model.l3 import Address, Fdb, Neighbour, Route
from netlab.model.links import Bridge, BridgeVlan, Link, Loopback, Veth
from netlab.model.state import HostState, device_of
from netlab.model.sysctl import Sysctl

#: what every namespace is born with
BIRTH = Link(name="lo", kind=Loopback(), up=False)


class FakeBackend:
    """Namespaces in memory. `operations` counts what was performed, for tests of idempotence."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[Key, Item]] = {}
        self.operations = 0

    def names(self) -> Iterable[str]:
        return sorted(self.spaces)

    def create(self, name: str) -> None:
        if name in self.spaces:
            raise KernelError(f"namespace {name!r} exists already", errno_=errno.EEXIST)
        self.spaces[name] = {BIRTH.order: BIRTH}

    def delete(self, name: str) -> bool:
        space = self.spaces.pop(name, None)
        for item in (space or {}).values():
            if isinstance(item, Link) and isinstance(item.kind, Veth) and item.kind.peer_netns in self.spaces:
                self._unplug(item.kind.peer_netns, item.kind.peer)
        return space is not None

    def read(self, wanted: States, *, everything: bool = False) -> dict[str, HostState]:
        return {ns: HostState.of(self._seen(ns, wanted[ns])) for ns in wanted}

    def _seen(self, ns: str, wanted: HostState) -> list[Item]:
        items = [item for item in self.spaces[ns].values() if not isinstance(item, Sysctl)]
        items += [
            self.spaces[ns].get(sysctl.order, replace(sysctl, value="0"))
            for sysctl in wanted.all(Sysctl)
            if sysctl.device is None or Link(name=sysctl.device, kind=Loopback()).order in self.spaces[ns]
        ]
        return items

    def perform(self, plans: Mapping[str, list[Op]]) -> None:
        # the same three stages as the real backend: what goes, devices everywhere, the rest
        for stage in (0, 1, 2):
            for ns, ops in plans.items():
                for op in ops:
                    if stage_of(op) == stage:
                        self._do(ns, op)

    def _do(self, ns: str, op: Op) -> None:
        self.operations += 1
        space = self.spaces[ns]
        if isinstance(op, Delete):
            self._delete(ns, op.item)
            return
        self._require(ns, op.item)
        if isinstance(op.item, Link):
            self._put_link(ns, op.item)
        elif isinstance(op.item, Chain) and op.item.builtin and not op.item.rules and op.item.policy == "ACCEPT":
            space.pop(op.item.order, None)
        else:
            if isinstance(op.item, BridgeVlan) and op.item.pvid:
                self._clear_pvid(ns, op.item.dev)
            space[op.item.order] = op.item

    def _state(self, ns: str) -> HostState:
        return HostState.of(self.spaces[ns].values())

    def _set(self, ns: str, state: HostState) -> None:
        self.spaces[ns] = {item.order: item for item in state}

    def _put_link(self, ns: str, link: Link) -> None:
        space = self.spaces[ns]
        old = space.get(link.order)
        if isinstance(old, Link) and old.up and not link.up:
            self._set(ns, self._state(ns).where(lambda item: not _dies_when_down(item, link.name)))
            space = self.spaces[ns]
        if isinstance(old, Link) and old.master and old.master != link.master:
            # a bridge forgets a port that leaves; what a VXLAN device knows itself stays
            self._set(ns, self._state(ns).where(lambda i: not (_of_a_port(i) and device_of(i) == link.name)))
            space = self.spaces[ns]
        before = old if isinstance(old, Link) else None
        space[link.order] = link if link.mac or isinstance(link.kind, Loopback) else replace(link, mac=None)
        if isinstance(link.kind, Veth):
            other = self.spaces.get(link.kind.peer_netns or ns)
            if other is None:
                raise KernelError(f"{link}: no namespace {link.kind.peer_netns!r}", errno_=errno.EINVAL)
            back = "" if not link.kind.peer_netns else ns
            far = Link(name=link.kind.peer, kind=Veth(link.name, back), up=False, mtu=link.mtu)
            other.setdefault(far.order, far)
        self._default_vlans(ns, before, link)

    def _default_vlans(self, ns: str, old: Link | None, link: Link) -> None:
        """The default PVID of a bridge, on itself and on each new port; changed, it takes the place of the old one."""
        space = self.spaces[ns]
        bridge = space.get(Link(name=link.master, kind=Bridge()).order) if link.master else None
        if isinstance(bridge, Link) and isinstance(bridge.kind, Bridge) and (not old or old.master != link.master):
            self._default_vlan(ns, link.name, bridge.kind.default_pvid)
        if not isinstance(link.kind, Bridge):
            return
        before = old.kind.default_pvid if old and isinstance(old.kind, Bridge) else 0
        if before == link.kind.default_pvid:
            return
        for member in [m for m in self._state(ns).all(Link) if link.name in (m.name, m.master)]:
            as_it_came = BridgeVlan(
                dev=member.name, vid=before or 1, pvid=True, untagged=True, on_bridge=member == link
            )
            known = space.get(as_it_came.order)
            if before and known == as_it_came:
                del space[known.order]
            if not before or known == as_it_came:
                self._default_vlan(ns, member.name, link.kind.default_pvid)

    def _default_vlan(self, ns: str, dev: str, vid: int) -> None:
        space = self.spaces[ns]
        owner = next(item for item in self._state(ns).all(Link) if item.name == dev)
        if not vid:
            return
        made = BridgeVlan(dev=dev, vid=vid, pvid=True, untagged=True, on_bridge=isinstance(owner.kind, Bridge))
        if made.order not in space:
            self._clear_pvid(ns, dev)
            space[made.order] = made

    def _clear_pvid(self, ns: str, dev: str) -> None:
        """A port has one PVID at most."""
        for vlan in self._state(ns).all(BridgeVlan):
            if vlan.dev == dev and vlan.pvid:
                self.spaces[ns][vlan.order] = replace(vlan, pvid=False)

    def _unplug(self, ns: str, name: str) -> None:
        self._set(ns, without_devices(self._state(ns), {name}))

    def _delete(self, ns: str, item: Item) -> None:
        space = self.spaces[ns]
        if item.order not in space:
            return
        if isinstance(item, Link):
            self._unplug(ns, item.name)
            if isinstance(item.kind, Veth) and item.kind.peer_netns in self.spaces:
                self._unplug(item.kind.peer_netns, item.kind.peer)
            return
        del space[item.order]
        if isinstance(item, Address):
            self._after_address(ns, item)

    def _after_address(self, ns: str, gone: Address) -> None:
        """IPv4 routes go with their preferred source and with the device's last address; IPv6 ones lose the source."""
        state = self._state(ns)
        left = any(a.dev == gone.dev and a.address.version == 4 for a in state.all(Address))
        for route in state.all(Route):
            if route.dst.version == 4:
                if route.src == gone.address.ip or (
                    not left and gone.address.version == 4 and gone.dev in route.devices
                ):
                    self.spaces[ns].pop(route.order, None)
            elif route.src == gone.address.ip:
                self.spaces[ns][route.order] = replace(route, src=None)

    def _require(self, ns: str, item: Item) -> None:
        """Refuse what comes too early."""
        state = self._state(ns)
        links = {link.name: link for link in state.all(Link)}
        needed = {device_of(item)} if device_of(item) else set()
        if isinstance(item, Link):
            needed = {name for name in (item.master, item.parent) if name}
        if isinstance(item, Route):
            needed = set(item.devices)
        for name in needed:
            if name not in links:
                raise KernelError(f"cannot make {item}: no device {name}", errno_=errno.ENODEV)
            if isinstance(item, Route | Neighbour) and not links[name].up:
                raise KernelError(f"cannot make {item}: {name} is down", errno_=errno.ENETDOWN)
        if isinstance(item, Route):
            own = {a.address.ip for a in state.all(Address)}
            if item.src and item.src not in own:
                raise KernelError(f"cannot make {item}: {item.src} is no address of this host", errno_=errno.EINVAL)
            if item.via and not item.onlink and not _reachable(item, state):
                raise KernelError(f"cannot make {item}: gateway {item.via} is out of reach", errno_=errno.ENETUNREACH)


def _of_a_port(item: Item) -> bool:
    return (isinstance(item, Fdb) and not item.dst) or (isinstance(item, BridgeVlan) and not item.on_bridge)


def _dies_when_down(item: Item, name: str) -> bool:
    if isinstance(item, Route):
        return name in falls_with(item)
    if isinstance(item, Address):
        return item.dev == name and item.address.version == 6
    return isinstance(item, Neighbour) and item.dev == name


def _reachable(route: Route, state: HostState) -> bool:
    assert route.via is not None
    if route.via.version == 6 and route.via.is_link_local:
        return True
    on_link = [a.address.network for a in state.all(Address) if a.dev == route.dev]
    on_link += [r.dst for r in state.all(Route) if r.dev == route.dev and not r.via and r.type == "unicast"]
    return any(route.via in network for network in on_link if network.version == route.via.version)
