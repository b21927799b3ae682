"""Containers: made, started, looked at, stopped and taken away, by runc; conmon stays with each, and writes its log.

    ROOT/containers/ID/state.json    what it is and which processes it began as
                      /config.json   what runc was told (the bundle's)
                      /rootfs        overlay of the image's layers and `upper`
                      /pid, /conmon.pid, /exit/ID, /oom
    ROOT/runc/                       runc's own state

Nothing is kept in memory: whoever opens the same directory after a restart finds all containers, and how those ended
that ended meanwhile. Logs are in the format of the Container Runtime Interface.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import orjson

from netlab.base.errors import ConflictError, KernelError, NetlabError
from netlab.base.lockedfiles import put
from netlab.kernel import cgroups, mounts, processes
from netlab.kernel.commands import Completed, missing, reported, run_in
from netlab.kernel.processes import Identity
from netlab.runtime import spec
from netlab.runtime.images.layers import unpacked
from netlab.runtime.images.store import Store
from netlab.runtime.machine import machine
from netlab.runtime.spec import Container

#: seconds that runc may take; a busy machine has its bad moments
PATIENCE = 60.0
#: what is reported of a container whose end nobody saw, as Kubernetes does
UNKNOWN_EXIT = 255


class NoContainer(NetlabError):
    """No container of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """created, started, finished: seconds since the epoch, 0 if that has not been; exit_code: 128 and the signal's
    number if one ended it; pid: as this process sees it, 0 if it does not run."""

    id: str
    image: str
    state: Literal["created", "running", "exited"]
    labels: dict[str, str]
    log: str
    pid: int = 0
    created: float = 0
    started: float = 0
    finished: float = 0
    exit_code: int = 0
    oom_killed: bool = False


class Runtime:
    """The containers of one directory. cgroup: below which all their groups are, such as `/netlab.c1.node1`."""

    def __init__(self, root: Path, images: Store, *, cgroup: str) -> None:
        self.root, self.images, self.cgroup = root, images, cgroup

    # -- making

    def create(self, name: str, container: Container, *, log: Path) -> Status:
        """A container that is ready to start. ConflictError if the name is taken; InputError, ImageError, KernelError,
        and then nothing of it is left."""
        directory = self._directory(name)
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            raise ConflictError(f"there is a container {name} already", hint="remove it first") from None
        try:
            self._create(name, container, directory, log)
        except BaseException:
            self.remove(name)
            raise
        return self.status(name)

    def _create(self, name: str, container: Container, directory: Path, log: Path) -> None:
        image = self.images.get(container.image)
        for part in ("rootfs", "upper", "work", "exit"):
            (directory / part).mkdir()
        rootfs = directory / "rootfs"
        state: dict[str, Any] = {
            "image": image.name, "labels": dict(container.labels), "log": str(log), "created": time.time(),
            "stop": image.process.get("StopSignal", "SIGTERM"),
            "cgroup": str(PurePosixPath(self.cgroup, container.cgroup, name)),
            # a pod's group goes with the last of its containers; those above are others' as well, who may be about to
            # make a group in them
            "kept": str(PurePosixPath(self.cgroup, container.cgroup).parent) if container.cgroup else "",
            "tty": container.tty, "stdin": container.stdin,
        }  # fmt: skip
        put(directory / "state.json", orjson.dumps(state))
        mounts.overlay(unpacked(self.images, image), directory / "upper", directory / "work", rootfs, once=True)
        who = spec.identity(container, image.process, _text(rootfs / "etc/passwd"), _text(rootfs / "etc/group"))
        document = spec.document(
            container, image.process, who=who, rootfs=str(rootfs), cgroup=state["cgroup"],
            machine=machine(devices=container.security.privileged),
        )  # fmt: skip
        put(directory / "config.json", orjson.dumps(document))
        log.parent.mkdir(parents=True, exist_ok=True)
        argv = [
            *self._conmon(name, directory), "--conmon-pidfile", str(directory / "conmon.pid"),
            "--exit-dir", str(directory / "exit"), "--log-path", f"k8s-file:{log}", *_conmon_streams(container),
        ]  # fmt: skip
        # a group for conmon and the runc that it starts: who is killed while they are at work leaves them to `remove`
        monitors = cgroups.make(self._monitors(name))
        argv = ["sh", "-c", 'echo $$ >"$1" && shift && exec "$@"', "sh", str(monitors / "cgroup.procs"), *argv]
        said = orjson.loads(reported(argv, variable="_OCI_SYNCPIPE", cwd=str(directory), timeout=PATIENCE))
        pid = int(said.get("data", said.get("pid", -1)))
        if pid <= 0:
            raise KernelError(f"container {name}: {reason(str(said.get('message', 'runc gave no reason')))}")
        monitor = int(_text(directory / "conmon.pid") or 0)
        for key, number in (("init", pid), ("monitor", monitor)):
            found = processes.identify(number) if number else None
            state[key] = None if found is None else list(found)
        put(directory / "state.json", orjson.dumps(state))

    def start(self, name: str) -> None:
        """Run what it is for. KernelError with runc's words if that cannot be run."""
        state = self._state(name)
        self._runc("start", name)
        put(self._directory(name) / "state.json", orjson.dumps({**state, "started": time.time()}))

    # -- looking

    def status(self, name: str) -> Status:
        """As it is now. NoContainer."""
        state, directory = self._state(name), self._directory(name)
        init, started = _identity(state.get("init")), state.get("started", 0)
        common: dict[str, Any] = {
            "id": name, "image": state["image"], "labels": state["labels"], "log": state["log"],
            "created": state["created"], "started": started,
        }  # fmt: skip
        exit_file = directory / "exit" / name
        if not exit_file.exists() and init is not None and processes.alive(init):
            return Status(state="running" if started else "created", pid=init.pid, **common)
        if init is not None and (monitor := _identity(state.get("monitor"))) is not None:
            processes.ended(monitor, PATIENCE)  # it has seen the end as we have, and has yet to write it down
        try:
            code, finished = int(exit_file.read_text()), exit_file.stat().st_mtime
        except (FileNotFoundError, ValueError):
            code, finished = UNKNOWN_EXIT, directory.stat().st_mtime
        killed = (directory / "oom").exists() or cgroups.usage(state["cgroup"]).oom_kills > 0
        return Status(state="exited", exit_code=code, finished=finished, oom_killed=killed, **common)

    def all(self) -> list[Status]:
        """Every container, by name: also those that another process has made."""
        directory = self.root / "containers"
        names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
        found = []
        for name in names:
            with contextlib.suppress(NoContainer):
                found.append(self.status(name))
        return found

    def usage(self, name: str) -> cgroups.Usage:
        """What it has used."""
        return cgroups.usage(self._state(name)["cgroup"])

    def run(self, name: str, argv: Sequence[str], *, stdin: str | None = None, timeout: float = PATIENCE) -> Completed:
        """Run one more program in it, and wait. KernelError if it takes longer than `timeout` seconds."""
        self._state(name)
        return run_in(None, [*self._argv("exec"), name, *argv], stdin=stdin, timeout=timeout)

    def wait(self, name: str, seconds: float) -> Status:
        """As it is when it has ended, or after so many seconds."""
        init = _identity(self._state(name).get("init"))
        if init is not None:
            processes.ended(init, seconds)
        return self.status(name)

    # -- what streams are made of (see `netlab.runtime.streams`)

    def exec_argv(self, name: str, argv: Sequence[str], *, pid_file: Path) -> list[str]:
        """The command that runs one more program in it, with its own standard streams as the program's. NoContainer."""
        self._state(name)
        return [*self._argv("exec"), "--pid-file", str(pid_file), name, *argv]

    def exec_monitor(self, name: str, argv: Sequence[str], *, directory: Path) -> list[str]:
        """The command that runs one more program in it at a terminal, and has its doors in a directory. NoContainer."""
        self._state(name)
        process = orjson.loads((self._directory(name) / "config.json").read_bytes())["process"]
        process |= {"terminal": True, "args": list(argv), "env": [*process.get("env", ()), "TERM=xterm"]}
        put(directory / "process.json", orjson.dumps(process))
        return [
            *self._conmon(name, directory), "--sync", "--exec", "--exec-attach", "--terminal", "--stdin",
            "--exec-process-spec", str(directory / "process.json"), "--log-path", "/dev/null",
        ]  # fmt: skip

    def _conmon(self, name: str, directory: Path) -> list[str]:
        """conmon for a container, with its files in a directory."""
        runc = shutil.which("runc")
        if runc is None:
            raise missing("runc")
        return [
            "conmon", "--api-version", "1", "--cid", name, "--cuuid", name, "--name", name, "--runtime", runc,
            "--runtime-arg", f"--root={self.root / 'runc'}", "--bundle", str(directory),
            "--container-pidfile", str(directory / "pid"), "--full-attach", "--socket-dir-path", str(directory),
        ]  # fmt: skip

    def monitor(self, name: str) -> Identity | None:
        """The process that writes its log, and ends when the last of it is written; None if there is none.
        NoContainer."""
        return _identity(self._state(name).get("monitor"))

    def doors(self, name: str) -> tuple[Path, Path, bool, bool]:
        """conmon's socket for those who attach, the pipe on which it takes orders; whether there is a terminal, and
        standard input. NoContainer."""
        state, directory = self._state(name), self._directory(name)
        return directory / "attach", directory / "ctl", bool(state.get("tty")), bool(state.get("stdin"))

    # -- ending

    def pidfd(self, name: str) -> int | None:
        """A descriptor that is readable from its end on, the caller's to close; None if it does not run."""
        init = _identity(self._state(name).get("init"))
        return None if init is None else processes.open_pidfd(init)

    def ask(self, name: str) -> None:
        """Send its stop signal, and do not wait for what becomes of that."""
        state = self._state(name)
        init = _identity(state.get("init"))
        if init is not None:
            processes.send(init, _stop_signal(state))

    def stop(self, name: str, grace: float) -> Status:
        """Its stop signal, `grace` seconds, KILL. How it ended."""
        state = self._state(name)
        init = _identity(state.get("init"))
        if init is not None:
            if (
                grace > 0 and processes.send(init, _stop_signal(state)) and not processes.ended(init, grace)
            ) or grace <= 0:
                processes.send(init, signal.SIGKILL)
            processes.ended(init, PATIENCE)
        return self.status(name)

    def remove(self, name: str) -> None:
        """Take it away, running or not; success if there is nothing left of it. Its log stays."""
        directory = self._directory(name)
        if not directory.is_dir():
            return
        state = self._state(name)
        group = state["cgroup"]
        init = _identity(state.get("init"))
        if init is not None and processes.send(init, signal.SIGKILL):
            processes.ended(init, PATIENCE)  # runc, which would do the same, looks only ten times a second
        if init is None:  # whoever made it was killed: conmon and runc may still be at work
            cgroups.kill(self._monitors(name), PATIENCE)
            cgroups.kill(group, PATIENCE)
        # What `runc delete` does of a container that has ended, but without starting runc, which is most of what an end
        # costs: its groups are taken away below, there are no hooks, and what it remembers is a directory.
        if init is None and (self.root / "runc" / name).exists():
            with contextlib.suppress(KernelError):
                self._runc("delete", "--force", name)
        shutil.rmtree(self.root / "runc" / name, ignore_errors=True)
        for key in ("init", "monitor"):
            found = _identity(state.get(key))
            if found is not None:
                processes.ended(found, PATIENCE)
        for each, kept in ((group, state["kept"]), (self._monitors(name), self.cgroup if state["kept"] else "")):
            cgroups.kill(each, PATIENCE)
            cgroups.remove(each, kept=kept)
        while mounts.unmount(directory / "rootfs"):
            pass
        shutil.rmtree(directory)

    # -- the parts of it

    def _directory(self, name: str) -> Path:
        return self.root / "containers" / name

    def _state(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = orjson.loads((self._directory(name) / "state.json").read_bytes())
        except FileNotFoundError:
            if not self._directory(name).is_dir():
                raise NoContainer(f"there is no container {name}") from None
            # whoever made it was killed before it could be written down: it is listed, so that it can be removed
            found = {"image": "", "labels": {}, "log": "", "created": 0.0, "stop": "SIGTERM"}
        return {"cgroup": f"{self.cgroup}/{name}", "kept": "", **found}

    def _monitors(self, name: str) -> str:
        """The group of a container's conmon: in no pod's, whose limits it is not to eat into."""
        return f"{self.cgroup}/{name}.monitor"

    def _argv(self, verb: str) -> list[str]:
        return ["runc", f"--root={self.root / 'runc'}", verb]

    def _runc(self, verb: str, *args: str) -> None:
        done = run_in(None, [*self._argv(verb), *args], timeout=PATIENCE)
        if done.returncode != 0:
            raise KernelError(f"container {args[-1]}: {reason(done.stderr or done.stdout)}")


def _conmon_streams(container: Container) -> list[str]:
    """What conmon is told of standard input and a terminal."""
    found = ["--terminal"] if container.tty else []
    if container.stdin:
        found += ["--stdin"] if container.stdin_once else ["--stdin", "--leave-stdin-open"]
    return found


def _stop_signal(state: dict[str, Any]) -> signal.Signals:
    return signal.Signals[state["stop"]] if state["stop"] in signal.Signals.__members__ else signal.SIGTERM


def _identity(found: Sequence[int] | None) -> Identity | None:
    return None if not found else Identity(*found)


def reason(said: str) -> str:
    """What runc has to say, without the frame of its log: the last line that is an error."""
    lines = [line for line in said.strip().splitlines() if line]
    found = next((line for line in reversed(lines) if "level=error" in line), lines[-1] if lines else said)
    _, framed, message = found.partition('msg="')
    return message.removesuffix('"').replace('\\"', '"') if framed else found


def _text(path: Path) -> str:
    """A file that an image may have; its links are not followed, they could lead to the host's."""
    return path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""


def as_json(status: Status) -> dict[str, Any]:
    """A status as `--json` prints it."""
    return asdict(status)
