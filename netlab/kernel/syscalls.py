"""The few system calls that Python 3.11 has no door to, with errno turned into OSError."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000  # linux/sched.h
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x04000000, 0x08000000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20  # linux/mount.h
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace behind `fd` (setns(2))."""
    _checked(_libc.setns(fd, kind), f"setns({fd})")


def unshare(flags: int) -> None:
    """Give the calling thread fresh namespaces (unshare(2))."""
    _checked(_libc.unshare(flags), f"unshare({flags:#x})")


def mount(source: str, target: str, flags: int, fstype: str = "none", data: str | None = None) -> None:
    """mount(2). data: the file system's own options."""
    options = None if data is None else ctypes.c_char_p(data.encode())
    _checked(_libc.mount(source.encode(), target.encode(), fstype.encode(), flags, options), f"mount {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(target.encode(), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _checked(_libc.pivot_root(new.encode(), old.encode()), f"pivot_root {new}")


def sethostname(name: str) -> None:
    """sethostname(2)."""
    _checked(_libc.sethostname(name.encode(), len(name.encode())), f"sethostname {name}")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one number."""
    _checked(_libc.prctl(option, value, 0, 0, 0), f"prctl({option})")


def prctl_name(name: str) -> None:
    """What this process is called, of which the kernel keeps fifteen bytes."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0), "prctl(PR_SET_NAME)")
