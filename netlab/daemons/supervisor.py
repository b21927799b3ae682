"""The supervisor of a lab's processes: one per lab, `python -m netlab.daemons.supervisor RUN_DIR`.

    RUN_DIR/processes.json    what should run (read at the start and at SIGHUP)
    RUN_DIR/supervised.json   what runs (written anew at each change, by rename)
    RUN_DIR/supervisor.lock   flock'ed as long as a supervisor lives; holds its number and start time
    RUN_DIR/log/NAME.log      what each process prints, slashes in its name turned into dots
    RUN_DIR/notify/NAME       where a process with `notify` says that it is ready (sd_notify(3))

A process is in a network namespace (`netns`), or in all namespaces of another one (`inside`) as soon as that is
ready, and in a control group (`cgroup`). With `init` it is the first of a process namespace of its own, which ends with
it, and `unplug` names the network namespace that shall then end as well. `listen` are addresses where sockets are
opened before it is anywhere else; they stay open while it is started again. `call` is `module:function` instead of a
program: the module is loaded once, here, and such processes are forks of this one, which share what was loaded.

One thread, one select: signals arrive through a wakeup pipe, the timeout is the next restart or the next KILL. As a
child subreaper (prctl(2)) it inherits what its children leave behind, so SIGCHLD and waitpid tell it of every end, and
"no child left" is a fact of the kernel. Its direct children are killed by the kernel if it is itself (PDEATHSIG).

SIGTERM, SIGINT: stop everything (TERM, 2 s, KILL), exit 0. SIGHUP: read the file again; stop what was removed or
changed, start what is new, has failed or has exited by an error, leave the rest alone. Standard library only: it is to
start fast.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.base.errors import NetlabError
from netlab.kernel import netns, processes, syscalls

if TYPE_CHECKING:
    import socket

#: seconds from TERM to KILL
GRACE = 2.0
#: seconds before a restart: doubling from the first to the last
BACKOFF_FIRST, BACKOFF_LAST = 0.1, 10.0
#: a process that lived for that many seconds is given a fresh start
HEALTHY_AFTER = 10.0
#: how many connections may wait at a socket of `listen`
BACKLOG = 1024
RESTARTS = ("always", "on-failure", "never")

Spec = dict[str, Any]
_DEFAULTS: Spec = {
    "netns": None, "inside": None, "cgroup": None, "init": False, "unplug": None, "listen": [], "call": None,
    "restart": "always", "env": {}, "cwd": "/", "notify": False,
}  # fmt: skip


def parse(text: str) -> dict[str, Spec]:
    """processes.json to specs by name, in the file's order. ValueError says what is wrong with which."""
    data = json.loads(text)
    specs: dict[str, Spec] = {}
    for given in data["processes"]:
        spec = {**_DEFAULTS, **given}
        name, argv = spec.get("name"), spec.get("argv")
        if not isinstance(name, str) or not name or name in specs:
            raise ValueError(f"a process needs a name of its own, not {name!r}")
        if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
            raise ValueError(f"{name}: argv must be a list of words")
        if spec["restart"] not in RESTARTS:
            raise ValueError(f"{name}: restart must be one of {', '.join(RESTARTS)}, not {spec['restart']!r}")
        if spec["call"] is not None and ":" not in spec["call"]:
            raise ValueError(f"{name}: call must be module:function, not {spec['call']!r}")
        specs[name] = spec
    for name, spec in specs.items():
        if spec["inside"] is not None and (spec["inside"] not in specs or specs[spec["inside"]]["inside"] is not None):
            raise ValueError(f"{name}: there is no {spec['inside']} to be inside of")
    return specs


def log_path(run_dir: Path, name: str) -> Path:
    """Where the output of a process goes."""
    return run_dir / "log" / (name.replace("/", ".") + ".log")


def notify_path(run_dir: Path, name: str) -> Path:
    """Where a process sends `READY=1`."""
    return run_dir / "notify" / name.replace("/", ".")


class Process:
    """One supervised process: what is wanted of it (`spec`), and how it stands."""

    def __init__(self, name: str, spec: Spec) -> None:
        self.name = name
        self.spec: Spec | None = spec  # None: removed from the file, to be forgotten when it has ended
        self.running: Spec | None = None  # the spec under which it was started
        self.spawning: processes.Spawning | None = None
        self.identity: processes.Identity | None = None
        self.state = "backoff"
        self.since = time.time()
        self.started = 0.0
        self.restarts = 0
        self.delay = BACKOFF_FIRST
        self.due: float | None = 0.0  # monotonic time of the next start
        self.kill_at: float | None = None  # monotonic time of the KILL, if it was told to stop
        self.last_exit: int | None = None
        self.reason: str | None = None
        self.ready = False  # it runs, and if it is one that tells, it has told
        self.notified: socket.socket | None = None
        self.listening: dict[str, socket.socket] = {}

    def become(self, state: str, reason: str | None = None) -> None:
        """Change state, now."""
        self.state, self.reason, self.since = state, reason, time.time()

    def start(self, run_dir: Path, inside: processes.Identity | None = None) -> None:
        """Fork it; a failure to do so is a state with a reason, not an error. `confirm` tells how it went.

        inside: the process whose namespaces it is in.
        """
        assert self.spec is not None
        self.due, self.running, self.started = None, self.spec, time.monotonic()
        env = dict(self.spec["env"])
        self.ready = False
        with self._failing():
            if self.spec["notify"]:
                self._listen(notify_path(run_dir, self.name))
                env["NOTIFY_SOCKET"] = str(notify_path(run_dir, self.name))
            sockets = [self._listening(address) for address in self.spec["listen"]]
            self.spawning = processes.begin(
                self.spec["argv"],
                netns=self.spec["netns"],
                log=log_path(run_dir, self.name),
                env=env,
                cwd=self.spec["cwd"],
                init=self.spec["init"],
                inside=inside,
                cgroup=self.spec["cgroup"],
                sockets=sockets,
                call=_called(self.spec["call"]) if self.spec["call"] else None,
            )

    def _listening(self, address: str) -> int:
        """The listening socket at HOST:PORT. What comes between two runs of the process waits for the second."""
        if address not in self.listening:
            import socket

            host, _, port = address.rpartition(":")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host.strip("[]"), int(port)))
                sock.listen(BACKLOG)
            except OSError as e:
                sock.close()
                raise OSError(e.errno, f"{address}: {e.strerror}") from None
            self.listening[address] = sock
        return self.listening[address].fileno()

    def _listen(self, path: Path) -> None:
        """Have the socket for what it tells; what a former run of it may have said is forgotten."""
        if self.notified is not None:
            self.told()
            self.ready = False
            return
        import socket  # few labs have processes that tell, and it takes a supervisor a tenth of its start

        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        sock.bind(str(path))
        self.notified = sock

    def told(self) -> None:
        """Take note of what it has said (sd_notify(3): lines of KEY=VALUE)."""
        with contextlib.suppress(BlockingIOError):
            while self.notified is not None:
                if b"READY=1" in self.notified.recv(4096).split(b"\n") and self.state == "running":
                    self.ready = True

    def confirm(self) -> None:
        """Wait until it runs its program, if it was just forked."""
        spawning, self.spawning = self.spawning, None
        if spawning is not None:
            with self._failing():
                # unreaped, so that it has a number and a start time even if it has ended
                self.identity = processes.identify(spawning.confirm())
                self.become("running")
                self.ready = self.notified is None

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (NetlabError, OSError, ImportError, AttributeError) as e:
            self.become("failed", str(e))

    def stop(self) -> None:
        """TERM to its process group, with the KILL to follow. It is not reaped yet, so the number is still its own."""
        if self.identity and self.kill_at is None:
            self.kill_at = time.monotonic() + GRACE
            self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Signal the process and whatever it keeps in its group."""
        if self.identity:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.identity.pid, number)

    def ended(self, status: int, stopping: bool) -> None:
        """It was reaped. status: as of subprocess, minus the signal's number for a killed one."""
        now = time.monotonic()
        told = self.kill_at is not None
        self.ready = False
        self.identity, self.kill_at, self.last_exit = None, None, status
        if stopping or self.spec is None:
            self.become("exited")
        elif told:  # its spec has changed
            self.delay, self.due = BACKOFF_FIRST, now
            self.become("backoff", "changed")
        elif self.spec["restart"] == "always" or (self.spec["restart"] == "on-failure" and status != 0):
            if now - self.started >= HEALTHY_AFTER:
                self.delay = BACKOFF_FIRST
            self.due, self.restarts = now + self.delay, self.restarts + 1
            self.become("backoff", f"restart in {self.delay:g} s")
            self.delay = min(2 * self.delay, BACKOFF_LAST)
        else:
            self.become("exited")

    def as_json(self) -> dict[str, Any]:
        """Its line of supervised.json."""
        pid, start_time = self.identity or (None, None)
        return {
            "pid": pid, "start_time": start_time, "since": round(self.since, 3), "restarts": self.restarts,
            "state": self.state, "last_exit": self.last_exit, "reason": self.reason, "ready": self.ready,
            "stopping": self.kill_at is not None,
        }  # fmt: skip


def _called(name: str) -> Callable[[list[str]], int]:
    """The function `module:function`. ImportError is one of the module's, AttributeError if it has no such function."""
    module, _, function = name.partition(":")
    found: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    return found


def load(modules: Collection[str]) -> None:
    """Import what processes are forks of, with the site's packages, of which a supervisor needs none itself."""
    import gc
    import site

    if sys.flags.no_site:
        site.main()
    for module in modules:
        importlib.import_module(module)
    # what is there now is looked at by no collection any more: forks go on sharing it
    gc.collect()
    gc.freeze()


class Supervisor:
    """The loop. run_dir: of the lab; ready_fd: gets one byte when all have been started, -1 for nobody."""

    def __init__(self, run_dir: Path, ready_fd: int = -1) -> None:
        self.run_dir = run_dir
        self.ready_fd = ready_fd
        self.processes: dict[str, Process] = {}
        self.reads = 0  # how often the file has been read
        self.loaded: str | None = None  # digest of the file that has been read
        self.error: str | None = None  # why that file was not followed
        self.signals: set[int] = set()
        self.kill_all_at: float | None = None
        self.former: set[int] = set()  # sessions whose leader has ended
        self.modules: set[str] = set()  # that have been loaded
        self.written = ""
        self.selector = selectors.DefaultSelector()

    def prepare(self) -> None:
        """Become a subreaper and hear signals. From here on SIGHUP is safe."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        reader, writer = os.pipe()
        for fd in (reader, writer):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.selector.register(reader, selectors.EVENT_READ)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self.signals.add(received))
        (self.run_dir / "log").mkdir(exist_ok=True)

    def run(self) -> None:
        """Until SIGTERM and the end of the last child. ValueError or OSError if the first file is no good."""
        specs = self._read()
        self._follow(specs)
        while True:
            self._start_due()
            self._publish()
            for key, _ in self.selector.select(self._timeout()):
                if isinstance(key.data, Process):
                    key.data.told()
                else:
                    os.read(key.fd, 4096)
            received, self.signals = self.signals, set()
            if received & {signal.SIGTERM, signal.SIGINT} and self.kill_all_at is None:
                self._stop_all()
            if signal.SIGHUP in received and self.kill_all_at is None:
                self._reload()
            children_left = self._reap()
            self._kill_overdue()
            if self.kill_all_at is not None and not children_left:
                self._publish()
                return

    def _read(self) -> dict[str, Spec]:
        data = (self.run_dir / "processes.json").read_bytes()
        self.reads, self.loaded, self.error = self.reads + 1, hashlib.sha256(data).hexdigest(), None
        return parse(data.decode())

    def _reload(self) -> None:
        try:
            specs = self._read()
        except (OSError, ValueError, KeyError, TypeError) as e:
            # `loaded` is the new file's digest: whoever waits for it learns that it was refused
            self.error = f"processes.json: {type(e).__name__}: {e}"
            print(self.error, file=sys.stderr, flush=True)
            return
        self._follow(specs)

    def _follow(self, specs: dict[str, Spec]) -> None:
        for name, process in list(self.processes.items()):
            process.spec = specs.get(name)
            if process.identity is None:
                if process.spec is None:
                    self._forget(process)
                elif process.state == "failed" or process.last_exit or process.spec != process.running:
                    process.due, process.delay = 0.0, BACKOFF_FIRST
            elif process.spec != process.running:
                process.stop()
        for name, spec in specs.items():
            if name not in self.processes:
                self.processes[name] = Process(name, spec)

    def _start_due(self) -> None:
        now = time.monotonic()
        for process in self.processes.values():
            if process.due is not None and process.due <= now and not self._held(process):
                process.start(self.run_dir, self._around(process))
        for process in self.processes.values():  # all are forked before the first is waited for
            process.confirm()
            if process.notified is not None and process.notified not in self.selector.get_map():
                self.selector.register(process.notified, selectors.EVENT_READ, process)
        if self.ready_fd >= 0:
            with contextlib.suppress(BrokenPipeError):  # whoever started us has gone; nothing is wrong with us
                self._publish()
                os.write(self.ready_fd, b"1")
            os.close(self.ready_fd)
            self.ready_fd = -1
        self._load()

    def _held(self, process: Process) -> bool:
        """Whether it has to wait for another one: to be inside of, or that everything ends."""
        if self.kill_all_at is not None:
            return True
        spec = process.spec
        if spec is None or spec["inside"] is None:
            return False
        around = self.processes.get(spec["inside"])
        return around is None or not around.ready or around.kill_at is not None

    def _around(self, process: Process) -> processes.Identity | None:
        assert process.spec is not None
        inside = process.spec["inside"]
        return self.processes[inside].identity if inside else None

    def _load(self) -> None:
        """Load what is forked, when everything else is on its way."""
        named = {spec["call"].partition(":")[0] for p in self.processes.values() if (spec := p.spec) and spec["call"]}
        new = sorted(named - self.modules)
        if new:
            self.modules |= set(new)
            try:
                load(new)
            except Exception as e:  # noqa: BLE001 - it is the processes' fault, not ours: each will say so
                print(f"loading {', '.join(new)}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)

    def _timeout(self) -> float | None:
        times = [p.due for p in self.processes.values() if p.due is not None and not self._held(p)]
        times += [p.kill_at for p in self.processes.values() if p.kill_at is not None]
        if self.kill_all_at is not None and self.kill_all_at > time.monotonic():
            times.append(self.kill_all_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _stop_all(self) -> None:
        self.kill_all_at = time.monotonic() + GRACE
        for process in self.processes.values():
            process.due = None
            process.stop()
        self._signal_strays(signal.SIGTERM)

    def _reap(self) -> bool:
        """Take note of every child that has ended, and stop what the ended ones left. False if no child remains."""
        by_pid = {p.identity.pid: p for p in self.processes.values() if p.identity}
        remaining = True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                remaining = False
                break
            if pid == 0:
                break
            process = by_pid.get(pid)
            if process is not None:
                self.former.add(pid)
                if process.running and process.running["unplug"]:
                    netns.delete(process.running["unplug"])
                process.ended(os.waitstatus_to_exitcode(status), self.kill_all_at is not None)
                if process.spec is None:
                    self._forget(process)
        if self.former:
            self._kill_former()
        return remaining

    def _forget(self, process: Process) -> None:
        if process.notified is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(process.notified)
            process.notified.close()
            notify_path(self.run_dir, process.name).unlink(missing_ok=True)
        for sock in process.listening.values():
            sock.close()
        del self.processes[process.name]

    def _kill_former(self) -> None:
        """Kill what is left in the sessions of ended processes: orphans would keep the ports of the next start.

        A session's number is not given out as long as it has members, so a match is a descendant of ours.
        """
        rows = [row for row in processes.table() if row.session in self.former and not row.zombie]
        for row in rows:
            processes.send(row.identity, signal.SIGKILL)
        self.former &= {row.session for row in rows}

    def _signal_strays(self, number: int) -> None:
        """Signal all direct children that were not started by us but inherited; theirs become ours as they die."""
        known = {p.identity.pid for p in self.processes.values() if p.identity}
        for row in processes.table():
            if row.parent == os.getpid() and row.identity.pid not in known and not row.zombie:
                processes.send(row.identity, number)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for process in self.processes.values():
            if process.kill_at is not None and process.kill_at <= now:
                process.signal(signal.SIGKILL)
                process.kill_at = now + GRACE  # again, should a member of the group have been forking
        if self.kill_all_at is not None and self.kill_all_at <= now:
            self._signal_strays(signal.SIGKILL)

    def _publish(self) -> None:
        """Write supervised.json if it would differ. `settled`: nothing is to end, all that was due is started."""
        settled = all(p.kill_at is None and p.due != 0.0 for p in self.processes.values())
        state = {
            "reads": self.reads, "loaded": self.loaded, "settled": settled, "error": self.error,
            "processes": {name: process.as_json() for name, process in self.processes.items()},
        }  # fmt: skip
        text = json.dumps(state, indent=1)
        if text != self.written:
            draft = self.run_dir / "supervised.json.new"
            draft.write_text(text)
            draft.replace(self.run_dir / "supervised.json")
            self.written = text


def hold_lock(run_dir: Path, lock_fd: int) -> int:
    """The locked descriptor: the inherited one, or, started by hand, our own. BlockingIOError if another one runs."""
    if lock_fd < 0:
        lock_fd = os.open(run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.set_inheritable(lock_fd, False)  # a child that outlives us must not look like a supervisor
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing new if it is inherited
    return lock_fd


def main(argv: list[str]) -> int:
    """RUN_DIR [--lock-fd N] [--ready-fd N]. 0 after SIGTERM, 1 if another supervisor runs, 2 for bad input."""
    options = dict(zip(argv[1::2], argv[2::2], strict=False))
    if not argv or len(argv) % 2 == 0 or options.keys() - {"--lock-fd", "--ready-fd"}:
        print("usage: python -m netlab.daemons.supervisor RUN_DIR [--lock-fd N] [--ready-fd N]", file=sys.stderr)
        return 2
    run_dir, ready_fd = Path(argv[0]).absolute(), int(options.get("--ready-fd", -1))
    try:
        lock_fd = hold_lock(run_dir, int(options.get("--lock-fd", -1)))
    except BlockingIOError:
        print(f"{run_dir}: another supervisor runs", file=sys.stderr)
        return 1
    if ready_fd >= 0:
        os.set_inheritable(ready_fd, False)
    os.chdir("/")  # where it was started from is free to go
    supervisor = Supervisor(run_dir, ready_fd)
    supervisor.prepare()
    own = processes.identify(os.getpid())
    assert own is not None
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, f"{own.pid} {own.start_time}\n".encode(), 0)
    try:
        supervisor.run()
    except (OSError, ValueError, KeyError, TypeError) as e:
        print(f"{run_dir / 'processes.json'}: {type(e).__name__}: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
