"""fsGroup: what a volume has is given to a group that all containers of the pod are in.

Nothing is followed, and nothing is done by a name that has been looked at before: what a container may write to, it may
turn into a link meanwhile. Source: kubernetes pkg/volume/volume_linux.go.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

#: what the group gets: files that it may change, or only read; directories that it may enter
_WRITE, _READ, _ENTER = 0o660, 0o440, 0o110


def mode_for(mode: int, *, directory: bool, read_only: bool) -> int:
    """What a mode becomes. What is made in a directory from then on is the group's as well (set-group-ID)."""
    found = mode | (_READ if read_only else _WRITE)
    return found | _ENTER | stat.S_ISGID if directory else found


def give(directory: Path, group: int, *, read_only: bool, unless_given: bool = False) -> None:
    """Give a directory and all that is in it to a group. unless_given: not if the directory itself is the group's
    already (fsGroupChangePolicy OnRootMismatch)."""
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        now = os.fstat(top)
        wanted = mode_for(stat.S_IMODE(now.st_mode), directory=True, read_only=read_only)
        if unless_given and now.st_gid == group and stat.S_IMODE(now.st_mode) == wanted:
            return
        for fd in _inside(top):
            _give(fd, group, read_only)
        _give(top, group, read_only)  # last: by it one sees that all was done
    finally:
        os.close(top)


def _inside(top: int) -> Iterator[int]:
    """Everything below a directory, each as a descriptor that is open while it is looked at."""
    for _, directories, files, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        for name in (*directories, *files):
            try:
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            except FileNotFoundError:
                continue
            try:
                yield fd
            finally:
                os.close(fd)


def _give(fd: int, group: int, read_only: bool) -> None:
    found = os.fstat(fd)
    if stat.S_ISLNK(found.st_mode):  # what it leads to is looked at where it is, if it is in the volume
        return
    path = Path(f"/proc/self/fd/{fd}")
    os.chown(path, -1, group)
    # after chown, which takes set-group-ID away
    path.chmod(mode_for(stat.S_IMODE(found.st_mode), directory=stat.S_ISDIR(found.st_mode), read_only=read_only))
