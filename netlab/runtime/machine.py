"""What of this machine a container may be given: the capabilities and devices there are, and how groups are kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from netlab.kernel import capabilities, cgroups
from netlab.runtime.spec import Device, Machine

#: of /dev: file systems and links of their own in every container
_OWN = ("console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero")  # fmt: skip
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


def machine(*, devices: bool) -> Machine:
    """As it is now; without its devices if nobody wants to know them."""
    found = capabilities.bounding()
    # without the capability, nobody can be made safer from the kernel than we are
    least = -1000 if "CAP_SYS_RESOURCE" in found else int(Path("/proc/self/oom_score_adj").read_text())
    return Machine(
        capabilities=found, oom_least=least, devices=tuple(_devices(Path("/dev"))) if devices else (),
        unified=cgroups.unified(), apparmor=_APPARMOR.is_file() and _APPARMOR.read_text().startswith("Y"),
    )  # fmt: skip


def _devices(top: Path) -> Iterator[Device]:
    with os.scandir(top) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_symlink() or (entry.path.startswith("/dev/") and entry.path.count("/") == 2 and entry.name in _OWN):
            continue
        if entry.is_dir():
            yield from _devices(Path(entry.path))
            continue
        found = entry.stat(follow_symlinks=False)
        kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
        if kind:
            yield Device(
                path=entry.path, kind=kind, major=os.major(found.st_rdev), minor=os.minor(found.st_rdev),
                mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid,
            )  # fmt: skip
