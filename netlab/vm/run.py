"""One VM from its first question to its end: QEMU started as our child, bytes and signals carried, nothing left behind.

QEMU ends with the guest; with us, however we end (the kernel kills it, and a living guest powers off when its control
port closes); at the limit; and when a signal has been passed on and the guest has not ended within a grace time.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netlab.base import patience
from netlab.base.errors import InputError, KernelError, MachineError, Problem
from netlab.kernel import processes
from netlab.vm import guest, kernels, qemu
from netlab.vm.kernels import Kernel

#: seconds from start to the command; under TCG on a quiet machine it takes 10, and this is for a busy one
BOOT_LIMIT = 180.0
#: seconds that a command has to end after a signal, before the machine is switched off
GRACE = 10.0
#: seconds in which a probe boot must be through; with a working KVM it takes two, with a broken one it never ends
KVM_LIMIT = 10.0
#: what a guest hears of netlab's own waits where its processor is emulated
EMULATED_PATIENCE = "6"
#: what the guest's command inherits of our environment
PASSED_ON = ("TERM", "LANG", "LC_ALL", "NO_COLOR", "COLORTERM", "HYPOTHESIS_PROFILE")
_PASSED_PREFIX = "NETLAB_"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: tool: package, of what a run takes beside the kernel
TOOLS = {
    qemu.PROGRAM: "qemu-system-x86",
    "modprobe": "kmod",
    "depmod": "kmod",
    "busybox": "busybox-static",
    "file": "file",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}

DEFAULT_SIZE = qemu.Size(2, 2048)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks for. writable: directories in which writes stay; terminal: rows and columns, for a shell."""

    argv: Sequence[str]
    kernel: str = "debian"
    size: qemu.Size = DEFAULT_SIZE
    timeout: float | None = None
    writable: Sequence[Path] = ()
    terminal: tuple[int, int] | None = None


def virtme_run() -> str:
    """The path of virtme-ng's virtme-run: beside our interpreter, or in PATH. MachineError if it is not installed."""
    beside = Path(sys.executable).with_name("virtme-run")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("virtme-run")
    if found is None:
        hint = f"{sys.executable} -m pip install 'virtme-ng>=1.42,<1.43'"
        raise MachineError("virtme-ng is not installed", hint=hint)
    return found


def require_tools(*, fetching: bool = True) -> str:
    """The path of virtme-run. MachineError names all that is missing and the one command that brings it.

    fetching: whether a kernel package may have to be fetched, which is apt's and dpkg's work.
    """
    wanted = {tool: package for tool, package in TOOLS.items() if fetching or package not in ("apt", "dpkg")}
    lacking = {tool: package for tool, package in wanted.items() if shutil.which(tool) is None}
    if lacking:
        packages = " ".join(sorted(set(lacking.values())))
        raise MachineError(f"not installed: {', '.join(lacking)}", hint=f"apt-get install {packages}")
    return virtme_run()


def kvm_works(kernel: Kernel, *, cache: Path, device: Path = Path("/dev/kvm")) -> bool:
    """Whether a kernel boots with KVM here. Tried once per boot of this machine and remembered in the cache.

    A device that is there proves nothing: inside a VM it may take a guest and never run it.
    """
    if not os.access(device, os.R_OK | os.W_OK):
        return False
    booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memory = cache / "kvm"
    with contextlib.suppress(OSError, ValueError):
        known, said = memory.read_text().split()
        if known == booted:
            return said == "works"
    with tempfile.TemporaryDirectory(prefix="netlab-kvm-") as room:
        pid = processes.spawn(qemu.kvm_probe(kernel), netns=None, log=Path(room) / "log")
        works = _ended(pid, KVM_LIMIT) == 0
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        memory.write_text(f"{booted} {'works' if works else 'fails'}\n")
    return works


def _ended(pid: int, limit: float) -> int | None:
    """The exit status of a child, or None if it had to be killed because it was not done in time."""
    fd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        in_time = bool(poll.poll(limit * 1000))
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if in_time else None


def environment(ours: Mapping[str, str], *, emulated: bool) -> dict[str, str]:
    """What the guest's command gets as its environment. NETLAB_VM says where it is.

    emulated: whether its processor is, at a tenth of the speed: then netlab has to be more patient there.
    """
    passed = {k: v for k, v in ours.items() if k in PASSED_ON or k.startswith(_PASSED_PREFIX)}
    path = ours.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    slow = {patience.VARIABLE: EMULATED_PATIENCE} if emulated else {}
    return {**slow, **passed, "PATH": path, "HOME": "/root", "USER": "root", "LOGNAME": "root", "NETLAB_VM": "1"}


def checked_directories(directories: Sequence[Path]) -> list[str]:
    """The directories to be written to, absolute. InputError names those that are none."""
    bad = [d for d in directories if not d.is_dir()]
    if bad:
        raise InputError([Problem("--write", f"{d} is not a directory", f"mkdir -p {d}") for d in bad])
    return [str(d.resolve()) for d in directories]


def run(request: Request, *, say: Say = lambda _: None, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> int:
    """Run the command in a VM of its own, and return its exit status.

    MachineError if something is missing, InputError for a bad request, KernelError if the guest does not come up, is
    not done in time, or ends without a status. say: remarks for the person, such as what is being fetched.
    """
    writable = checked_directories(request.writable)
    virtme = require_tools(fetching=request.kernel == "debian")
    cache = kernels.cache_dir()
    kernel = kernels.find(request.kernel, cache=cache, say=say)
    if kernel.modules is None:
        say(f"no modules of {kernel.release} were found: {kernel.image} has to have virtio, 9p and overlay built in")
    kvm = kvm_works(kernel, cache=cache)
    with tempfile.TemporaryDirectory(prefix="netlab-vm-") as name:
        room = Path(name)
        share = room / "share"
        share.mkdir()
        task = guest.Task(
            argv=request.argv,
            cwd=str(Path.cwd()),
            env=environment(os.environ, emulated=not kvm),
            writable=writable,
            modules=str(kernel.modules) if kernel.modules else None,
            size=request.terminal,
        )
        (share / "start").write_text(guest.script(task))
        initramfs = room / "initramfs"
        asked = qemu.virtme_command(
            virtme, kernel, size=request.size, kvm=kvm, share=share, writable=writable, initramfs=initramfs
        )
        # virtme-run makes a file for the status where TMPDIR is: it goes with the room
        answer = kernels.run_tool(["env", f"TMPDIR={room}", *asked], 60)
        sockets = {port: room / f"{port}.sock" for port in guest.PORTS}
        argv = qemu.command(answer.stdout, console=room / "console", sockets=sockets, stdin=room / "in")
        os.mkfifo(room / "in", 0o600)
        return Session(argv, room, sockets, request.timeout).follow(stdin, stdout, stderr)


class Session:
    """A started QEMU, its sockets, and the loop that carries between them and us."""

    def __init__(self, argv: Sequence[str], room: Path, sockets: Mapping[str, Path], timeout: float | None) -> None:
        self.argv, self.room, self.sockets, self.timeout = argv, room, sockets, timeout
        self.signalled: list[int] = []

    @property
    def started(self) -> bool:
        """Whether the guest has come as far as the command."""
        return (self.room / "share/started").exists()

    def follow(self, stdin: int, stdout: int, stderr: int) -> int:
        """Start, carry, wait; the command's exit status."""
        with contextlib.ExitStack() as stack:
            listening = {name: stack.enter_context(_listener(path)) for name, path in self.sockets.items()}
            wakeup = stack.enter_context(self._signals())
            # for both, or opening it would wait for the other end
            feed = Feed(stdin, os.open(self.room / "in", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            stack.callback(feed.close)
            pid = processes.spawn(self.argv, netns=None, log=self.room / "qemu.log")
            identity = processes.identify(pid)
            assert identity is not None  # our child: until we reap it, it has its number
            ended = os.pidfd_open(pid)
            stack.callback(os.close, ended)
            stack.callback(processes.stop, [identity], 0.5)
            ports = {name: stack.enter_context(self._accepted(sock, ended)) for name, sock in listening.items()}
            reason = self._carry(ports, ended, wakeup, feed, {ports["out"]: stdout, ports["err"]: stderr})
        return self._status(reason)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """A descriptor that is readable after a signal; the signals are noted in `signalled`."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        old = {number: signal.signal(number, lambda n, _: self.signalled.append(n)) for number in _SIGNALS}
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in old.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _accepted(self, listener: socket.socket, ended: int) -> socket.socket:
        """QEMU connects while it starts. KernelError with its own words if it ends instead."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(ended, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(30_000)}
        if listener.fileno() not in ready:
            said = (self.room / "qemu.log").read_text(errors="replace").strip()
            raise KernelError(f"QEMU did not start: {said or 'it says nothing'}")
        return listener.accept()[0]

    def _carry(
        self, ports: Mapping[str, socket.socket], ended: int, wakeup: int, feed: Feed, sinks: dict[socket.socket, int]
    ) -> str | None:
        """Until QEMU has ended and all is written. Why it had to be ended, or None if it ended by itself."""
        begun = time.monotonic()
        limit = begun + self.timeout if self.timeout else float("inf")
        patient = patience.patience(BOOT_LIMIT)
        boot, grace = begun + patient, float("inf")
        poll = select.poll()
        for fd in (wakeup, ended, *(s.fileno() for s in sinks)):
            poll.register(fd, select.POLLIN)
        open_sinks = {s.fileno(): (s, out) for s, out in sinks.items()}
        passed_on = 0
        while True:
            booting = boot if boot < float("inf") and not self.started else float("inf")
            deadline = min(limit, grace, booting)
            now = time.monotonic()
            if now >= deadline:
                if deadline == limit:
                    return f"the guest was not done after {self.timeout:g} s (--timeout), and was ended"
                if deadline == grace:
                    return None
                return f"the guest did not come up within {patient:g} s, and was ended"
            # a second at most: whether the guest has started is seen in a file
            with feed.polled(poll):
                ready = {fd for fd, _ in poll.poll(min(1.0, deadline - now) * 1000)}
            if boot < float("inf") and self.started:
                boot = float("inf")
            if wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wakeup, 64)
            for number in self.signalled[passed_on:]:
                passed_on += 1
                if passed_on > 1 or not self.started:
                    return None
                grace = time.monotonic() + GRACE
                with contextlib.suppress(OSError):
                    ports["ctl"].sendall(signal.Signals(number).name.removeprefix("SIG").encode() + b"\n")
            for fd in ready & set(open_sinks):
                source, out = open_sinks[fd]
                data = _received(source)
                if data:
                    _write_all(out, data)
                else:
                    poll.unregister(fd)
                    del open_sinks[fd]
            feed.carry(ready)
            if ended in ready and not open_sinks:
                return None

    def _status(self, reason: str | None) -> int:
        share = self.room / "share"
        if (share / "status").exists():
            return int((share / "status").read_text())
        if self.signalled:
            return 128 + self.signalled[0]
        if (share / "failure").exists():
            raise KernelError(f"the guest could not set itself up: {(share / 'failure').read_text().strip()}")
        console = self.room / "console"
        # of a guest that came up, the kernel's words are those of its boot
        words = console.read_text(errors="replace").strip()[-2000:] if console.exists() and not self.started else ""
        raise KernelError(
            (reason or "the guest ended without a status") + (f"; its kernel said:\n{words}" if words else "")
        )


class Feed:
    """Our standard input to the guest's: never more in hand than the FIFO may take at once."""

    def __init__(self, source: int, sink: int) -> None:
        self._source: int | None = source if _readable(source) else None
        self._sink: int | None = sink
        self._pending = b""

    def close(self) -> None:
        """The end of the guest's input, once what is in the FIFO is read."""
        if self._sink is not None:
            os.close(self._sink)
            self._sink = None

    @contextlib.contextmanager
    def polled(self, poll: select.poll) -> Iterator[None]:
        """Within, `poll` also waits for what comes next: input, or room for it."""
        # not before: until QEMU has the FIFO open there has to be a writer
        if self._source is None and not self._pending:
            self.close()
        fd, event = (self._sink, select.POLLOUT) if self._pending else (self._source, select.POLLIN)
        if fd is not None and self._sink is not None:
            poll.register(fd, event)
            try:
                yield
            finally:
                poll.unregister(fd)
        else:
            yield

    def carry(self, ready: set[int]) -> None:
        """Do what `ready` allows. The loop's poll made sure that it does not block."""
        if self._pending and self._sink in ready:
            with contextlib.suppress(BlockingIOError):
                self._pending = self._pending[os.write(self._sink, self._pending) :]
        elif not self._pending and self._source is not None and self._source in ready:
            self._pending = os.read(self._source, select.PIPE_BUF)
            if not self._pending:
                self._source = None


def _listener(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(1)
    return sock


def _readable(stdin: int) -> bool:
    """Whether there is a standard input, and it is ours: a terminal that another job holds would stop us."""
    try:
        return not os.isatty(stdin) or os.tcgetpgrp(stdin) == os.getpgrp()
    except OSError:
        return False


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
