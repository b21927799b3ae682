"""subPath: a part of a volume, which no link in it leads out of.

What a container may write to can become a link at any moment. So a path is resolved, has to lie within the volume, and
is then opened step by step without following anything; what is open is what is bound, whatever is at its name by then.
Source: kubernetes pkg/volume/util/subpath (after CVE-2017-1002101 and CVE-2021-25741).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from netlab.kubelet.making.fields import quoted
from netlab.kubelet.making.world import Missing

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _Outside(OSError):
    """It leads out of the volume."""


def checked(text: str) -> str:
    """A subPath as it may be. Missing (CreateContainerConfigError)."""
    if text.startswith("/"):
        raise Missing("CreateContainerConfigError", f"error SubPath `{text}` must not be an absolute path")
    if ".." in PurePosixPath(text).parts:
        raise Missing("CreateContainerConfigError", f"unable to provision SubPath `{text}`: must not contain '..'")
    return text


def opened(base: Path, text: str, *, mount: str, container: str) -> int:
    """A part of a volume as a descriptor, to be closed by the caller; a directory, made if it is not there. Missing."""
    base = Path(os.path.realpath(base))
    try:
        _make(base, PurePosixPath(text))
    except OSError as e:
        what = f"failed to create subPath directory for volumeMount {quoted(mount)} of container {quoted(container)}"
        raise Missing("CreateContainerConfigError", what) from e
    try:
        return _walk(base, _within(base, base / text))
    except OSError as e:
        what = f"failed to prepare subPath for volumeMount {quoted(mount)} of container {quoted(container)}"
        raise Missing("CreateContainerConfigError", what) from e


def _within(base: Path, path: Path) -> tuple[str, ...]:
    """The steps from the volume to where a path really leads."""
    real = Path(os.path.realpath(path, strict=True))  # of pathlib's, a circle is no OSError
    if not real.is_relative_to(base):
        raise _Outside(f"{path} leads to {real}, which is not in {base}")
    return real.relative_to(base).parts


def _walk(base: Path, steps: tuple[str, ...]) -> int:
    fd = os.open(base, _STEP)
    try:
        for step in steps:
            inner = os.open(step, _STEP, dir_fd=fd)
            os.close(fd)
            fd = inner
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise _Outside(f"{step} became a link meanwhile")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make(base: Path, path: PurePosixPath) -> None:
    """The directories that are missing, as open as the volume is, from the last one on that is there."""
    there = next(p for p in (path, *path.parents) if os.path.lexists(base / p))
    missing = path.parts[len(there.parts) :]
    if not missing:
        return
    mode = stat.S_IMODE(base.stat().st_mode)
    fd = _walk(base, _within(base, base / there))
    try:
        for step in missing:
            os.mkdir(step, dir_fd=fd)
            inner = os.open(step, _STEP | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
            Path(f"/proc/self/fd/{fd}").chmod(mode)
    finally:
        os.close(fd)
