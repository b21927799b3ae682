"""Kernels to boot: the distribution's package, fetched and unpacked into a cache but not installed, or one by path.

A cached kernel is used as it is, without asking apt: `rm -r` its directory to fetch a newer one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from netlab.base.errors import InputError, KernelError, MachineError
from netlab.kernel.commands import Completed, run_in

#: Debian's package that depends on the newest kernel of the release
METAPACKAGE = "linux-image-amd64"
#: 70 MB by a slow line, and 400 MB unpacked onto a slow disk
FETCH_TIMEOUT, UNPACK_TIMEOUT = 1800.0, 300.0

#: where a bzImage says that it is one
_HEADER = slice(0x202, 0x206)

#: runs a tool: argv, seconds; raises as `run_in` with check
Tool = Callable[[Sequence[str], float], Completed]


class Kernel(NamedTuple):
    """A kernel that can be booted. release: as `uname -r` says it; modules: its tree, None if all is built in."""

    release: str
    image: Path
    modules: Path | None


def run_tool(argv: Sequence[str], timeout: float) -> Completed:
    """The real Tool."""
    return run_in(None, argv, timeout=timeout, check=True)


def cache_dir() -> Path:
    """Where kernels are kept: for root the machine's cache, for others their own."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "netlab" / "kernels"
    return Path("/var/cache/netlab/kernels") if os.geteuid() == 0 else Path.home() / ".cache/netlab/kernels"


def find(spec: str, *, cache: Path, tool: Tool = run_tool, say: Callable[[str], None] = lambda _: None) -> Kernel:
    """The kernel that `--kernel` names: `debian`, or a path to an image or to an unpacked package.

    say: is told before something takes long. InputError for a path without a kernel, MachineError if the package
    cannot be had.
    """
    return debian(cache, tool=tool, say=say) if spec == "debian" else by_path(Path(spec))


def by_path(path: Path) -> Kernel:
    """A kernel image (its modules are looked for where packages put them), or a tree with `boot/vmlinuz-*` in it."""
    if path.is_dir():
        images = sorted(path.glob("boot/vmlinuz-*")) or sorted(path.glob("vmlinuz-*"))
        if not images:
            raise InputError(
                f"--kernel {path}: no boot/vmlinuz-* in it", hint="an unpacked linux-image package has one"
            )
        path = images[-1]
    elif not path.is_file():
        raise InputError(f"--kernel {path}: no such file", hint="`debian`, a kernel image, or an unpacked package")
    path = path.resolve()
    _check_image(path)
    release = path.name.partition("-")[2]
    trees = [above / "lib/modules" / release for above in path.parents] if release else []
    return Kernel(release or path.name, path, next((tree for tree in trees if tree.is_dir()), None))


def _check_image(path: Path) -> None:
    """InputError unless it is what QEMU boots: a boot sector with the header of Linux (Documentation/x86/boot.rst)."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.stop)
    except OSError as e:
        raise InputError(f"--kernel {path}: {e.strerror}", hint="name a file that you may read") from e
    if head[_HEADER] != b"HdrS":
        what = "an uncompressed ELF file" if head.startswith(b"\x7fELF") else "something else"
        raise InputError(
            f"--kernel {path}: a Linux kernel image (bzImage) was expected, and this is {what}",
            hint="/boot/vmlinuz-RELEASE, arch/x86/boot/bzImage of a kernel tree, an unpacked package, or `debian`",
        )


def cached(cache: Path) -> Kernel | None:
    """The newest kernel in the cache; what was not unpacked to the end has another name."""
    trees = [tree for tree in cache.glob("linux-image-*") if tree.is_dir()] if cache.is_dir() else []
    return by_path(max(trees, key=lambda tree: _version(tree.name))) if trees else None


def _version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def package_of(depends: str) -> str:
    """The kernel's package out of what `apt-cache depends` says of the metapackage. MachineError if there is none."""
    found = re.search(r"^\s*(?:Pre)?Depends: (linux-image-\d\S+)$", depends, re.MULTILINE)
    if found is None:
        raise MachineError(f"apt knows no kernel package behind {METAPACKAGE}", hint="apt-get update")
    return found[1]


def debian(cache: Path, *, tool: Tool = run_tool, say: Callable[[str], None] = lambda _: None) -> Kernel:
    """Debian's kernel, from the cache or fetched into it. Two that ask at once fetch once."""
    kernel = cached(cache)
    if kernel is not None:
        return kernel
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = os.open(cache, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise MachineError(f"cannot keep a kernel in {cache}: {e.strerror}", hint="name another XDG_CACHE_HOME") from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cached(cache) or _fetch(cache, tool, say)
    finally:
        os.close(lock)


def _fetch(cache: Path, tool: Tool, say: Callable[[str], None]) -> Kernel:
    other = "or name a kernel by --kernel PATH"
    try:
        package = package_of(tool(["apt-cache", "depends", METAPACKAGE], 60).stdout)
    except KernelError as e:
        raise MachineError(f"no kernel package: {e.message}", hint=f"apt-get update, {other}") from e
    room = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
    try:
        # apt reads as a user of its own
        room.chmod(0o755)
        say(f"fetching {package} into {cache} (apt-get download)")
        try:
            # apt-get knows no option for where to
            tool(["sh", "-c", 'cd -- "$1" && exec apt-get -q download "$2"', "sh", str(room), package], FETCH_TIMEOUT)
        except KernelError as e:
            raise MachineError(f"cannot fetch {package}: {e.message}", hint=f"apt-get update, {other}") from e
        archive = next(iter(room.glob("*.deb")))
        tool(["dpkg-deb", "-x", str(archive), str(room / "tree")], UNPACK_TIMEOUT)
        kernel = by_path(room / "tree")
        # depmod is run when a package is installed, so that here it has to be by us
        tool(["depmod", "-b", str(room / "tree"), kernel.release], UNPACK_TIMEOUT)
        with suppress(FileNotFoundError):
            shutil.rmtree(room / "tree/usr/share")
        (room / "tree").rename(cache / package)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return by_path(cache / package)
