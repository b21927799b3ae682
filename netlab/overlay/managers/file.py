"""Leases in a directory that the nodes of a lab share: the store that needs no server.

    DIR/config                          the network's configuration, written by a person or the lab
    DIR/subnets/100.96.1.0-24           the lease, to be read with cat: exactly flannel's JSON
    DIR/lock                            held (flock) while something is written

A lease is a symbolic link, so that value and date of expiry are one thing and change in one rename:

    subnets/100.96.1.0-24 -> ../leases/100.96.1.0-24@1700086400.000

where the number is when it expires, in seconds since the epoch; `ls -l` shows it. A plain file in `subnets/` is a
reservation, which never expires: that is what a person makes by hand, as a key without a lease is in etcd. Whoever
edits a lease through its link changes the value and leaves the expiry. What has expired is no longer there for any
reader, and is swept away by whoever writes next.

What is no file, not readable or makes no sense is nobody's lease and stops nobody; names that begin with a dot or end
with a tilde are an editor's.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from asyncinotify import Inotify, Mask

from netlab.overlay.lease import StoreUnavailable, Subnet
from netlab.overlay.managers.store import Entries, Entry, Now, Sleep, in_the_way, until_next, wait_or

#: of leases, and of the folder itself: one that was taken away or replaced is another store
_CHANGES = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.ONLYDIR
_OWN_CHANGES = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
#: how long another process may hold the lock before that is a fault, and how often it is tried (seconds)
_LOCK_LIMIT, _LOCK_PAUSE = 5.0, 0.005
#: a value is far smaller; what is larger is none
_VALUE_MAX = 1 << 20


#: a file's times are those of the kernel's coarse clock, which ticks every 10 ms at most (nanoseconds)
_TICK = 50_000_000

#: what tells that a file is the one that was read: inode, times, size
Mark = tuple[int, int, int, int]


class FileStore:
    """The store (store.LeaseStore) in `directory`. now, sleep: as those of StoreManager."""

    def __init__(self, directory: Path, *, now: Now = time.time, sleep: Sleep = asyncio.sleep) -> None:
        self.directory = directory
        self._subnets, self._leases = directory / "subnets", directory / "leases"
        self._now, self._sleep = now, sleep
        self._known: dict[str, tuple[Mark, Entry]] = {}

    @property
    def place(self) -> str:
        """The directory's name."""
        return str(self.directory)

    async def config(self) -> bytes | None:
        """See LeaseStore."""
        try:
            return (self.directory / "config").read_bytes()
        except FileNotFoundError:
            self._present()
            return None
        except OSError as e:
            raise self._fault(e) from e

    async def entries(self) -> Entries:
        """See LeaseStore."""
        return self._read()

    async def entry(self, key: str) -> Entry | None:
        """See LeaseStore."""
        entry = self._entry(key)
        if entry is None:
            self._present()
        return entry if entry and self._alive(entry) else None

    def _present(self) -> None:
        """A store that is away is not one that is empty: nobody has lost a lease."""
        if not self.directory.is_dir():
            raise StoreUnavailable(f"{self.directory} is not there")

    def _read(self) -> dict[str, Entry]:
        """What is there and has not expired."""
        try:
            names = os.listdir(self._subnets)  # noqa: PTH208 (a thousand Path objects are not needed)
        except FileNotFoundError:
            self._present()
            return {}
        except OSError as e:
            raise self._fault(e) from e
        known, self._known = self._known, {}
        found = (
            self._looked(name, known.get(name))
            for name in sorted(names)
            if not name.startswith(".") and not name.endswith("~")
        )
        return {entry.key: entry for entry in found if entry and self._alive(entry)}

    def _looked(self, key: str, known: tuple[Mark, Entry] | None) -> Entry | None:
        """What stands under the key; the very same entry as at the last look if nothing has touched it since.

        Of a thousand leases one changes, and to look at a file costs a tenth of reading it.
        """
        try:
            seen = os.stat(f"{self._subnets}/{key}")  # noqa: PTH116 (a Path costs as much as the call)
            mark = (seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size)
        except (OSError, ValueError):
            return self._entry(key)
        # a file that was written within the clock's last tick may be written again and look the same
        settled = seen.st_ctime_ns < time.time_ns() - _TICK
        entry = known[1] if known and known[0] == mark and settled else self._entry(key)
        if entry is not None:
            self._known[key] = (mark, entry)
        return entry

    def _alive(self, entry: Entry) -> bool:
        return entry.expires is None or entry.expires > self._now()

    def _entry(self, key: str) -> Entry | None:
        """What stands under the key, expired or not. A value that cannot be read is empty."""
        path = self._subnets / key
        try:
            target = path.readlink().name if path.is_symlink() else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            target = None
        try:
            # a pipe that somebody left here is not waited for
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                revision = os.fstat(descriptor).st_mtime_ns
                value = os.read(descriptor, _VALUE_MAX)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            # gone since the directory was listed, or a link whose lease has been swept away
            return None
        except (OSError, ValueError):
            value, revision = b"", 0
        return Entry(key, value, _expiry(target, key), revision)

    async def create(self, subnet: Subnet, value: bytes, ttl: float) -> Entry | None:
        """See LeaseStore."""
        async with self._locked():
            # also what has no right to its name keeps a link from being put there
            if in_the_way(subnet, self._read().keys()) or self._occupied(subnet.key):
                return None
            return self._write(subnet.key, value, ttl)

    async def replace(self, entry: Entry, value: bytes, ttl: float | None) -> Entry | None:
        """See LeaseStore."""
        async with self._locked():
            return self._write(entry.key, value, ttl) if self._unchanged(entry) else None

    async def remove(self, entry: Entry) -> bool:
        """See LeaseStore."""
        async with self._locked():
            current = self._entry(entry.key)
            if current is None or not self._alive(current):
                return True
            if not self._unchanged(entry):
                return False
            (self._subnets / entry.key).unlink(missing_ok=True)
            self._sweep()
            return True

    def _occupied(self, key: str) -> bool:
        path = self._subnets / key
        return path.exists() and not path.is_symlink()

    def _unchanged(self, entry: Entry) -> bool:
        """Value and expiry say all that there is to an entry: that it was another one for a while is no harm."""
        current = self._entry(entry.key)
        return (
            current is not None and self._alive(current)
            and (current.value, current.expires) == (entry.value, entry.expires)
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncGenerator[None, None]:
        """The right to write. Nothing is awaited inside, so this process's other tasks never wait for it."""
        self._present()
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                await self._lock(descriptor)
                self._subnets.mkdir(exist_ok=True)
                self._leases.mkdir(exist_ok=True)
                yield
            finally:
                os.close(descriptor)
        except OSError as e:
            raise self._fault(e) from e

    async def _lock(self, descriptor: int) -> None:
        """By trying: a thread that waits could not be cancelled, and the holder may have been stopped by a learner."""
        for _ in range(round(_LOCK_LIMIT / _LOCK_PAUSE)):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            # real time whatever the store's clock is: another process is waited for
            await asyncio.sleep(_LOCK_PAUSE)
        raise StoreUnavailable(f"{self.directory}/lock is held by another process for {_LOCK_LIMIT:g} s")

    def _write(self, key: str, value: bytes, ttl: float | None) -> Entry:
        path, scratch = self._subnets / key, self.directory / f".{key}.new"
        scratch.unlink(missing_ok=True)
        scratch.write_bytes(value)
        revision = scratch.stat().st_mtime_ns
        if ttl is None:
            scratch.replace(path)
            self._sweep()
            return Entry(key, value, None, revision)
        name = f"{key}@{self._now() + ttl:.3f}"
        scratch.replace(self._leases / name)
        scratch.symlink_to(Path("..") / "leases" / name)
        scratch.replace(path)
        self._sweep()
        return Entry(key, value, _expiry(name, key), revision)

    def _sweep(self) -> None:
        """Remove links that have expired and leases that no link leads to."""
        used = set()
        for key in os.listdir(self._subnets):  # noqa: PTH208
            path = self._subnets / key
            target = path.readlink().name if path.is_symlink() else None
            expires = _expiry(target, key)
            if expires is not None and expires <= self._now():
                path.unlink(missing_ok=True)
            elif target:
                used.add(target)
        for name in os.listdir(self._leases):  # noqa: PTH208
            if name not in used:
                with contextlib.suppress(OSError):
                    (self._leases / name).unlink()

    async def watch(self) -> AsyncGenerator[Entries, None]:
        """See LeaseStore. The kernel tells of changes (inotify); the clock tells of expiries."""
        with self._notified() as descriptor:
            watched = self._identity()
            while True:
                # what happens from here on makes the descriptor readable again: nothing is missed
                _drain(descriptor)
                entries = self._read()
                yield entries
                await wait_or(_readable(descriptor), self._sleep, until_next(entries, self._now()))
                if self._identity() != watched:
                    raise StoreUnavailable(f"{self._subnets} was replaced")

    def _identity(self) -> tuple[int, int]:
        """Which folder it is that has the name now."""
        try:
            found = self._subnets.stat()
        except OSError as e:
            raise self._fault(e) from e
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def _notified(self) -> Iterator[int]:
        """A descriptor that is readable once something has changed."""
        changes = None
        try:
            self._present()
            self._subnets.mkdir(exist_ok=True)
            self._leases.mkdir(exist_ok=True)
            changes = Inotify()
            os.set_blocking(changes.fd, False)
            changes.add_watch(self.directory, _OWN_CHANGES)
            changes.add_watch(self._subnets, _CHANGES | _OWN_CHANGES)
            changes.add_watch(self._leases, _CHANGES)
        except OSError as e:
            if changes is not None:
                changes.close()
            raise self._fault(e) from e
        try:
            yield changes.fd
        finally:
            changes.close()

    def _fault(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(f"{error.filename or self.directory}: {error.strerror or error}")

    async def aclose(self) -> None:
        """Nothing to close."""


def _expiry(target: str | None, key: str) -> float | None:
    """The seconds in a link's target; None of a plain file, and of a link that somebody else has made."""
    name, at, seconds = (target or "").rpartition("@")
    if not at or name != key:
        return None
    try:
        return float(seconds)
    except ValueError:
        return None


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _drain(descriptor: int) -> None:
    """Forget all events: everything is read anew, and one write makes several of them."""
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 1 << 16):
            pass
