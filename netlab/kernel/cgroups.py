"""Control groups of containers: what the kernel counts in them, in either version, and taking them away.

Which version holds shows by what is mounted at /sys/fs/cgroup: cgroup2 itself, or a directory with a hierarchy for each
controller. Making them and setting limits is runc's. Facts: cgroups(7), the kernel's cgroup-v1 and cgroup-v2 texts.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from netlab.base.errors import KernelError

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Usage:
    """cpu: nanoseconds of processor time; memory: bytes; pids: processes and threads; oom_kills: by the kernel;
    working_set: bytes of memory without what the kernel would give back first, files not used of late."""

    cpu: int = 0
    memory: int = 0
    pids: int = 0
    oom_kills: int = 0
    working_set: int = 0


def unified(root: Path = ROOT) -> bool:
    """Whether version 2 has all controllers."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The roots of all hierarchies that are mounted."""
    if unified(root):
        return [root]
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink()] if root.is_dir() else []


def _number(path: Path, key: str = "") -> int:
    """The number of a file, or of its line `key number`; 0 if there is none."""
    try:
        text = path.read_text()
    except OSError:  # a group that is gone, or a controller that the kernel has not
        return 0
    for line in text.splitlines():
        words = line.split()
        if words and (not key or words[0] == key) and words[-1].isdecimal():
            return int(words[-1])
    return 0


def usage(group: str, root: Path = ROOT) -> Usage:
    """What a group has used. group: its path from the root, with a slash in front."""
    name = group.lstrip("/")
    if unified(root):
        at = root / name
        memory = _number(at / "memory.current")
        return Usage(
            cpu=_number(at / "cpu.stat", "usage_usec") * 1000,
            memory=memory,
            pids=_number(at / "pids.current"),
            oom_kills=_number(at / "memory.events", "oom_kill"),
            working_set=max(0, memory - _number(at / "memory.stat", "inactive_file")),
        )
    memory = _number(root / "memory" / name / "memory.usage_in_bytes")
    return Usage(
        cpu=_number(root / "cpuacct" / name / "cpuacct.usage"),
        memory=memory,
        pids=_number(root / "pids" / name / "pids.current"),
        oom_kills=_number(root / "memory" / name / "memory.oom_control", "oom_kill"),
        working_set=max(0, memory - _number(root / "memory" / name / "memory.stat", "total_inactive_file")),
    )


def make(group: str, root: Path = ROOT) -> Path:
    """A group that only tells who is in it: whatever a member starts is a member. Its directory."""
    at = root if unified(root) else root / "pids"
    made = at / group.lstrip("/")
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise KernelError(f"cgroup {made}: {e.strerror}", errno_=e.errno or 0) from e
    return made


#: controllers of version 1 by which a group's members are counted and found
_COUNTING = ("cpu", "cpuacct", "memory", "pids")


def join(group: str, root: Path = ROOT) -> None:
    """Be a member of a group from here on, with all that this process will start; it is made if it is not there."""
    if unified(root):
        tops = [root]
        for above in reversed(Path(group.lstrip("/")).parents):
            at = root / above
            at.mkdir(exist_ok=True)
            for controller in ("cpu", "memory", "pids"):
                with contextlib.suppress(OSError):  # one that this kernel has not, or whose parent does not give it
                    (at / "cgroup.subtree_control").write_text(f"+{controller}")
    else:
        tops = [root / name for name in _COUNTING if (root / name).is_dir()]
    for top in tops:
        made = top / group.lstrip("/")
        try:
            made.mkdir(parents=True, exist_ok=True)
            (made / "cgroup.procs").write_text("0")
        except OSError as e:
            raise KernelError(f"cgroup {made}: {e.strerror}", errno_=e.errno or 0) from e


def clear(group: str, seconds: float, root: Path = ROOT) -> None:
    """KILL whatever is in a group or in one below it, and take all of them away. KernelError if one does not end."""
    for top in hierarchies(root):
        for at, _, _ in os.walk(top / group.lstrip("/"), topdown=False):
            name = "/" + str(Path(at).relative_to(top))
            if members(name, root):
                kill(name, seconds)
            with contextlib.suppress(OSError):  # a process that has just ended may be counted for a moment
                Path(at).rmdir()
    remove(group, root)


def members(group: str, root: Path = ROOT) -> set[int]:
    """The numbers of the processes in a group, in whichever hierarchy."""
    found: set[int] = set()
    for top in hierarchies(root):
        with contextlib.suppress(OSError):  # no such group there
            found |= {int(word) for word in (top / group.lstrip("/") / "cgroup.procs").read_text().split()}
    return found


def kill(group: str, seconds: float) -> None:
    """KILL whatever is in a group, until it is empty. KernelError if it is not in time."""
    deadline = time.monotonic() + seconds
    while found := members(group):
        fds = {}
        try:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    fds[os.pidfd_open(pid)] = pid
            still = members(group)  # a number that was given to another meanwhile is not in it
            for fd, pid in fds.items():
                if pid in still:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
            for fd in fds:
                select.select([fd], [], [], max(0.0, min(1.0, deadline - time.monotonic())))
        finally:
            for fd in fds:
                os.close(fd)
        if time.monotonic() > deadline:
            raise KernelError(f"cgroup {group}: processes {sorted(members(group))} do not end")


def limit(group: str, limits: Mapping[str, int], root: Path = ROOT) -> None:
    """Make a group for others to be made in, which together have no more than these; what is not named stays as it is.

    limits: shares (of 1024), quota and period (microseconds), memory (bytes, swap included), pids. KernelError.
    """
    name = Path(group.lstrip("/"))
    try:
        if unified(root):
            _hand_down(root, name)
            files = {root / name / file: text for file, text in _files2(limits).items()}
        else:
            for controller in ("cpu", "memory", "pids"):
                if (root / controller).is_dir():
                    (root / controller / name).mkdir(parents=True, exist_ok=True)
            files = {root / file.partition(".")[0] / name / file: text for file, text in _files1(limits).items()}
        for path, text in files.items():
            if path.name not in _OPTIONAL or path.exists():
                path.write_text(text)
    except OSError as e:
        raise KernelError(f"cgroup {e.filename}: {e.strerror}", errno_=e.errno or 0) from e


#: a kernel may be without swap, or may not count it
_OPTIONAL = ("memory.memsw.limit_in_bytes", "memory.swap.max")


def _hand_down(root: Path, name: Path) -> None:
    """Make a group of version 2, and give it and those above it the controllers: what a parent does not hand down, a
    child has not."""
    for at in [*reversed(name.parents), name]:
        (root / at).mkdir(exist_ok=True)
        for controller in ("cpu", "memory", "pids"):
            with contextlib.suppress(OSError):  # one that this kernel has not
                (root / at / "cgroup.subtree_control").write_text(f"+{controller}")


def _files1(limits: Mapping[str, int]) -> dict[str, str]:
    names = {"shares": "cpu.shares", "period": "cpu.cfs_period_us", "quota": "cpu.cfs_quota_us",
             "memory": "memory.limit_in_bytes", "pids": "pids.max"}  # fmt: skip
    found = {file: str(limits[key]) for key, file in names.items() if key in limits}
    if "memory" in limits:
        found["memory.memsw.limit_in_bytes"] = str(limits["memory"])
    return found


def _files2(limits: Mapping[str, int]) -> dict[str, str]:
    found: dict[str, str] = {}
    if "shares" in limits:  # 2 to 262144 onto 1 to 10000, as runc does
        found["cpu.weight"] = str(1 + (limits["shares"] - 2) * 9999 // 262142)
    if "quota" in limits:
        found["cpu.max"] = f"{limits['quota']} {limits['period']}"
    if "memory" in limits:
        found |= {"memory.max": str(limits["memory"]), "memory.swap.max": "0"}
    if "pids" in limits:
        found["pids.max"] = str(limits["pids"])
    return found


def remove(group: str, root: Path = ROOT, *, kept: str = "") -> None:
    """Take a group away in every hierarchy, with its parents as far as they are empty, below `kept`. Groups in use
    stay."""
    parts = Path(group.lstrip("/"))
    for top in hierarchies(root):
        at, end = top / parts, top / kept.lstrip("/")
        while at != end:
            try:
                at.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # others are in it
                break
            at = at.parent
