"""The speaker: peers, tables and the kernel together, in one asyncio loop.

Routes flow in one direction. An UPDATE changes a table, which notes the prefixes whose winners changed; some
milliseconds later those are taken in batches, each first to the kernel, then to the outboxes of all peers. Nothing
awaits anything on that way, so a table is always whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterable

from netlab.base.addresses import Address
from netlab.base.errors import KernelError
from netlab.bgp import nlri, sockets
from netlab.bgp.attribute_codec import Fault
from netlab.bgp.attributes import Attrs
from netlab.bgp.capabilities import Restart
from netlab.bgp.codes import CONFIG_CHANGE, DECONFIGURED, SHUTDOWN, Notification
from netlab.bgp.config import Config, LocalNetwork, PeerConfig
from netlab.bgp.decision import Hop, HopKey, Path, Rules, Source
from netlab.bgp.door import Door
from netlab.bgp.eventlog import EventLog
from netlab.bgp.export import Self, accept, told
from netlab.bgp.fib import Fib, Kernel, Place
from netlab.bgp.message import RouteRefresh, Update, encode
from netlab.bgp.nlri import Family, Nlri
from netlab.bgp.outbox import Outbox
from netlab.bgp.peer import Connection, Peer
from netlab.bgp.rib import Entry, Table
from netlab.model.state import HostState

#: seconds that changes are gathered before they go on: one batch costs less than many, and nobody notices the delay
GATHER = 0.01
#: prefixes per batch: between two of them, messages are read and sent
BATCH = 2000
#: seconds after which a refusal of the kernel is followed by a look at the whole
REPAIR_AFTER = 1.0
#: next hops that are watched before it is asked which of them are still of use
HOPS_MAX = 1000


class Speaker:
    """See the module. kernel: None for a speaker that only talks (a route reflector, a test)."""

    def __init__(self, config: Config, *, kernel: Kernel | None = None, log: EventLog | None = None) -> None:
        self.config, self.kernel, self.log = config, kernel, log or EventLog()
        self.hops: dict[HopKey, Hop | None] = {}
        self.rules = Rules(self.hops)
        self.tables = {family: Table(family, self.rules) for family in Family}
        self.local = Source("local", kind="local", asn=config.asn)
        self.peers: dict[str, Peer] = {}
        self.stopping = False
        self.kernel_errors = 0
        self.last_kernel_error = ""
        self._hops_max = HOPS_MAX
        self.door = Door(self._connection_for)
        self.networks: dict[Place, LocalNetwork] = {}
        held = kernel.held() if kernel else HostState()
        self.fib = Fib(config.kernel, f"bgpd/{config.name}", held)
        #: we have restarted, and others have kept our routes as we have kept theirs (RFC 4724 section 4.1)
        self.restarting = bool(held) and config.restart_time > 0
        self.fib.adopting = self.restarting
        self._flushing: asyncio.TimerHandle | asyncio.Handle | None = None
        self._repair: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deferral: asyncio.TimerHandle | None = None

    @property
    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self._loop.time() if self._loop else time.monotonic()

    @property
    def us(self) -> Self:
        """Who we are, for the rules between neighbours."""
        return Self(self.config.asn, self.config.router_id, self.config.cluster)

    @property
    def busy(self) -> bool:
        """Whether changes are on their way to the kernel or to peers."""
        return self._flushing is not None

    # -- beginning and ending

    async def start(self) -> None:
        """Listen and connect. MachineError if an address cannot be listened on."""
        self._loop = asyncio.get_running_loop()
        if self.kernel is not None:
            self._loop.add_reader(self.kernel.fileno(), self._network_changed)
            if self.fib.foreign:
                self._to_kernel(HostState(tuple(self.fib.foreign)), HostState())
        if self.restarting:
            self._deferral = self._loop.call_later(self.config.restart_time, self.deferral_over, "time is up")
        await self.configure(self.config)
        if not self.restarting:
            self.deferral_over("")

    async def stop(self, *, text: str = "", quietly: bool = False) -> None:
        """End all sessions and take the routes back; quietly: say nothing and leave the routes, to be back soon."""
        self.stopping = True
        cease = Notification.ceasing(SHUTDOWN, text)
        for peer in list(self.peers.values()):
            peer.stop(cease, quietly=quietly)
        self.door.close()
        for handle in (self._flushing, self._repair, self._deferral):
            if handle is not None:
                handle.cancel()
        if self.kernel is not None and self._loop is not None:
            self._loop.remove_reader(self.kernel.fileno())
            if not quietly:
                self._to_kernel(self.fib.whole(), HostState())
        await asyncio.sleep(0)  # transports send and close in the loop's next turn
        await asyncio.sleep(0.05)
        self.log.close()

    async def configure(self, config: Config) -> None:
        """Become what the configuration says; sessions that it does not change go on."""
        old, self.config = self.config, config
        self.rules.multipath, self.rules.relax = config.multipath, config.multipath_relax
        self.rules.always_compare_med = config.always_compare_med
        self.rules.compare_router_id = config.compare_router_id
        identity = (old.asn, old.router_id, old.cluster, old.restart_time)
        changed_self = identity != (config.asn, config.router_id, config.cluster, config.restart_time)
        wanted = {p.name: p for p in config.peers}
        for name, peer in list(self.peers.items()):
            new = wanted.get(name)
            if new is None:
                self._remove(peer, Notification.ceasing(DECONFIGURED))
            elif changed_self or new.session_part() != peer.config.session_part():
                self._remove(peer, Notification.ceasing(CONFIG_CHANGE))
        await self.door.listen(config.listen)
        self.door.sign(old, config)
        for p in config.peers:
            existing = self.peers.get(p.name)
            if existing is None:
                self.peers[p.name] = peer = Peer(self, p)
                peer.start()
            elif existing.config != p:
                self._adjust(existing, p)
        self._originate(config)
        if old.kernel != config.kernel:
            self._new_kernel_config(config)
        if old is not config:
            for table in self.tables.values():
                table.decide_again()
        self._maybe_restarted()
        self.schedule()

    def _remove(self, peer: Peer, cease: Notification) -> None:
        del self.peers[peer.config.name]
        peer.stop(cease)
        for table in self.tables.values():
            table.drop(peer.source)

    def _adjust(self, peer: Peer, new: PeerConfig) -> None:
        old = peer.config
        peer.adopt(new)
        if new.shutdown is not None and old.shutdown is None:
            peer.stop(Notification.ceasing(SHUTDOWN, new.shutdown))
        elif new.shutdown is None and old.shutdown is not None:
            peer.start()
        if (old.import_policy, old.allow_own_as, old.enforce_first_as) != (
            new.import_policy, new.allow_own_as, new.enforce_first_as,
        ):  # fmt: skip
            self._judge_again(peer)
        if peer.outbox is not None:
            for family in peer.outbox.told:
                peer.outbox.add(family, [*self.tables[family].entries, *peer.outbox.told[family]])

    def _judge_again(self, peer: Peer) -> None:
        """Import policy has changed: what the peer sent is still here, so it need not send it again."""
        for family, table in self.tables.items():
            again: dict[int, tuple[Path, list[Nlri]]] = {}
            for prefix, path in list(table.of(peer.source)):
                again.setdefault(id(path.received), (path, []))[1].append(prefix)
            for path, prefixes in again.values():
                self._learn(peer, family, path.received, prefixes, since=path.since)

    # -- our own routes

    def _originate(self, config: Config) -> None:
        wanted = {(Family.of(n.prefix.version), nlri.nlri(n.prefix)): n for n in config.networks}
        why = "networks of the configuration"
        for place in [p for p in self.networks if p not in wanted]:
            del self.networks[place]
            self.fib.blackholes.pop(place, None)
            self.tables[place[0]].withdraw(self.local, [place[1]])
        for place, network in wanted.items():
            if self.networks.get(place) == network:
                continue
            self.networks[place] = network
            family, prefix = place
            self.fib.blackholes.pop(place, None)
            if network.blackhole:
                self.fib.blackholes[place] = f"network {network.prefix} of ours"
            self.tables[family].announce(Path(self.local, network.attrs, network.attrs, why, self.now), [prefix])
            self.tables[family].changed[prefix] = None

    def _new_kernel_config(self, config: Config) -> None:
        """Another table, another mark: everything goes and comes anew."""
        old = self.fib
        self._to_kernel(old.whole(), HostState())
        self.fib = Fib(config.kernel, old.owner, HostState())
        self.fib.blackholes = old.blackholes
        for table in self.tables.values():
            table.changed.update(dict.fromkeys(table.entries))

    # -- what peers tell

    def peer_up(self, peer: Peer) -> None:
        """A session stands: the peer gets all routes."""
        assert peer.agreed and peer.established
        agreed, connection = peer.agreed, peer.established
        self.log.write(peer.config.name, {"event": "up", "families": [f.label for f in agreed.families]})
        if peer.helping:
            for family, table in self.tables.items():
                # what it did not keep on forwarding is of no use any more
                if not (agreed.restart and agreed.restart.forwarding(family) and family in agreed.families):
                    table.drop(peer.source, stale_only=True)
            peer.wait_for_return(self.config.stale_time, "its routes did not come in time")
        peer.outbox = Outbox(agreed.families, connection.session.codec, self._telling(peer))
        if not self.restarting:
            self._tell_all(peer)
        self.schedule()

    def _tell_all(self, peer: Peer) -> None:
        if peer.outbox is not None:
            for family in peer.outbox.told:
                peer.outbox.begin(family, self.tables[family].entries)

    def _telling(self, peer: Peer) -> Callable[[Family, Nlri], Attrs | None]:
        def telling(family: Family, prefix: Nlri) -> Attrs | None:
            entry = self.tables[family].entries.get(prefix)
            best = entry.best[0] if entry and entry.best else None
            return told(best, prefix, family, peer.neighbour, self.us)[0]

        return telling

    def peer_down(self, peer: Peer, *, graceful: bool) -> None:
        """A session is over. graceful: the peer restarts, and its routes are kept for the time that it asked for."""
        peer.source.epoch += 1
        restart: Restart | None = peer.agreed.restart if peer.agreed else None
        if graceful and restart is not None and not self.stopping:
            for family, table in self.tables.items():
                if not restart.covers(family):
                    table.drop(peer.source)
            peer.wait_for_return(restart.time, "it did not come back in time")
            self.log.write(peer.config.name, {"event": "helping", "seconds": restart.time})
        else:
            peer.returned()
            for table in self.tables.values():
                table.drop(peer.source)
        self._maybe_restarted()
        self.schedule(now=True)

    def stale_over(self, peer: Peer, why: str) -> None:
        """Time is up for what a restarting peer has not announced again."""
        peer.returned()
        dropped = sum(table.drop(peer.source, stale_only=True) for table in self.tables.values())
        self.log.write(peer.config.name, {"event": "stale routes dropped", "count": dropped, "why": why})
        self.schedule(now=True)

    def refresh_wanted(self, peer: Peer, message: RouteRefresh) -> None:
        """A peer wants all routes again, or marks where its own answer begins and ends (RFC 7313)."""
        table = self.tables[message.family]
        if message.subtype == 1:
            peer.source.epoch += 1
            peer.refreshing.add(message.family)
        elif message.subtype == 2:
            if message.family in peer.refreshing:
                peer.refreshing.discard(message.family)
                table.drop(peer.source, stale_only=True)
        elif peer.outbox is not None and peer.established is not None and peer.agreed is not None:
            enhanced = peer.agreed.enhanced_refresh
            for data in peer.outbox.refresh(message.family, table.entries, enhanced=enhanced):
                peer.established.send(data)
        self.schedule()

    def ask_refresh(self, peer: Peer) -> int:
        """Ask a peer for all its routes again. For how many families; 0 if it cannot."""
        if peer.established is None or peer.agreed is None or not peer.agreed.route_refresh:
            return 0
        for family in peer.agreed.families:
            message = RouteRefresh(family)
            peer.established.send(encode(message), message)
        return len(peer.agreed.families)

    def update(self, peer: Peer, update: Update) -> None:
        """Routes of a peer."""
        assert peer.agreed is not None
        if update.faults:
            self._note_faults(peer, update.faults)
        for family, prefixes in update.withdrawn:
            self.tables[family].withdraw(peer.source, prefixes)
        for family, attrs, prefixes in update.announced:
            if family in peer.agreed.families:
                self._learn(peer, family, attrs, prefixes)
        if update.end_of_rib is not None:
            self._complete(peer, update.end_of_rib)
        limit = peer.config.max_prefixes
        if limit and sum(peer.source.counts.values()) > limit:
            peer.too_many()
        self.schedule()

    def _note_faults(self, peer: Peer, faults: Iterable[Fault]) -> None:
        for fault in faults:
            peer.stats.faults += 1
            self.log.write(peer.config.name, {"event": "fault", "why": str(fault)})

    def _learn(
        self, peer: Peer, family: Family, attrs: Attrs, prefixes: list[Nlri], *, since: float | None = None
    ) -> None:
        when = self.now if since is None else since
        table = self.tables[family]
        if not peer.neighbour.import_policy.looks_at_prefix:
            verdict = accept(attrs, prefixes[0], family, peer.neighbour, self.us)
            self._announce(table, Path(peer.source, attrs, verdict.attrs, verdict.why, when), prefixes)
            return
        groups: dict[tuple[int, str], tuple[Path, list[Nlri]]] = {}
        for prefix in prefixes:
            verdict = accept(attrs, prefix, family, peer.neighbour, self.us)
            key = (id(verdict.attrs), verdict.why)
            group = groups.get(key)
            if group is None:
                groups[key] = (Path(peer.source, attrs, verdict.attrs, verdict.why, when), [prefix])
            else:
                group[1].append(prefix)
        for path, some in groups.values():
            self._announce(table, path, some)

    def _announce(self, table: Table, path: Path, prefixes: list[Nlri]) -> None:
        if path.hop is not None and path.hop not in self.hops:
            if len(self.hops) >= self._hops_max:
                self._forget_hops()
            self.hops[path.hop] = self._look(path.hop)
        table.announce(path, prefixes)

    def _forget_hops(self) -> None:
        """Next hops that no path has any more need not be watched."""
        used = {p.hop for table in self.tables.values() for entry in table.entries.values() for p in entry.paths}
        for key in self.hops.keys() - used:
            del self.hops[key]
        self._hops_max = max(HOPS_MAX, 2 * len(self.hops))

    def _complete(self, peer: Peer, family: Family) -> None:
        """The peer's initial routes are all there."""
        peer.ended.add(family)
        self.log.write(peer.config.name, {"event": "end of rib", "family": family.label})
        if peer.helping:
            self.tables[family].drop(peer.source, stale_only=True)
            if peer.agreed and peer.ended >= set(peer.agreed.families):
                peer.returned()
        self._maybe_restarted()

    # -- our own restart

    def _maybe_restarted(self) -> None:
        """Whether all who will tell us their routes have done so (RFC 4724 section 4.1)."""
        if not self.restarting or self._loop is None:
            return
        for peer in self.peers.values():
            if peer.config.shutdown is not None:
                continue
            if peer.agreed is None:
                return
            restart = peer.agreed.restart
            if restart is None or restart.restarting:
                continue  # it does not say when it is done, or waits for us as we would for it
            if not peer.ended >= set(peer.agreed.families):
                return
        self.deferral_over("all peers are done")

    def deferral_over(self, why: str) -> None:
        """Routes of the earlier run that nobody has announced go; from now on we tell our own."""
        was, self.restarting, self.fib.adopting = self.restarting, False, False
        if self._deferral is not None:
            self._deferral.cancel()
            self._deferral = None
        for peer in self.peers.values():
            for connection in peer.connections():
                if connection is not peer.established:
                    connection.session.terms = peer.terms
        if was:
            self.log.write("local", {"event": "restart over", "why": why})
            for peer in self.peers.values():
                self._tell_all(peer)
        for family, prefix in self.fib.installed:
            if prefix not in self.tables[family].changed:
                self.tables[family].changed[prefix] = None
        self.schedule()

    # -- the kernel

    def _look(self, key: HopKey) -> Hop | None:
        address, dev = key
        if address is None:
            return None
        if self.kernel is None:
            return Hop("")
        found = self.kernel.lookup(address, dev)
        return Hop(found.dev, found.via, found.metric) if found else None

    def _network_changed(self) -> None:
        """Devices, addresses or routes are others: look at every next hop again."""
        assert self.kernel is not None
        devices = self.kernel.drain()
        changed: set[HopKey] = set()
        for key, old in list(self.hops.items()):
            new = self._look(key)
            if new != old:
                self.hops[key] = new
                changed.add(key)
        if changed:
            self.fib.hops_changed()
            for key in changed:
                self.log.write(
                    "local", {"event": "next hop", "address": str(key[0]), "reachable": bool(self.hops[key])}
                )
            for table in self.tables.values():
                table.decide_again(frozenset(changed))
        if devices:
            places = self.fib.suspect(devices)
            self._to_kernel(*self.fib.delta(places, self._entry, self.hops))
        if changed:
            self.schedule(now=True)

    def _entry(self, place: Place) -> Entry | None:
        return self.tables[place[0]].entries.get(place[1])

    def _to_kernel(self, was: HostState, wanted: HostState) -> None:
        if self.kernel is None or not (was or wanted):
            return
        try:
            self.kernel.transition(was, wanted)
        except KernelError as e:
            self._refused(e)

    def _refused(self, e: KernelError) -> None:
        """A next hop may have gone between two looks. Look at the whole, soon."""
        self.kernel_errors += 1
        self.last_kernel_error = str(e)
        self.log.write("local", {"event": "kernel refused", "why": str(e)})
        if self._repair is None and self._loop is not None and not self.stopping:
            self._repair = self._loop.call_later(REPAIR_AFTER, self._repair_now)

    def _repair_now(self) -> None:
        self._repair = None
        assert self.kernel is not None
        self._network_changed()
        try:
            self.kernel.apply(self.fib.whole())
        except KernelError as e:
            self._refused(e)

    # -- from the tables to kernel and peers

    def schedule(self, *, now: bool = False) -> None:
        """Changes are to go on, soon; now: without gathering more, for routes that lead nowhere."""
        if self._loop is None or self.stopping:
            return
        if self._flushing is not None:
            if not now:
                return
            self._flushing.cancel()
        self._flushing = self._loop.call_soon(self._flush) if now else self._loop.call_later(GATHER, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        more = False
        for family, table in self.tables.items():
            if not table.changed:
                continue
            batch = table.take_changed(BATCH)
            more = more or bool(table.changed)
            if self.kernel is not None:
                self._to_kernel(*self.fib.delta([(family, prefix) for prefix in batch], self._entry, self.hops))
            for peer in self.peers.values():
                if peer.outbox is not None:
                    peer.outbox.add(family, batch)
        for peer in self.peers.values():
            more = self._send_to(peer) or more
        if more:
            self._flushing = self._loop.call_soon(self._flush) if self._loop else None

    def _send_to(self, peer: Peer) -> bool:
        """The next batch for a peer. Whether there is more, and room for it."""
        connection, outbox = peer.established, peer.outbox
        if connection is None or outbox is None or outbox.idle or self.restarting or connection.paused:
            return False
        out = outbox.messages()
        if out:
            connection.send(b"".join(out))
        return not outbox.idle and not connection.paused

    # -- who knocks

    def _connection_for(self, address: Address, zone: str, sock: socket.socket) -> Connection | None:
        """The protocol for a connection that came in; None if nobody of that address is expected."""
        for peer in self.peers.values():
            if self.stopping or peer.config.address != address or (zone and peer.config.interface not in ("", zone)):
                continue
            with contextlib.suppress(OSError):
                sockets.set_ttl(sock, peer.config, ebgp=peer.config.asn != self.config.asn)
                connection = peer.accept()
                if connection is not None:
                    return connection
        self.log.write(str(address), {"event": "refused", "why": "no peer of that address, or it is shut down or busy"})
        return None
