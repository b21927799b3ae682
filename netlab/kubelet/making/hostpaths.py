"""hostPath: what has to be at a path of the node, or is made there. Source: kubernetes pkg/volume/hostpath."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from netlab.kubelet.making.world import Missing

#: what a type asks for, and how the original calls it
_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"), "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"), "FileOrCreate": (stat.S_ISREG, "file"), "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"), "BlockDevice": (stat.S_ISBLK, "block device"),
}  # fmt: skip


def provide(path: Path, kind: str) -> None:
    """See to it that there is what the type says. Missing (FailedMount).

    Of no type, it is looked at when a container starts, and is a directory if there is nothing.
    """
    if not kind:
        return
    if kind not in _CHECKS:
        raise Missing("FailedMount", f"hostPath type check failed: unsupported type {kind}")
    fits, called = _CHECKS[kind]
    try:
        if kind == "DirectoryOrCreate" and not path.exists():
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        if kind == "FileOrCreate" and not path.exists():
            path.touch(mode=0o644)
        mode = path.stat().st_mode
    except FileNotFoundError as e:
        if kind == "FileOrCreate":
            raise Missing("FailedMount", f"open {path}: no such file or directory") from e
        raise Missing("FailedMount", f"hostPath type check failed: {path} is not a {called}") from e
    except OSError as e:
        raise Missing("FailedMount", f"{path}: {e.strerror}") from e
    if not fits(mode):
        raise Missing("FailedMount", f"hostPath type check failed: {path} is not a {called}")
