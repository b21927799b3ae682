"""`netlab bgpd`: the speaker as a process. It works in the network namespace that it was started in.

Signals: HUP reads the configuration again, and sessions that it does not change go on; TERM and INT end the sessions
with a word and take the routes back; USR2 leaves for a restart: no word, routes stay (RFC 4724), and so do they after a
crash. What is claimed of the kernel is in a file beside the control socket, so that the next run knows what is ours.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from netlab.base.addresses import Address
from netlab.base.errors import ConflictError, InputError, MachineError, NetlabError
from netlab.bgp.config import Config, load
from netlab.bgp.eventlog import EventLog
from netlab.bgp.fib import Looked
from netlab.bgp.speaker import Speaker
from netlab.daemons.bgpcontrol import Control, Metrics
from netlab.kernel import netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.reach import Reach
from netlab.model import HostState
from netlab.model.l3 import Route

RUN_DIR = Path("/run/netlab/bgp")


class HostKernel:
    """This process's namespace, as `netlab.bgp.fib.Kernel` wants it. claims: the file that remembers what is ours."""

    def __init__(self, owner: str, claims: Path, *, protocol: str) -> None:
        self.owner = owner
        self._backend = LinuxBackend()
        self._ledger = FileLedger(claims)
        self._kernel = DaemonKernel(self._backend, self._ledger)
        self._reach = Reach(protocol)

    def held(self) -> HostState:
        claimed = self._ledger.load(self.owner).states.get(netns.HERE, HostState())
        if not claimed:
            return claimed
        # the namespace may be a new one, or somebody else has cleaned up
        there = {route.order: route for route in self._backend.read({netns.HERE: HostState()})[netns.HERE].all(Route)}
        kept = claimed.where(lambda item: there.get(item.order) == item)
        if len(kept) != len(claimed):
            self._kernel.transition(
                netns.HERE, self.owner, claimed.where(lambda i: there.get(i.order) != i), HostState()
            )
        return kept

    def transition(self, was: HostState, wanted: HostState) -> None:
        self._kernel.transition(netns.HERE, self.owner, was, wanted)

    def apply(self, wanted: HostState) -> None:
        self._kernel.apply(netns.HERE, self.owner, wanted)

    def lookup(self, address: Address, dev: str = "") -> Looked | None:
        found = self._reach.lookup(address, dev)
        return Looked(*found) if found else None

    def fileno(self) -> int:
        return self._reach.fileno()

    def drain(self) -> frozenset[str]:
        return self._reach.drain()

    def other_address(self, address: Address, version: int) -> Address | None:
        here = self._reach.addresses()
        dev = next((dev for dev, interface in here if interface.ip == address), None)
        found = (i.ip for d, i in here if d == dev and i.version == version and not i.ip.is_link_local)
        return next(found, None)

    def close(self) -> None:
        """Give the sockets back; the routes stay."""
        self._reach.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. socket: None for the usual place; metrics: (host, port) or None."""

    config: Path
    socket: Path | None = None
    event_log: Path | None = None
    metrics: tuple[str, int] | None = None
    this_machine: bool = False


def in_first_namespace() -> bool:
    """Whether this process is in the network namespace of the machine itself, as far as that can be told.

    A namespace that has a name is not; one without a name is if it is that of process 1, which not everybody may see:
    then it counts as the machine's.
    """
    ours = netns.inode(netns.HERE)
    if any(netns.inode(name) == ours for name in netns.names()):
        return False
    try:
        return Path("/proc/1/ns/net").stat().st_ino == ours
    except PermissionError:
        return True


def socket_path(config: Config, options: Options) -> Path:
    """Where the control socket is: as asked for, or by the router's name."""
    return options.socket or RUN_DIR / f"{config.name}.sock"


def _locked(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        name = path.with_suffix(".sock")
        raise ConflictError(f"a bgpd runs at {name} already", hint="end it first, or give another --socket") from None
    return file


def run(options: Options) -> None:
    """Until a signal ends it. InputError, ConflictError, MachineError."""
    config = load(options.config)
    if config.kernel.install:
        netns.require_root()
        if in_first_namespace() and not options.this_machine:
            raise MachineError(
                "this is the machine's own network namespace, and bgpd would change its routes",
                hint="run it in a namespace (ip netns exec NAME netlab bgpd …), give --this-machine if its own "
                "routes are meant, or set router.kernel.install to false",
            )
    # a table is many small objects that stay: looking for garbage among them again and again is the greatest cost
    gc.set_threshold(200_000, 20, 100)
    socket = socket_path(config, options)
    with _locked(socket.with_suffix(".lock")):
        asyncio.run(_serve(config, options, socket))


async def _serve(config: Config, options: Options, socket: Path) -> None:
    log = EventLog(options.event_log)
    kernel = None
    if config.kernel.install:
        kernel = HostKernel(f"bgpd/{config.name}", socket.with_suffix(".claims"), protocol=config.kernel.protocol)
    speaker = Speaker(config, kernel=kernel, log=log)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    how: dict[str, bool] = {"quietly": False}

    def end(quietly: bool) -> None:
        how["quietly"] = quietly
        ended.set()

    tasks: set[asyncio.Task[Any]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(speaker, options.config, log))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, False)
    loop.add_signal_handler(signal.SIGUSR2, end, True)
    loop.add_signal_handler(signal.SIGHUP, reload)
    control = Control(speaker, lambda: _reload(speaker, options.config, log), end)
    metrics = Metrics(speaker)
    try:
        await speaker.start()
        await control.start(socket)
        if options.metrics:
            await metrics.start(*options.metrics)
        await ended.wait()
    finally:
        await control.stop()
        await metrics.stop()
        await speaker.stop(quietly=how["quietly"])
        if kernel is not None:
            kernel.close()


async def _reload(speaker: Speaker, path: Path, log: EventLog) -> dict[str, Any]:
    """Read the file again. What is wrong with it is told, and the old configuration goes on."""
    try:
        config = load(path)
        if config.name != speaker.config.name:
            raise InputError("router.name cannot change while bgpd runs", hint="end it and start it anew")
        if config.kernel.install != speaker.config.kernel.install or config.kernel.protocol != (
            speaker.config.kernel.protocol
        ):
            raise InputError("router.kernel cannot change while bgpd runs", hint="end it and start it anew")
        await speaker.configure(config)
    except NetlabError as e:
        log.write("local", {"event": "reload refused", "why": str(e)})
        print(f"reload refused: {e}", flush=True)
        return e.as_json()
    log.write("local", {"event": "reloaded"})
    return {"reloaded": str(path), "peers": len(config.peers)}
