"""Files that change all at once: whoever reads a volume sees the old ones or the new ones, never some of each.

    VOLUME/..2026_11_22_03_40_01.x2k9/key    the files
          /..data -> ..2026_11_22_03_40_01.x2k9
          /key -> ..data/key                 what a container opens

An update is a directory beside the old one and one rename, of `..data`. Source: kubernetes pkg/volume/util/
atomic_writer.go, on whose layout programs rely that wait for `..data` to change.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from netlab.kubelet.making.payload import File

_DATA, _NEW = "..data", "..data_tmp"


def write(directory: Path, payload: Mapping[str, File], own: Callable[[Path], None]) -> bool:
    """Make the volume's files these and no others; False if they were. own: gives what is new its group, before it is
    seen."""
    data = directory / _DATA
    before = data.readlink().name if data.is_symlink() else ""
    changed = not before or _files(directory / before) != {path: file.content for path, file in payload.items()}
    if changed:
        prefix = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
        new = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
        new.chmod(0o755)
        for path, file in payload.items():
            _put(new / path, file)
        own(new)
        (directory / _NEW).unlink(missing_ok=True)
        (directory / _NEW).symlink_to(new.name)
        (directory / _NEW).replace(data)
        before = new.name
    _tidy(directory, {PurePosixPath(path).parts[0] for path in payload}, before)
    return changed


def _put(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    path.chmod(file.mode)
    if file.uid is not None:
        os.chown(path, file.uid, -1)


def _files(directory: Path) -> dict[str, bytes] | None:
    """What is in it, by path; None if that cannot be read, and then it is written anew."""
    try:
        return {
            str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if not path.is_dir()
        }
    except OSError:
        return None


def _tidy(directory: Path, wanted: set[str], current: str) -> None:
    """A link for each name that a container opens, no other, and nothing of earlier times."""
    for name in sorted(wanted):
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for entry in list(os.scandir(directory)):
        if entry.is_dir(follow_symlinks=False):
            if entry.name != current:
                shutil.rmtree(entry.path)
        elif entry.name != _DATA and entry.name not in wanted:
            Path(entry.path).unlink()
