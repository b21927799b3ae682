"""Mounts that containers are made of, in the mount namespace of the caller (mount(2), the kernel's overlayfs.rst)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from netlab.base.errors import KernelError
from netlab.kernel import syscalls

#: mount(2) takes one page of options
OPTIONS_MAX = 4095


def overlay(lower: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
    """Mount directories stacked: `lower` from the uppermost down, never written; what is written goes to `upper`."""
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
    if len(options.encode()) > OPTIONS_MAX:
        raise KernelError(f"{len(lower)} layers are too many for one mount", errno_=errno.E2BIG)
    try:
        syscalls.mount("overlay", str(target), 0, "overlay", options)
    except OSError as e:
        hint = "modprobe overlay" if e.errno == errno.ENODEV else None
        raise KernelError(f"overlay on {target}: {e.strerror}", errno_=e.errno or 0, hint=hint) from e


def unmount(target: Path) -> bool:
    """Take the uppermost mount away, now or when its last user has gone. False if nothing is mounted there."""
    try:
        syscalls.umount(str(target))
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise KernelError(f"umount {target}: {e.strerror}", errno_=e.errno or 0) from e
    return True
