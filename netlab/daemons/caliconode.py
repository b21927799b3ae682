"""What Calico has on each node, beside its CNI plugin: it keeps the node's network as the objects say, and tells the
other nodes by BGP where this node's pods are. As calico-node is confd, BIRD and felix in one.

    datastore (objects and blocks, a directory) ─▶ HostState ─▶ kernel
                                                └▶ a speaker's configuration ─▶ sessions with the other nodes ─▶ routes

The network stays as it is when it ends, and so do the routes: the next one adopts them, and its peers keep them for a
while (RFC 4724).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from asyncinotify import Inotify, Mask

from netlab.base.aio import in_thread
from netlab.base.errors import InputError, KernelError, MachineError
from netlab.base.lockedfiles import put
from netlab.bgp import config as bgp_config
from netlab.bgp.eventlog import EventLog
from netlab.bgp.speaker import Speaker
from netlab.calico import bgp as speakers
from netlab.calico import node as nodes
from netlab.calico.ipam import Ipam
from netlab.calico.objects import Objects
from netlab.cni.errors import CniError
from netlab.cni.plugins.calico import Store
from netlab.daemons.bgpcontrol import Control
from netlab.daemons.bgpd import RUN_DIR as BGP
from netlab.daemons.bgpd import HostKernel
from netlab.kernel import netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState

OWNER = "calico"
CLAIMS = Path("/run/netlab/calico/claims")
DATASTORE = Path("/etc/calico/objects")
#: seconds in which several changes of the datastore count as one, and after which the kernel is looked at anyway
SETTLE, RESYNC = 0.02, 10.0
log = logging.getLogger("calico")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """node: the name of its Node object; dev: to the other nodes, mtu: of it; bgp: where the speaker's configuration
    and control socket are."""

    node: str
    datastore: Path = DATASTORE
    dev: str = "eth0"
    mtu: int = 1500
    claims: Path = CLAIMS
    bgp: Path = BGP


async def serve(options: Options, *, ready: Callable[[], object]) -> None:
    """Be that until cancelled. ready: called when network and speaker are what the objects say. MachineError."""
    store = Store(options.datastore)
    kernel = DaemonKernel(LinuxBackend(), FileLedger(options.claims))
    async with AsyncExitStack() as stack:
        speaker: Speaker | None = None
        told = last = ""
        async for objects in _changes(store):
            try:
                wanted, text = _decided(options, objects)
                await in_thread(kernel.apply, netns.HERE, OWNER, wanted)
            except (InputError, KernelError) as e:
                if e.message != told:
                    log.error("%s; what was before stays", e)
                    told = e.message
                continue
            if speaker is None:
                speaker = await _speaker(options, text, stack)
                log.info("ready: %d peers", len(speaker.peers))
                ready()
            elif text != last:
                _write(options, text)
                await speaker.configure(bgp_config.loads(text, str(_config(options))))
            told, last = "", text


def _decided(options: Options, objects: Objects) -> tuple[HostState, str]:
    """The node's network, and its speaker's configuration. InputError if it has no Node object."""
    node = next((node for node in objects.nodes if node.name == options.node), None)
    if node is None:
        raise InputError(f"the datastore has no Node {options.node}")
    ipam = Ipam.of(objects)
    # pods' cables are the CNI plugin's, blocks' blackhole routes the speaker's, which announces them
    state = nodes.host_state(node, objects, ipam, [], dev=options.dev, mtu=options.mtu, blackholes=False)
    return state.stamped(OWNER), orjson.dumps(speakers.config(node, objects, ipam), option=orjson.OPT_INDENT_2).decode()


def _config(options: Options) -> Path:
    return options.bgp / f"{options.node}.yaml"


def _write(options: Options, text: str) -> None:
    put(_config(options), text.encode())


async def _speaker(options: Options, text: str, stack: AsyncExitStack) -> Speaker:
    """One that runs, and answers `netlab bgp`; stopped and closed by the stack."""
    _write(options, text)
    config = bgp_config.loads(text, str(_config(options)))
    claims = options.bgp / f"{options.node}.claims"
    kernel = HostKernel(f"bgpd/{config.name}", claims, protocol=config.kernel.protocol)
    stack.callback(kernel.close)
    speaker = Speaker(config, kernel=kernel, log=EventLog(None))
    await speaker.start()
    stack.push_async_callback(lambda: speaker.stop(quietly=True))

    async def reload() -> dict[str, Any]:
        return {"reloaded": str(_config(options)), "peers": len(speaker.config.peers)}

    control = Control(speaker, reload, lambda _quietly: None)
    await control.start(options.bgp / f"{options.node}.sock")
    stack.push_async_callback(control.stop)
    return speaker


async def _changes(store: Store) -> AsyncIterator[Objects]:
    """The objects, now, whenever one of them changes, and now and then. MachineError without the directory."""
    with Inotify() as inotify:
        try:
            inotify.add_watch(store.directory, Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.DELETE)
        except OSError as e:
            raise MachineError(f"datastore {store.directory}: {e.strerror}") from e
        while True:
            try:
                yield store.objects()
            except CniError as e:
                log.error("%s; what was before stays", e)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESYNC):
                    await inotify.get()
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(SETTLE):
                        await inotify.get()
