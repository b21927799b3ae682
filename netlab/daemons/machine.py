"""The composition root of one-shot verbs: this Linux machine, with everything that labs need of it.

It only wires: each method is one call into the kernel room, and rooms are imported by their first use, so that a verb
that needs no packets does not pay for them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from netlab.kernel import netns
from netlab.lab.machine import Learnt, Ledger, Probes, RuleCount, Visitor

if TYPE_CHECKING:
    from netlab.kernel.apply import Kernel
    from netlab.lab.capture.packet import Listener
    from netlab.model import HostState


@dataclass(slots=True)
class Watch:
    """See `netlab.lab.machine.OpenTaps`."""

    listener: Listener
    linktypes: list[int]


class LinuxMachine:
    """This machine. after_operation: see `LinuxBackend`; the kill test's hook."""

    def __init__(self, *, after_operation: Callable[[], None] | None = None) -> None:
        self._after = after_operation
        self._nursery: netns.Nursery | None = None

    def require_root(self) -> None:
        netns.require_root()

    def iptables_variant(self) -> str:
        from netlab.kernel.probe import iptables_variant

        return iptables_variant()

    def need(self, feature: str) -> None:
        from netlab.kernel.probe import need

        need(feature)

    @contextlib.contextmanager
    def expecting(self, namespaces: int) -> Iterator[None]:
        with netns.Nursery(namespaces) as self._nursery:
            try:
                yield
            finally:
                self._nursery = None

    def network(self, ledger: Ledger, *, iptables: str | None) -> Kernel:
        from netlab.kernel.apply import Kernel
        from netlab.kernel.linux import LinuxBackend

        backend = LinuxBackend(iptables=iptables, nursery=self._nursery, after_operation=self._after)
        return Kernel(backend, ledger)

    def namespaces(self) -> set[str]:
        return set(netns.names())

    def identity(self, name: str) -> int | None:
        return netns.inode(name)

    def delete_namespaces(self, names: Sequence[str]) -> int:
        count = 0
        for name in names:
            count += netns.delete(name)
            if self._after:
                self._after()
        return count

    def _inodes(self, names: Sequence[str]) -> set[int]:
        return {number for number in map(netns.inode, names) if number is not None}

    def visitors(self, names: Sequence[str]) -> list[Visitor]:
        from netlab.kernel import processes

        return [Visitor(identity.pid, command) for identity, command in processes.inside(self._inodes(names))]

    def expel(self, names: Sequence[str]) -> list[Visitor]:
        from netlab.kernel import processes

        found = processes.inside(self._inodes(names))
        if found:
            processes.stop(identity for identity, _ in found)
        return [Visitor(identity.pid, command) for identity, command in found]

    def web_server(self, name: str, serve: Sequence[tuple[int, str]]) -> list[str]:
        from netlab.kernel.supervise import python

        ports = [word for port, protocol in serve for word in (f"--{protocol}", str(port))]
        return python("netlab.daemons.web", "--name", name, *ports)

    def netlab(self) -> list[str]:
        return [sys.executable, "-m", "netlab.cli.main"]

    def claims(self, path: Path) -> HostState:
        from netlab.kernel.ledger import read_claims
        from netlab.model import HostState

        found = (claims.states.get(netns.HERE, HostState()) for claims in read_claims(path).values())
        return HostState.of(item for state in found for item in state)

    def start_processes(self, run_dir: Path) -> None:
        from netlab.kernel import supervise

        supervise.ensure_supervisor(run_dir)

    def stop_processes(self, run_dir: Path) -> None:
        from netlab.kernel import supervise

        supervise.stop_supervisor(run_dir)

    def processes(self, run_dir: Path) -> dict[str, dict[str, Any]]:
        from netlab.kernel import supervise

        return supervise.supervised(run_dir)

    def read(self, names: Sequence[str], *, iptables: str | None) -> dict[str, HostState]:
        from netlab.kernel.linux import LinuxBackend
        from netlab.model import HostState

        backend = LinuxBackend(iptables=iptables)
        return backend.read({name: HostState() for name in names}, everything=True)

    def neighbours(self, name: str) -> list[Learnt]:
        from netlab.kernel import observe

        return [Learnt(*entry) for entry in observe.neighbours(name)]

    def forwarding(self, name: str) -> list[Learnt]:
        from netlab.kernel import observe

        return [Learnt(*entry) for entry in observe.forwarding(name)]

    def sysctl(self, name: str, setting: str) -> str | None:
        from netlab.kernel import observe

        return observe.sysctl(name, setting)

    def counters(self, name: str, family: int, table: str, *, iptables: str) -> list[RuleCount]:
        from netlab.kernel.iptables import Iptables
        from netlab.model.iptables import quoted

        found = Iptables(iptables).counters(name, 4 if family == 4 else 6, table)
        return [RuleCount(table, c.chain, quoted(c.args), c.packets, c.bytes) for c in found]

    def bgp(self, socket: Path, request: Mapping[str, Any]) -> Any:
        from netlab.daemons.bgpcontrol import ask

        return ask(socket, dict(request))

    def probes(self) -> Probes:
        from netlab.kernel.probes import NamespaceProbes

        return NamespaceProbes()  # type: ignore[return-value]  # its Answer is the same tuple, made without lab/

    @contextlib.contextmanager
    def taps(self, devices: Sequence[tuple[str, str]], expression: str = "") -> Iterator[Watch]:
        from netlab.kernel import packets

        with packets.Taps.open(devices, expression) as opened:
            yield Watch(opened, [tap.linktype for tap in opened.taps])

    def devices(self, name: str) -> list[str]:
        from netlab.kernel import packets

        return [device for device, _, _ in packets.devices(name)]

    def become(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], files: Mapping[str, str] | None = None
    ) -> NoReturn:
        from netlab.kernel import commands

        commands.enter_and_exec(name, argv, env, files)

    def wireshark(self) -> AbstractContextManager[BinaryIO]:
        from netlab.kernel import commands

        return commands.feeding(["wireshark", "-k", "-i", "-"])

    def draw(self, dot: str) -> str:
        from netlab.kernel import commands

        return commands.run_in(None, ["dot", "-Tsvg"], stdin=dot, check=True).stdout
