"""Control groups of containers: what the kernel counts in them, in either version, and taking them away.

Which version holds shows by what is mounted at /sys/fs/cgroup: cgroup2 itself, or a directory with a hierarchy for each
controller. Making them and setting limits is runc's. Facts: cgroups(7), the kernel's cgroup-v1 and cgroup-v2 texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Usage:
    """cpu: nanoseconds of processor time; memory: bytes; pids: processes and threads; oom_kills: by the kernel."""

    cpu: int = 0
    memory: int = 0
    pids: int = 0
    oom_kills: int = 0


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
        return Usage(
            cpu=_number(at / "cpu.stat", "usage_usec") * 1000,
            memory=_number(at / "memory.current"),
            pids=_number(at / "pids.current"),
            oom_kills=_number(at / "memory.events", "oom_kill"),
        )
    return Usage(
        cpu=_number(root / "cpuacct" / name / "cpuacct.usage"),
        memory=_number(root / "memory" / name / "memory.usage_in_bytes"),
        pids=_number(root / "pids" / name / "pids.current"),
        oom_kills=_number(root / "memory" / name / "memory.oom_control", "oom_kill"),
    )


def remove(group: str, root: Path = ROOT) -> None:
    """Take a group away in every hierarchy, with its parents as far as they are empty. Groups in use stay."""
    parts = Path(group.lstrip("/"))
    for top in hierarchies(root):
        at = top / parts
        while at != top:
            try:
                at.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # others are in it
                break
            at = at.parent
