"""Composition root of CNI: a plugin as an executable, and a runner of plugins, on this machine's kernel.

    CNI_COMMAND=ADD … bridge < config.json        `netlab cni install` puts such an executable where a runtime looks
    runner().add(network, attachment)             the runtime's side: our plugins in this process, others as executables

What every attachment has asked for is in /var/lib/cni/netlab, a file for each. Rooms are imported by their first use: a
plugin runs as often as containers come and go, and most of its time is Python's start.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from netlab.base import lockedfiles as files
from netlab.base.errors import KernelError, MachineError
from netlab.cni.errors import CniError, Code
from netlab.cni.machine import HOST, Owner
from netlab.cni.plugins import PLUGINS, plugin
from netlab.cni.protocol import serve
from netlab.cni.runner import Runner, said
from netlab.model import HostState

if TYPE_CHECKING:
    from netlab.kernel.apply import Backend, Kernel
    from netlab.kernel.ledger import FileLedger

CLAIMS = Path("var/lib/cni/netlab")
#: where Debian's package puts the reference plugins, and where Kubernetes looks
SEARCH = ("/opt/cni/bin", "/usr/lib/cni")
#: seconds that another plugin may take
PATIENCE = 60


def _linux(paths: Collection[str]) -> Backend:
    from netlab.kernel.linux import LinuxBackend

    return LinuxBackend(paths=paths)


class KernelMachine:
    """This machine, for plugins. search: directories of executables, in the order in which they are looked through.

    own: whether a plugin of ours is called in this process, whatever lies in those directories;
    backend: makes one that knows namespaces of these paths, beside those that have names.
    """

    def __init__(
        self, *, root: Path = Path("/"), search: Sequence[str] = SEARCH, own: bool = True,
        backend: Callable[[Collection[str]], Backend] = _linux,
    ) -> None:  # fmt: skip
        self.root = root
        self._search, self._own, self._backend = tuple(search), own, backend

    # -- networks

    def see(self, netns: str) -> HostState | None:
        backend = self._backend([netns])
        return backend.read({netns: HostState()})[netns] if netns in backend.names() else None

    def apply(self, owner: Owner, wanted: Mapping[str, HostState]) -> None:
        name, path = str(owner), self._path(owner)
        kernel = self._kernel(self._ledger(path), wanted)
        existing = set(kernel.backend.names())
        gone = [ns for ns in wanted if ns not in existing]
        if gone:
            raise CniError(Code.UNKNOWN_CONTAINER, f"there is no network namespace {gone[0]}")
        if not path.exists():
            self._free(kernel, wanted)
        try:
            kernel.apply_all(name, {ns: state.stamped(name) for ns, state in wanted.items()})
        except (KernelError, MachineError):
            with contextlib.suppress(KernelError, MachineError):  # what went wrong first is what should be heard
                self.release(owner)
            raise

    def _free(self, kernel: Kernel, wanted: Mapping[str, HostState]) -> None:
        """CniError (7) if a device that is to be made is there already. `lo` is everybody's."""
        from netlab.model import Link, Loopback

        seen = kernel.backend.read(dict.fromkeys(wanted, HostState()))
        for ns, state in sorted(seen.items(), key=lambda pair: pair[0] == HOST):
            for link in wanted[ns].all(Link):
                if not isinstance(link.kind, Loopback) and state.link(link.name):
                    where = "the host" if ns == HOST else ns
                    raise CniError(Code.CONFIG, f"{link.name} is there already in {where}", "expected to make it anew")

    def share(self, network: str, plugin: str, wanted: HostState) -> None:
        owner = f"cni {network} {plugin}"
        path = self._directory / network / f"{plugin}.shared"
        with files.locked(self._directory / network / ".lock"):
            from netlab.kernel.ledger import joined

            kernel = self._kernel(self._ledger(path), {})
            claimed = kernel.ledger.load(owner).states.get(HOST, HostState())
            kernel.apply(HOST, owner, joined(claimed, wanted.stamped(owner)))

    def release(self, owner: Owner) -> None:
        path = self._path(owner)
        if not path.exists():
            return
        from netlab.kernel.ledger import LastLedger

        name, ledger = str(owner), LastLedger(path)
        states = ledger.load(name).states
        kernel = self._kernel(ledger, states)
        # what is in a namespace that has gone, has gone with it. Where the cable from the host ends nothing is touched:
        # it goes with its other end, and a path such as /proc/PID/ns/net may be somebody else's by now
        existing = set(kernel.backend.names())
        mine = [ns for ns, state in states.items() if ns in existing and not _hangs_on_a_cable(state)]
        kernel.apply_all(name, {ns: HostState() for ns in mine})
        path.unlink(missing_ok=True)

    def missing(self, owner: Owner) -> list[str]:
        path = self._path(owner)
        if not path.exists():
            raise CniError(Code.UNKNOWN_CONTAINER, f"{owner.container_id} is not attached to {owner.network} by us")
        name = str(owner)
        ledger = self._ledger(path)
        states = ledger.load(name).states
        kernel = self._kernel(ledger, states)
        existing = set(kernel.backend.names())
        gone = [f"namespace {ns} is gone" for ns in states if ns not in existing]
        plans = kernel.plan_all(name, {ns: state for ns, state in states.items() if ns in existing})
        return gone + [f"{op.item} is not as it was made" for ops in plans.values() for op in ops]

    def owners(self, network: str, plugin: str) -> Collection[Owner]:
        directory = self._directory / network
        names = [path.name.split(":") for path in directory.glob("*:*:*")] if directory.is_dir() else []
        return [Owner(network, *parts) for parts in sorted(names) if len(parts) == 3 and parts[2] == plugin]

    @property
    def _directory(self) -> Path:
        return self.root / CLAIMS

    def _path(self, owner: Owner) -> Path:
        return self._directory / owner.network / f"{owner.container_id}:{owner.ifname}:{owner.plugin}"

    def _ledger(self, path: Path) -> FileLedger:
        from netlab.kernel.ledger import FileLedger

        return FileLedger(path)

    def _kernel(self, ledger: FileLedger, namespaces: Mapping[str, HostState]) -> Kernel:
        from netlab.kernel.apply import Kernel

        return Kernel(self._backend([ns for ns in namespaces if ns.startswith("/")]), ledger)

    # -- other plugins

    def call(self, kind: str, command: str, config: Mapping[str, Any], environment: Mapping[str, str]) -> bytes:
        env = {**environment, "CNI_COMMAND": command, "CNI_PATH": environment.get("CNI_PATH") or ":".join(self._search)}
        stdin = orjson.dumps(config)
        ours = plugin(kind) if self._own else None
        if ours is not None:
            status, output = serve(kind, ours, env, stdin, self)
            return said(output, status, kind)
        from netlab.kernel.commands import run_in

        done = run_in(None, [str(self._find(kind, env["CNI_PATH"]))], stdin=stdin.decode(), env=env, timeout=PATIENCE)
        return said(done.stdout.encode(), done.returncode, kind, done.stderr)

    def _find(self, kind: str, search: str) -> Path:
        if "/" in kind:
            raise CniError(Code.CONFIG, f"{kind!r} is no plugin's name", "expected a name without a slash")
        for directory in filter(None, search.split(":")):
            path = Path(directory, kind)
            if path.is_file() and os.access(path, os.X_OK):
                return path
        hint = f"netlab has {', '.join(PLUGINS)}; apt-get install containernetworking-plugins brings more"
        raise CniError(Code.PLUGIN, f"there is no plugin {kind} in {search}", hint)


def runner(*, root: Path = Path("/"), search: Sequence[str] = SEARCH, own: bool = True) -> Runner:
    """A runtime's runner on this machine. root: below which its files are, for a node that has its own."""
    return Runner(KernelMachine(root=root, search=search, own=own), root)


def main(name: str | None = None) -> NoReturn:
    """Be a plugin: as the executable that was called, or `name`. Ends the process, without taking it apart first."""
    name = name or Path(sys.argv[0]).name
    ours = plugin(name)
    if ours is None:
        sys.exit(f"netlab has no CNI plugin {name!r}: {', '.join(PLUGINS)}")
    stdin = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    search = os.environ.get("CNI_PATH", "")
    root = Path(os.environ.get("NETLAB_CNI_ROOT", "/"))
    status, output = serve(name, ours, dict(os.environ), stdin, KernelMachine(root=root, search=search.split(":")))
    sys.stdout.buffer.write(output)
    sys.stdout.flush()
    os._exit(status)


def _hangs_on_a_cable(state: HostState) -> bool:
    """Whether all that was asked for in a container's namespace is on a cable whose other end is on the host."""
    from netlab.model import Link, Veth

    return any(isinstance(link.kind, Veth) and link.kind.peer_netns == HOST for link in state.all(Link))


_STUB = """#!{python} -Es
from netlab.daemons.cni import main
main({name!r})
"""


def install(directory: Path, *, prefix: str = "", names: Sequence[str] = tuple(PLUGINS)) -> list[Path]:
    """Put our plugins where a runtime looks for them. The files, written whole, replace what was there."""
    made = []
    for name in names:
        path = directory / f"{prefix}{name}"
        try:
            files.put(path, _STUB.format(python=sys.executable, name=name).encode())
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError as e:
            raise MachineError(f"{path} cannot be written: {e.strerror}") from e
        made.append(path)
    return made
