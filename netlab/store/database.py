"""The SQLite file of a store: its tables, its locks, and what its errors mean. Synchronous; one object per connection.

    meta(name, value)                                   oldest: the oldest revision kept
    log(revision, key, value, created, previous, expires)    every write; value is NULL for a deletion

The log is appended to and has no second index: which revisions a key has is in memory (index.py), as in etcd. A group
of writes is one INSERT, thus one transaction, one fsync of the write-ahead log (synchronous=FULL), and one moment in
which the thread needs the interpreter's lock back. An acknowledged group survives the loss of power as far as the disk
tells the truth about its cache (https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous).

A file has one writer: it holds an flock on the file. Readers (snapshot, the command line) need none.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from netlab.base.errors import ConflictError, InputError
from netlab.store.index import Record, event_of
from netlab.store.protocol import Event, KeyValue, StoreError, Uncertain

#: "nlab" in the file's header (https://www.sqlite.org/fileformat.html), and the version of these tables
APPLICATION, VERSION = 0x6E6C6162, 1
#: bytes; with 2 KiB of value three rows share a page, and a single write still writes little
PAGE = 8192
#: pages of the write-ahead log after which it is copied into the file (16 MiB)
CHECKPOINT = 2048
#: seconds that another program may hold the file's lock
PATIENCE = 5.0
#: seconds that a reader of a file without a server may take (it has the file's lock as long), and between two looks
LOCK_PATIENCE, LOCK_LOOK = 0.5, 0.02

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE log (revision INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB, created INTEGER NOT NULL,
                  previous INTEGER NOT NULL, expires REAL NOT NULL) STRICT;
INSERT INTO meta VALUES ('oldest', 0);
"""
_ROW = "(?,?,?,?,?,?)"
_READ = "SELECT revision, key, value, created, previous, expires FROM log"

T = TypeVar("T")


def users_of(path: Path) -> list[str]:
    """Who has a lock on the file or its companions, as `1234 (sqlite3)`; we ourselves left out. Source: proc(5)."""
    inodes = set()
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            inodes.add(path.with_name(path.name + suffix).stat().st_ino)
    found = set()
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "->" not in words and int(words[5].rpartition(":")[2]) in inodes:
                found.add(int(words[4]))
    return [_named(pid) for pid in sorted(found - {os.getpid(), -1, 0})]


def _named(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    return f"process {pid}"


def explained(path: Path, error: sqlite3.Error, *, doing: str) -> StoreError | InputError:
    """What an error of SQLite means to whoever uses the store."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is the extended code
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"cannot {doing} {path}: the disk is full", hint="make room; nothing was written, and reading goes on"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        users = users_of(path)
        who = f" by {', '.join(users)}" if users else ""
        return StoreError(f"cannot {doing} {path}: it is locked{who}", hint="end that program, or its transaction")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreError(f"cannot {doing} {path}: it, or its directory, is read-only for us")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"cannot {doing} {path}: it, its directory or its -wal and -shm cannot be opened")
    if code == sqlite3.SQLITE_NOTADB:
        return InputError(f"{path} is no SQLite file, thus no store of netlab")
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreError(f"{path} is damaged ({error})", hint="restore a snapshot: netlab store restore --help")
    return StoreError(f"cannot {doing} {path}: {error}")


class Database:
    """One connection to one file. It may be used from any thread, by one at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int = -1) -> None:
        self.path = path
        self._connection, self._lock = connection, lock

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, create: bool = True) -> Database:
        """The file, made if it is not there and may be. StoreError, InputError, ConflictError: somebody else has it."""
        if (read_only or not create) and not path.is_file():
            raise InputError(f"{path}: there is no such store")
        lock = _shared_lock(path) if read_only else take_lock(path)
        connection = None
        try:
            mode = "rw"
            if read_only:
                # nobody has it, and nobody left anything beside it: then it is read without leaving anything either
                unused = lock >= 0 and not path.with_name(f"{path.name}-wal").exists()
                mode = "ro&immutable=1" if unused else "ro"
            uri = f"file:{_quoted(path)}?mode={mode}"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=PATIENCE)
            _prepare(path, connection, read_only=read_only)
        except BaseException as e:
            if connection is not None:
                connection.close()
            if lock >= 0:
                os.close(lock)
            if isinstance(e, sqlite3.Error):
                raise explained(path, e, doing="open") from e
            raise
        return cls(path, connection, lock)

    def close(self) -> None:
        """Close, and let others have it. The last one to close copies the write-ahead log into the file."""
        try:
            self._connection.close()
        finally:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection
        except sqlite3.Error as e:
            raise explained(self.path, e, doing=what) from e

    def oldest(self) -> int:
        """The oldest revision kept."""
        with self._doing("read") as c:
            return int(c.execute("SELECT value FROM meta WHERE name = 'oldest'").fetchone()[0])

    def load(self, take: Callable[[int, Iterable[Record]], T]) -> T:
        """take(oldest, all records in order), as of one moment."""
        with self._doing("read") as c:
            c.execute("BEGIN")
            try:
                return take(self.oldest(), (_record(row) for row in c.execute(f"{_READ} ORDER BY revision")))
            finally:
                c.execute("ROLLBACK")

    def values(self, revisions: Sequence[int]) -> Mapping[int, KeyValue]:
        """Writes by their revision; those that are there."""
        found: dict[int, KeyValue] = {}
        query = "SELECT revision, key, value, created FROM log WHERE revision IN (SELECT value FROM json_each(?))"
        with self._doing("read") as c:
            for revision, key, value, created in c.execute(query, (json.dumps(revisions),)):
                found[revision] = KeyValue(key.decode("utf-8", "surrogateescape"), value, created, revision)
        return found

    def events(self, first: int, last: int) -> list[Event]:
        """The writes of these revisions, each with the one before it."""
        query = (
            "SELECT l.revision, l.key, l.value, l.created, l.previous, l.expires, p.value, p.created "
            "FROM log l LEFT JOIN log p ON p.revision = l.previous WHERE l.revision BETWEEN ? AND ? ORDER BY l.revision"
        )
        with self._doing("read") as c:
            return [
                event_of(record := _record(row[:6]), KeyValue(record.key, row[6], row[7], row[4]) if row[4] else None)
                for row in c.execute(query, (first, last))
            ]

    # writing

    def append(self, records: Sequence[Record]) -> None:
        """Keep these, all or none, on the disk. Uncertain if it cannot be told which of the two."""
        parameters: list[Any] = []
        for r in records:
            parameters += (
                r.revision,
                r.key.encode("utf-8", "surrogateescape"),
                r.value,
                r.created,
                r.previous,
                r.expires,
            )
        try:
            self._connection.execute(f"INSERT INTO log VALUES {','.join([_ROW] * len(records))}", parameters)
        except sqlite3.Error as e:
            error = explained(self.path, e, doing="write to")
            with contextlib.suppress(sqlite3.Error):
                (last,) = self._connection.execute("SELECT max(revision) FROM log").fetchone()
                if (last or 0) < records[0].revision:
                    raise error from e
            raise Uncertain(f"{error.message}: what of it was kept, only opening it again can tell") from e

    def forget(self, oldest: int) -> None:
        """Keep that this is the oldest revision."""
        with self._doing("compact") as c:
            c.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'oldest'", (oldest,))

    def drop(self, revisions: Sequence[int]) -> None:
        """Delete these rows. Their room is used again."""
        with self._doing("compact") as c:
            c.execute("DELETE FROM log WHERE revision IN (SELECT value FROM json_each(?))", (json.dumps(revisions),))

    def alone(self) -> None:
        """Put everything into this one file, and leave none beside it, whoever opens it next."""
        with self._doing("write to") as c:
            c.execute("PRAGMA journal_mode = DELETE")

    def shrink(self) -> None:
        """Give free room back to the file system. Takes as long as writing the file anew."""
        with self._doing("compact") as c:
            c.execute("VACUUM")

    def fault(self) -> str:
        """What is wrong with the file, or nothing. Reads all of it."""
        with self._doing("check") as c:
            (found,) = c.execute("PRAGMA integrity_check(1)").fetchone()
        return "" if found == "ok" else str(found)

    def copy(self, path: Path, *, before: Callable[[], None] = lambda: None) -> int:
        """The file as of one moment into another, which is replaced as a whole; the revision. before: called when all
        is ready to be replaced."""
        with replacing(path, before=before) as new:
            with self._doing("copy") as c:
                c.execute("VACUUM INTO ?", (str(new),))
            found = Database.open(new, read_only=True)
            try:
                return found.revision()
            finally:
                found.close()

    def revision(self) -> int:
        """The last one."""
        with self._doing("read") as c:
            (last,) = c.execute("SELECT max(revision) FROM log").fetchone()
        return max(int(last or 0), self.oldest(), 1)


def write_snapshot(path: Path, records: Sequence[Record], *, revision: int, oldest: int) -> None:
    """A store's file out of records in the order of their revisions. revision: of a store whose last writes may be
    superseded; then `oldest` is the same."""
    if revision > max((records[-1].revision if records else 1), oldest):
        raise ValueError("a revision beyond the records has to be the oldest kept")
    with replacing(path) as new:
        database = Database.open(new)
        try:
            for at in range(0, len(records), 500):
                database.append(records[at : at + 500])
            database.forget(oldest)
            database.alone()
        finally:
            database.close()


@contextlib.contextmanager
def replacing(path: Path, *, before: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """A file to be written beside `path`, that takes its place when the body has ended, and is removed if it fails."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _discard(new)
        yield new
        with new.open("rb") as f:
            os.fsync(f.fileno())
        before()
        new.replace(path)
        sync_directory(path.parent)
    except OSError as e:
        raise StoreError(f"cannot write {path}: {e.strerror or e}") from e
    finally:
        _discard(new)


def _discard(path: Path) -> None:
    discard_companions(path)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def discard_companions(path: Path) -> None:
    """Remove the files that SQLite keeps beside this one."""
    for suffix in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.with_name(path.name + suffix).unlink()


def sync_directory(path: Path) -> None:
    """Make names in it survive the loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _record(row: tuple[int, bytes, bytes | None, int, int, float]) -> Record:
    revision, key, value, created, previous, expires = row
    return Record(revision, key.decode("utf-8", "surrogateescape"), value, created, previous, expires)


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def take_lock(path: Path) -> int:
    """The file's lock, for one writer. The descriptor is open as long as SQLite has the file: to close one earlier
    would drop SQLite's own locks (https://www.sqlite.org/howtocorrupt.html section 2.2)."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise StoreError(f"cannot open {path}: {e.strerror}") from e
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            os.close(fd)
            if time.monotonic() < deadline:
                time.sleep(LOCK_LOOK)
                continue
            users = users_of(path)
            who = ", ".join(users) or "another user in this process"
            raise ConflictError(f"{path} is in use by {who}", hint="a store has one server: ask that one") from e
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        os.close(fd)  # it was replaced while we were waiting


def _shared_lock(path: Path) -> int:
    """The file's lock for a reader, if there is no writer and it can be opened at all; else -1."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # SQLite will find the words
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return -1
    return fd


def _prepare(path: Path, c: sqlite3.Connection, *, read_only: bool) -> None:
    (tables,) = c.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = c.execute("PRAGMA application_id").fetchone()
    if not tables and not application and not read_only:
        c.execute(f"PRAGMA page_size = {PAGE}")
        c.execute("PRAGMA journal_mode = WAL")
        c.execute("PRAGMA synchronous = FULL")
        c.executescript(
            f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
        sync_directory(path.parent)
    elif application != APPLICATION:
        raise InputError(f"{path} is no store of netlab, but an SQLite file of something else")
    (version,) = c.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise InputError(f"{path} is of version {version}; this netlab knows version {VERSION}")
    if read_only:
        return
    (mode,) = c.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path}: its file system cannot do what a write-ahead log needs (journal mode {mode})")
    c.execute("PRAGMA synchronous = FULL")
    c.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
