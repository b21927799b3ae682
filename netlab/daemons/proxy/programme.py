"""Services in the kernel of one node: compiled, put there change by change, looked after, and nobody's mistake is
everybody's.

Where the kernel refuses a change, everything is put there as a whole, since what it holds may be another than we think.
Where it refuses that, too, some object asks for what this kernel cannot do: the suspects are left out, and admitted
again half by half, until those are alone that nothing can be done about. They are told, and the others are served.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from netlab.base.errors import KernelError, MachineError
from netlab.compile.frontends import LASTING, Frontends, frontends, outdated, stale
from netlab.compile.gathered import Served
from netlab.compile.graceful import Graceful
from netlab.compile.objects import Name
from netlab.compile.proxier import Step, merged_steps
from netlab.compile.proxying import Family, ProxyConfig, ports_of
from netlab.compile.rules import MODES, Mode, Proxiers
from netlab.compile.tenancy import Tenancy
from netlab.daemons.proxy.needs import Network
from netlab.model import HostState, Item
from netlab.model.diff import Op
from netlab.model.item import Key

log = logging.getLogger("proxy")


@dataclass(slots=True)
class Report:
    """What a sync did. ops: on the kernel; mended: those that nobody had asked for; forgotten: stale connections."""

    ops: int = 0
    mended: list[Op] = field(default_factory=list)
    forgotten: int = 0


class Programme:
    """All Services of one node. Not for two threads at once."""

    def __init__(self, network: Network, mode: Mode) -> None:
        self.network, self.mode = network, mode
        #: Services that the kernel refuses, with its words
        self.refused: dict[Name, str] = {}
        #: what Services are served without, with whose it is
        self.clashes: dict[Name, tuple[str, ...]] = {}
        self.known: dict[Name, Served] = {}
        self._tenancy = Tenancy()
        self._settled: dict[Name, Served] = {}
        self._proxiers: list[Proxiers] = []
        self._config: ProxyConfig | None = None
        self._fronts: dict[Name, Frontends] = {}
        self._graceful = Graceful() if mode == "ipvs" else None
        #: whether the kernel holds what was asked for last, as far as we know
        self._obeyed = False

    def configure(self, config: ProxyConfig, families: Sequence[Family]) -> None:
        """Serve as `config` says from the next sync on, which has to be full."""
        self._config = config
        self._proxiers = [MODES[self.mode](config, family) for family in families]
        for name in self._settled:
            self._put(name)
        self._obeyed = False

    def sync(self, changes: Mapping[Name, Served | None], *, full: bool) -> Report:
        """Follow the changes; a full sync looks at everything in the kernel, and tries again what was refused.

        KernelError or MachineError if nothing can be done, whatever is left out; the next sync tries again.
        """
        report = Report()
        if full:
            report.ops += self._release()
        changed = self._settle(changes)
        if full:
            changed |= set(self.refused)
        calm = full and self._obeyed and not changed
        for name in changed:
            self.refused.pop(name, None)
            self._put(name)
        try:
            ops = self._apply() if full or not self._obeyed else self._step()
        except (KernelError, MachineError) as e:
            log.warning("%s", e.message)
            ops = self._around(changed)
        report.ops += len(ops)
        if calm:
            report.mended = ops
        report.forgotten = self._forget(changed)
        return report

    # -- objects

    def _settle(self, changes: Mapping[Name, Served | None]) -> set[Name]:
        """Take note of what is wanted, and give each Service what nobody else has. Returns whose value is another."""
        queue = sorted(changes)
        seen: set[Name] = set()
        for name in queue:
            served = changes[name]
            if served is None:
                self.known.pop(name, None)
            else:
                self.known[name] = served
        while queue:
            name = queue.pop(0)
            seen.add(name)
            served = self.known.get(name)
            settled = self._tenancy.settle(name, served[0] if served else None)
            queue += sorted(other for other in settled.waiting if other not in queue)
            if settled.service is not None and served is not None:
                self._settled[name] = (settled.service, served[1])
            else:
                self._settled.pop(name, None)
            for problem in settled.problems:
                if problem not in self.clashes.get(name, ()):
                    log.warning("%s", problem)
            self.clashes.pop(name, None)
            if settled.problems:
                self.clashes[name] = settled.problems
        return seen

    def _put(self, name: Name) -> None:
        service, slices = self._settled.get(name, (None, ()))
        for proxier in self._proxiers:
            proxier.put(name, service, slices)

    def _take_out(self, name: Name) -> None:
        for proxier in self._proxiers:
            proxier.put(name, None)

    # -- the kernel

    def _apply(self) -> list[Op]:
        items: dict[Key, Item] = {}
        for proxier in self._proxiers:
            proxier.step()
            items.update((item.order, item) for item in proxier.items())
        if self._graceful is not None:
            # each time, not a predecessor's alone: what changed since the last step is in here, too. And idle ones, for
            # who is still chosen may get a connection between this look and the change
            left = {server.order: server for server in self.network.servers()}
            items = {item.order: item for item in self._graceful.whole(items.values(), left)}
        self._obeyed = False
        ops = self.network.apply(HostState(tuple(items[order] for order in sorted(items))))
        self._obeyed = True
        return ops

    def _step(self) -> list[Op]:
        step = _distinct(merged_steps(proxier.step() for proxier in self._proxiers))
        if not step:
            return []
        if self._graceful is not None:
            step = self._graceful.step(step)
        return self._perform(step)

    def _perform(self, step: Step) -> list[Op]:
        self._obeyed = False
        ops = self.network.step(step.gone, step.new)
        self._obeyed = True
        return ops

    def _release(self) -> int:
        """Take real servers out that were on their way and have no connections left. Returns how many operations."""
        if self._graceful is None or not self._graceful.waits or not self._obeyed:
            return 0
        try:
            step = self._graceful.release(self.network.busy())
            return len(self._perform(step)) if step else 0
        except (KernelError, MachineError) as e:
            log.warning("%s", e.message)  # the full sync that comes now says what is the matter
            return 0

    def _around(self, changed: Collection[Name]) -> list[Op]:
        """Serve as many as can be, after a refusal."""
        last: KernelError | MachineError
        try:
            return self._apply()
        except (KernelError, MachineError) as e:
            last = e
        everything = set(self._settled)
        for suspects in [set(changed)] * bool(changed) + [everything] * (everything > set(changed)):
            for name in suspects:
                self._take_out(name)
            try:
                ops = self._apply()
            except (KernelError, MachineError) as e:
                last = e
                continue
            return ops + self._admit(sorted(name for name in suspects if name in self._settled))
        for name in self._settled:
            self._put(name)
        raise last

    def _admit(self, names: list[Name]) -> list[Op]:
        """Serve these, too, but for those that the kernel refuses."""
        if not names:
            return []
        for name in names:
            self._put(name)
        try:
            return self._step()
        except (KernelError, MachineError) as e:
            for name in names:
                self._take_out(name)
            ops = self._apply()
            if len(names) > 1:
                half = len(names) // 2
                return ops + self._admit(names[:half]) + self._admit(names[half:])
            (name,) = names
            self.refused[name] = e.message
            log.warning("Service %s/%s is left out, for the kernel refuses it: %s", *name, e.message)
            return ops

    # -- connections

    def _forget(self, changed: Collection[Name]) -> int:
        """Have connections that lead past the endpoints of changed Services begin anew. After the rules: see S112."""
        assert self._config is not None
        looked_at: Frontends = {}
        for name in changed:
            before, after = self._fronts.pop(name, {}), self._fronts_of(name)
            looked_at |= outdated(before, after)
            if after:
                self._fronts[name] = after
        # an address that has moved from one Service to another is the new one's
        for name in changed:
            looked_at |= {front: ends for front, ends in self._fronts.get(name, {}).items() if front in looked_at}
        local, forgotten = self._config.local_ips, 0
        for protocol in LASTING:
            versions: set[Family] = {
                6 if ":" in f.address else 4 for f in looked_at if f.protocol == protocol and f.address
            }
            for version in sorted(versions):
                found = stale(self.network.flows(version, protocol), looked_at, local)
                forgotten += self.network.forget(found)
        return forgotten

    def _fronts_of(self, name: Name) -> Frontends:
        assert self._config is not None
        if name in self.refused or name not in self._settled:
            return {}
        service, slices = self._settled[name]
        found: Frontends = {}
        if any(port.protocol in LASTING for port in service.ports):
            for proxier in self._proxiers:
                for front, ends in frontends(ports_of(service, slices, self._config, proxier.family)).items():
                    found[front] = found.get(front, frozenset()) | ends  # a node port is of both families
        return found


def _distinct(step: Step) -> Step:
    """Both families ask for the same device and the same sysctls: once is enough."""
    gone, new = ({item.order: item for item in items} for items in (step.gone, step.new))
    return Step(tuple(gone.values()), tuple(new.values()))
