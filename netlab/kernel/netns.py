"""Network namespaces by name, as `ip netns` keeps them: a bind mount of the namespace at /run/netns/NAME.

The thread that calls `entered` or `create` is moved and always moved back; other threads are not affected, because a
network namespace belongs to a thread. Facts: ip-netns(8), iproute2's convention for /run/netns.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import syscalls

NETNS_DIR = Path("/run/netns")
#: stands for the namespace that this process started in, whatever its name: where a daemon works
HERE = ""
#: the same, where "" means something else already: to the other end of a cable it is the cable's own namespace
OURS = "."

_own: int | None = None


def own() -> int:
    """A descriptor of the namespace that this process started in; opened once, used to come back."""
    global _own
    if _own is None:
        _own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return _own


def forget_own() -> None:
    """After a fork into another namespace: that one is where this process starts."""
    global _own
    _own = None


def require_root() -> None:
    """MachineError unless this process may make namespaces."""
    if os.geteuid() != 0:
        raise MachineError(
            "this needs root: network namespaces and devices are made by the kernel for root alone",
            hint="run the same command with sudo",
        )


def path(name: str) -> Path:
    """Where the namespace is mounted."""
    return NETNS_DIR / name


def names() -> list[str]:
    """All named namespaces of this machine, sorted (what `ip netns` lists)."""
    try:
        return sorted(entry.name for entry in NETNS_DIR.iterdir())
    except FileNotFoundError:
        return []


def open_fd(name: str) -> int | None:
    """A descriptor of the named namespace, to be closed by the caller; None if there is none.

    A name that begins with a slash is the path of a namespace that somebody else keeps. A mount point whose namespace
    was never mounted (a creation cut short) counts as none.
    """
    if name in (HERE, OURS):
        return os.dup(own())
    try:
        fd = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):  # the latter of /proc/PID/ns/net
        return None
    if os.fstat(fd).st_dev == os.fstat(own()).st_dev:
        return fd
    os.close(fd)
    return None


def inode(name: str) -> int | None:
    """The namespace's identity (the number in `readlink /proc/PID/ns/net`), or None if it does not exist."""
    fd = open_fd(name)
    if fd is None:
        return None
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


@contextlib.contextmanager
def entered(where: str | int) -> Iterator[None]:
    """Run the body with this thread in the namespace (a name or a descriptor), and come back whatever happens."""
    home = own()
    fd = open_fd(where) if isinstance(where, str) else where
    if fd is None:
        raise KernelError(f"there is no network namespace {where!r}", errno_=errno.ENOENT)
    try:
        syscalls.setns(fd)
        try:
            yield
        finally:
            syscalls.setns(home)
    finally:
        if isinstance(where, str):
            os.close(fd)


def prepare() -> None:
    """Make /run/netns a shared mount as iproute2 does, so that a deletion reaches every mount namespace."""
    NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
    target = str(NETNS_DIR)
    try:
        syscalls.mount("", target, syscalls.MS_SHARED | syscalls.MS_REC)
    except OSError as e:
        if e.errno != errno.EINVAL:  # EINVAL: not a mount point yet
            raise
        syscalls.mount(target, target, syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount("", target, syscalls.MS_SHARED | syscalls.MS_REC)


class Nursery:
    """Namespaces made ahead, nameless, in a thread, while the caller still reads what they are for.

    Making one takes the kernel a quarter of a millisecond, in which Python can go on. Nameless ones need no journal:
    they go with the process. Use as a context manager; what nobody has taken is given back at its end.
    """

    def __init__(self, count: int) -> None:
        own()  # before the thread is anywhere else
        self._ready: list[int] = []
        self._thread = threading.Thread(target=self._fill, args=(count,), name="netlab-nursery")

    def _fill(self, count: int) -> None:
        for _ in range(count):
            try:
                syscalls.unshare(syscalls.CLONE_NEWNET)
                self._ready.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return  # whoever needs one makes it, and is told why it cannot be made

    def __enter__(self) -> Nursery:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        for fd in self._ready:
            os.close(fd)
        self._ready.clear()

    def take(self) -> int | None:
        """A descriptor of a fresh namespace, the caller's to close; None when there is none left."""
        self._thread.join()
        return self._ready.pop() if self._ready else None


def create(name: str, nursery: Nursery | None = None) -> int:
    """Make the namespace `name` and return a descriptor of it. KernelError if the name is taken."""
    home = own()
    target = path(name)
    if not NETNS_DIR.is_dir():
        prepare()  # the first one of this machine
    try:
        os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except FileExistsError:
        fd = open_fd(name)
        if fd is not None:
            os.close(fd)
            raise KernelError(f"namespace {name!r} exists already", errno_=errno.EEXIST) from None
    try:
        ready = nursery.take() if nursery else None
        if ready is not None:
            syscalls.mount(f"/proc/self/fd/{ready}", str(target), syscalls.MS_BIND)
            return ready
        syscalls.unshare(syscalls.CLONE_NEWNET)
        try:
            syscalls.mount("/proc/thread-self/ns/net", str(target), syscalls.MS_BIND)
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            syscalls.setns(home)
    except OSError:
        with contextlib.suppress(OSError):
            target.unlink()
        raise


def delete(name: str) -> bool:
    """Unmount and remove the name; the namespace goes with its last user. False if there was none."""
    target = path(name)
    try:
        syscalls.umount(str(target))
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOENT):  # EINVAL: never mounted
            raise
    try:
        target.unlink()
    except FileNotFoundError:
        return False
    return True


def aside(call: Callable[[], None]) -> None:
    """Run `call` in a namespace of its own, which has nothing but lo (down) and is gone afterwards.

    In a thread of its own, so that nobody else sees it. What `call` raises is raised here.
    """
    from concurrent.futures import ThreadPoolExecutor  # which brings logging: not for who only needs a name

    own()  # before the thread is anywhere else

    def there() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        call()

    with ThreadPoolExecutor(1, thread_name_prefix="netlab-aside") as thread:
        thread.submit(there).result()


def is_machines_own() -> bool:
    """Whether this process is in the network namespace of the machine's first process: the machine's own network."""
    here = os.fstat(own()).st_ino
    try:
        return Path("/proc/1/ns/net").stat().st_ino == here
    except OSError:  # hidden from us: then a namespace that has a name is one that somebody has made
        return all(inode(name) != here for name in names())
