"""Layers unpacked as overlayfs wants them: a whiteout is a character device 0:0, an opaque directory has an attribute.

Nothing of a layer reaches beyond its directory: a path is walked step by step, and a step that is a link is refused.
Source: OCI image specification, "layer filesystem changeset"; the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from netlab.runtime.images.store import Image, ImageError, Store

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class _Counted:
    """A stream that takes the digest of what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._stream.read(size)
        self._digest.update(found)
        return found

    def digest(self) -> str:
        """Of the whole stream: the rest of it is read."""
        while self.read(1 << 20):
            pass
        return f"sha256:{self._digest.hexdigest()}"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A layer's tar, whether it is compressed or not. ImageError for zstd, which Python cannot read."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == _ZSTD:
            hint = "skopeo copy --dest-compress-format gzip"
            raise ImageError(f"layer {path.name[:12]} is compressed with zstd", hint=hint)
        if not magic.startswith(_GZIP):
            yield file
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield cast(BinaryIO, stream)


def diff_id(path: Path) -> str:
    """The digest of a layer's tar, uncompressed. ImageError if it is cut short."""
    try:
        with opened(path) as stream:
            return _Counted(stream).digest()
    except (OSError, EOFError) as e:
        raise ImageError(f"layer {path.name[:12]} cannot be unpacked: {e}") from e


def unpacked(store: Store, image: Image, *, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """The directories of an image's layers, the uppermost first, as overlayfs takes them; unpacked if they are not."""
    found = []
    for blob, wanted in zip(image.layers, image.diff_ids, strict=True):
        target = store.root / "layers" / store.path(wanted).name
        if not target.is_dir():
            tell(f"unpacking {wanted[7:19]}")
            with store.held():
                if not target.is_dir():
                    _unpack(store.path(blob), wanted, target)
        found.append(target)
    return found[::-1]


def _unpack(blob: Path, wanted: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new.", dir=target.parent))
    try:
        new.chmod(0o755)
        with opened(blob) as stream:
            counted = _Counted(stream)
            with tarfile.open(fileobj=cast(BinaryIO, counted), mode="r|") as tar:
                for member in tar:
                    _place(tar, member, new)
            if counted.digest() != wanted:
                raise ImageError(f"layer {blob.name[:12]} is not {wanted[:19]}, which its image asks for")
        new.rename(target)
    except FileNotFoundError as e:
        raise ImageError(f"blob sha256:{blob.name[:12]} is missing", hint="load or pull the image again") from e
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as e:
        raise ImageError(f"layer {blob.name[:12]} cannot be unpacked: {e}") from e
    finally:
        if new.exists():
            shutil.rmtree(new)


def _parent(root: Path, path: PurePosixPath, name: str) -> Path:
    """The directory of a member, made if it is missing. ImageError if a step of its path is no directory."""
    at = root
    for part in path.parts[:-1]:
        at = at / part
        try:
            mode = at.lstat().st_mode
        except FileNotFoundError:
            at.mkdir(mode=0o755)
            continue
        if not stat.S_ISDIR(mode):
            raise ImageError(f"{name} in a layer leads through {at.name}, which is no directory")
    return at


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    path = PurePosixPath(*(part for part in PurePosixPath(member.name).parts if part not in ("/", ".")))
    if ".." in path.parts:
        raise ImageError(f"{member.name} in a layer leads out of it")
    if not path.parts:
        root.chmod(member.mode & 0o7777)
        return
    parent = _parent(root, path, member.name)
    target = parent / path.name
    if path.name == _OPAQUE:
        os.setxattr(parent, _OPAQUE_ATTRIBUTE, b"y")
        return
    if path.name.startswith(_WHITEOUT):
        os.mknod(parent / path.name.removeprefix(_WHITEOUT), stat.S_IFCHR | 0o000, os.makedev(0, 0))
        return
    if target.is_symlink() or (target.exists() and not (target.is_dir() and member.isdir())):
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    if member.isdir():
        target.mkdir(exist_ok=True)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        source = PurePosixPath(*(p for p in PurePosixPath(member.linkname).parts if p not in ("/", ".")))
        if ".." in source.parts:
            raise ImageError(f"{member.name} in a layer is a link out of it")
        os.link(_parent(root, source, member.name) / source.name, target, follow_symlinks=False)
        return
    elif member.isfile():
        content = tar.extractfile(member)
        assert content is not None
        with target.open("xb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
    elif member.ischr() or member.isblk() or member.isfifo():
        kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(target, kind | member.mode, os.makedev(member.devmajor, member.devminor))
    else:
        raise ImageError(f"{member.name} in a layer is of a kind that is not known: {member.type!r}")
    os.chown(target, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        target.chmod(member.mode & 0o7777)  # after chown, which takes set-user-ID away
        os.utime(target, (member.mtime, member.mtime))
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            os.setxattr(
                target,
                key.removeprefix("SCHILY.xattr."),
                value.encode("utf-8", "surrogateescape"),
                follow_symlinks=False,
            )
