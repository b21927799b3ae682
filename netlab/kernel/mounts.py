"""Mounts that containers and their volumes are made of, in the mount namespace of the caller.

Facts: mount(2), mount_namespaces(7), the kernel's overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from netlab.base.errors import KernelError
from netlab.kernel import syscalls

#: mount(2) takes one page of options
OPTIONS_MAX = 4095
#: blanks in mountinfo
_ESCAPED = re.compile(r"\\([0-7]{3})")


def overlay(lower: Sequence[Path], upper: Path, work: Path, target: Path, *, once: bool = False) -> None:
    """Mount directories stacked: `lower` from the uppermost down, never written; what is written goes to `upper`.

    once: `upper` is never mounted again and need not outlive the machine's fall. Else the kernel brings all to the disk
    that waits for it, of whomever, when this is unmounted (overlayfs.rst, "Volatile mount").
    """
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
    if len(options.encode()) > OPTIONS_MAX:
        raise KernelError(f"{len(lower)} layers are too many for one mount", errno_=errno.E2BIG)
    try:
        try:
            syscalls.mount("overlay", str(target), 0, "overlay", f"{options},volatile" if once else options)
        except OSError as e:
            if not once or e.errno != errno.EINVAL:
                raise
            # a kernel before 5.10 does not know the word
            syscalls.mount("overlay", str(target), 0, "overlay", options)
    except OSError as e:
        hint = "modprobe overlay" if e.errno == errno.ENODEV else None
        raise KernelError(f"overlay on {target}: {e.strerror}", errno_=e.errno or 0, hint=hint) from e


def tmpfs(target: Path, options: str) -> None:
    """Mount memory as a directory. options: of tmpfs(5), such as `size=65536k,mode=1777`."""
    try:
        syscalls.mount("tmpfs", str(target), syscalls.MS_NOSUID | syscalls.MS_NODEV, "tmpfs", options)
    except OSError as e:
        raise KernelError(f"tmpfs on {target}: {e.strerror}", errno_=e.errno or 0) from e


def bind(fd: int, target: Path) -> None:
    """Show a file or directory that is open, with what is mounted below it, at another place."""
    try:
        syscalls.mount(f"/proc/self/fd/{fd}", str(target), syscalls.MS_BIND | syscalls.MS_REC)
    except OSError as e:
        raise KernelError(f"bind mount on {target}: {e.strerror}", errno_=e.errno or 0) from e


def below(directory: Path) -> list[Path]:
    """Where something is mounted at or below a directory, the last mount first (proc(5), mountinfo)."""
    found, at = [], os.path.realpath(directory)
    beneath = at.rstrip("/") + "/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # a node of a hundred pods has a thousand mounts, and every pod that ends asks for its own
        target = line.split(" ", 5)[4]
        if "\\" in target:
            target = _ESCAPED.sub(lambda m: chr(int(m[1], 8)), target)
        if target == at or target.startswith(beneath):
            found.append(Path(target))
    return found[::-1]


def unmount(target: Path) -> bool:
    """Take the uppermost mount away, now or when its last user has gone. False if nothing is mounted there."""
    try:
        syscalls.umount(str(target))
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise KernelError(f"umount {target}: {e.strerror}", errno_=e.errno or 0) from e
    return True
