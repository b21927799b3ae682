"""The first process of a node: it makes itself a machine of its own, says so, and stays as what all others hang on.

    python -m netlab.kernel.boot SPEC        SPEC: a file with the fields of `Machine`, as JSON

It is started as the first process of a process namespace and in the node's network namespace. It adds host name, IPC
and mounts: a root that is an overlay over the machine's, with /proc, /sys, /run, /tmp of its own and directories of the
real disk where the node needs them. Then it becomes a shell that reaps whatever is left to it; when that one ends, by
TERM or by KILL, the kernel ends everything else in the namespace, which is the node's power switch.

Standard library only: it is to start fast. Facts: pid_namespaces(7), mount_namespaces(7), pivot_root(2), overlayfs.rst.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from netlab.base.errors import KernelError, NetlabError
from netlab.base.notify import notify
from netlab.kernel import cgroups, mounts, netns, syscalls

#: what stays: it waits for whatever is left to it, and ends when it is told to
REAPER = 'trap "exit 0" TERM INT; while :; do sleep 2147483647 & wait $!; done'
_TIGHT = syscalls.MS_NOSUID | syscalls.MS_NODEV


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """disk: a directory of a real file system, for what is written to the root (`upper`, `work`) and for the mount
    point (`root`); binds: (path of the machine, path in the node), made if it is not there; files: by path in the node,
    what is in them; cgroup: of the node's own processes."""

    hostname: str
    disk: str
    cgroup: str
    binds: tuple[tuple[str, str], ...] = ()
    files: dict[str, str] = field(default_factory=dict)


def boot(machine: Machine) -> None:
    """Become that machine's first process; its root is `/` from here on. KernelError, OSError."""
    cgroups.join(machine.cgroup)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)
    syscalls.sethostname(machine.hostname)
    # nothing that is mounted here is seen by the machine
    syscalls.mount("", "/", syscalls.MS_PRIVATE | syscalls.MS_REC)
    disk = Path(machine.disk)
    root, upper, work = disk / "root", disk / "upper", disk / "work"
    for directory in (root, upper, work):
        directory.mkdir(parents=True, exist_ok=True)
    # what is to be seen in the node although its own /run or /tmp covers it, opened before
    sources = [(os.open(source, os.O_PATH | os.O_CLOEXEC), target) for source, target in machine.binds]
    mounts.overlay([Path("/")], upper, work, root)
    _system(root)
    for fd, target in sources:
        _bind(f"/proc/self/fd/{fd}", root / target.lstrip("/"))
        os.close(fd)
    for path, content in machine.files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".")
    os.chdir("/")
    # as a machine's init has it: what is mounted in the node reaches the node's containers, if they ask for it
    syscalls.mount("", "/", syscalls.MS_SHARED | syscalls.MS_REC)
    # the machine's own are covered: a node's are a tmpfs
    netns.NETNS_DIR.mkdir(parents=True, exist_ok=True)
    netns.prepare()


def _system(root: Path) -> None:
    """The file systems that are the kernel's, and those that last until the plug is pulled."""
    syscalls.mount("proc", str(root / "proc"), _TIGHT | syscalls.MS_NOEXEC, "proc")
    syscalls.mount("sysfs", str(root / "sys"), _TIGHT | syscalls.MS_NOEXEC, "sysfs")
    _bind(str(cgroups.ROOT), root / "sys/fs/cgroup")
    _bind("/dev", root / "dev")
    for name, mode in (("dev/shm", "1777"), ("run", "0755"), ("tmp", "1777")):
        syscalls.mount("tmpfs", str(root / name), _TIGHT, "tmpfs", f"mode={mode}")


def _bind(source: str, target: Path) -> None:
    # stat, not lstat: a source may be a descriptor's link
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    syscalls.mount(source, str(target), syscalls.MS_BIND | syscalls.MS_REC)


def read(path: Path) -> Machine:
    """A machine out of its file."""
    data = json.loads(path.read_text())
    return Machine(**{**data, "binds": tuple((source, target) for source, target in data["binds"])})


def main(argv: list[str]) -> int:
    """SPEC. Returns only by an error: 1."""
    try:
        boot(read(Path(argv[0])))
    except (NetlabError, OSError) as e:
        print(f"the node does not start: {e}", file=sys.stderr)
        return 1
    notify()
    return _stay()


def _stay() -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is started here would, too
    try:
        os.execv("/bin/sh", ["init", "-c", REAPER])
    except OSError as e:
        raise KernelError(f"/bin/sh: {e.strerror}", errno_=e.errno or 0) from e


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
