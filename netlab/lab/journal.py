"""What is remembered of a lab that is up: /run/netlab/<name>/journal.json, written before the kernel is touched.

The journal is the ledger of `kernel.apply`, plus what `down`, `status` and `exercise` need without the lab's file. It
is replaced as a whole, so a reader sees the old or the new one, never half.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from netlab.base.errors import ConflictError, MachineError, NetlabError
from netlab.base.names import label_problem

if TYPE_CHECKING:  # `down` needs no more of a record than names, and no model to understand them
    from netlab.model import HostState
    from netlab.model.claims import Claims

RUN_DIR = Path("/run/netlab")
FORMAT = 1
#: the file that a cluster has in its directory, and a lab has not: both are named from one hat
CLUSTER = "cluster.json"
#: the file that it has besides if it is a lab's, with what is remembered of that
LAB = "lab.json"
#: seconds to wait for another verb on the same lab before refusing
LOCK_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Record:
    """source: the lab.yaml; digest: of the definition; namespaces: all of the lab's, in order; places: by place name.

    processes: what runs in the lab, as the supervisor's table has it; store: see `labfile.Lab`;
    claims, before: see `model.claims`; settled: the claims are what the definition says, no more and no less;
    impairments: set while the lab is up, by `place:device`.
    """

    name: str
    source: str
    digest: str
    iptables: str | None = None
    namespaces: tuple[str, ...] = ()
    places: dict[str, str] = field(default_factory=dict)
    claims: dict[str, HostState] = field(default_factory=dict)
    before: dict[str, dict[str, str]] = field(default_factory=dict)
    settled: bool = False
    processes: list[dict[str, Any]] = field(default_factory=list)
    store: str | None = None
    exercise: dict[str, Any] | None = None
    impairments: dict[str, Any] = field(default_factory=dict)


class JournalUnreadable(NetlabError):
    """The journal is there but makes no sense."""


class Journal:
    """The state directory of one lab, or of one cluster. kind: which of the two is meant."""

    def __init__(self, name: str, *, run_dir: Path = RUN_DIR, kind: Literal["lab", "cluster"] = "lab") -> None:
        problem = label_problem(name, what=f"{kind} name")
        if problem:
            raise ConflictError(problem)
        self.name, self.kind = name, kind
        self.dir = run_dir / name
        self.path = self.dir / "journal.json"
        self._record: Record | None = None
        self._goal: Mapping[str, HostState] | None = None

    # -- reading and writing

    def read(self, *, names_only: bool = False) -> Record | None:
        """The record, or None if the lab is not up. ConflictError if that is the name of something else that is up;
        JournalUnreadable, MachineError (no permission).

        names_only: without the claims, which are most of it.
        """
        try:
            data = orjson.loads(self.path.read_bytes())
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}, this netlab writes {FORMAT}")
            data.pop("format")
            data["claims"] = {} if names_only else _decoded(data["claims"])
            data["namespaces"] = tuple(data["namespaces"])
            self._record = Record(**data)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise MachineError(f"{self.path} may not be read", hint="run the same command with sudo") from None
        except OSError as e:
            raise JournalUnreadable(f"the journal {self.path} cannot be read: {e.strerror}", hint=self._mend()) from e
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise JournalUnreadable(f"the journal {self.path} makes no sense: {e}", hint=self._mend()) from e
        kind = "cluster" if (self.dir / CLUSTER).exists() else "lab"
        if kind != self.kind and on_cluster(self.name, self.dir.parent):
            raise ConflictError(
                f"lab {self.name!r} runs on a cluster, and this verb is about networks that labs lay themselves",
                hint=f"netlab cluster exec --cluster {self.name} node1 looks into a node",
            )
        if kind != self.kind:
            raise ConflictError(
                f"{self.name!r} is a {kind} that is up", hint=f"take another name; netlab {kind} … speaks to it"
            )
        return self._record

    def _mend(self) -> str:
        return f"remove the lab by its definition: netlab lab down {self.name} --definition {self.name}"

    def write(self, record: Record) -> None:
        """Replace the record. MachineError if it cannot be stored; then the old one is still there."""
        from netlab.model.codec import to_json

        data = {name: getattr(record, name) for name in Record.__dataclass_fields__}
        data["claims"] = {ns: to_json(state) for ns, state in record.claims.items()}
        self.store(self.path.name, orjson.dumps({"format": FORMAT, **data}), remark="; the network was not touched")
        self._record = record

    def store(self, name: str, content: bytes, *, remark: str = "") -> None:
        """Replace a file of the lab's directory as a whole. MachineError if it cannot be stored."""
        path, new = self.dir / name, self.dir / f"{name}.new"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(content)
            new.replace(path)
        except OSError as e:
            with contextlib.suppress(OSError):
                new.unlink()
            raise MachineError(
                f"{path} cannot be written: {e.strerror}{remark}",
                hint=f"make room on {self.dir.parent}: df -h {self.dir.parent}" if e.errno == errno.ENOSPC else None,
            ) from e

    def begin(self, record: Record, *, goal: Mapping[str, HostState] | None = None) -> None:
        """What the next `save` will write claims into. goal: the claims with which the record is settled."""
        self._record, self._goal = record, goal

    # -- the ledger of kernel.apply

    def load(self, owner: str) -> Claims:
        """The claims, as `kernel.ledger.Ledger` wants them."""
        from netlab.model.claims import Claims

        record = self._record
        return Claims(record.claims if record else {}, record.before if record else {})

    def save(self, owner: str, claims: Claims) -> None:
        """Keep the claims; they reach the file at once."""
        assert self._record is not None, "a journal is begun before the kernel is touched"
        settled = self._goal is not None and claims.states == self._goal
        self.write(replace(self._record, claims=dict(claims.states), before=dict(claims.before), settled=settled))

    def keep(self, record: Record) -> None:
        """Write what else changed, with the claims as they are."""
        assert self._record is not None
        whole = replace(record, claims=self._record.claims, before=self._record.before, settled=self._record.settled)
        self.write(whole)

    # -- life

    @contextlib.contextmanager
    def locked(self, *, waiting: Callable[[str], None], patience: float = LOCK_PATIENCE) -> Iterator[None]:
        """Hold the lab for one verb. A second verb waits, says so, and after `patience` seconds refuses."""
        fd = self._lock(waiting, patience)
        try:
            os.truncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            yield
        finally:
            # a lab that is not up leaves no directory; removed while locked, so that a waiting verb looks again
            if not self.path.exists():
                shutil.rmtree(self.dir, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.dir.parent.rmdir()
            os.close(fd)

    def _lock(self, waiting: Callable[[str], None], patience: float) -> int:
        path = self.dir / "lock"
        end = time.monotonic() + patience
        told = False
        while True:
            try:
                self.dir.mkdir(parents=True, exist_ok=True)
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # removed between the two lines by a verb that ended
            except OSError as e:
                raise MachineError(
                    f"{self.dir} cannot be made: {e.strerror}", hint="run the same command with sudo"
                ) from e
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(fd, path):
                    return fd
            except BlockingIOError:
                holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
                if time.monotonic() > end:
                    os.close(fd)
                    raise ConflictError(
                        f"another netlab command (process {holder}) is working on {self.kind} {self.name!r}",
                        hint="wait until it has finished, or stop it",
                    ) from None
                if not told:
                    waiting(f"waiting for process {holder}, which is working on {self.kind} {self.name!r}")
                    told = True
                time.sleep(0.02)
            os.close(fd)


def on_cluster(name: str, run_dir: Path = RUN_DIR) -> bool:
    """Whether a lab of that name is up that runs on a cluster."""
    return all((run_dir / name / file).exists() for file in (LAB, "journal.json"))


def _decoded(claims: dict[str, Any]) -> dict[str, HostState]:
    from netlab.model.codec import state_from_json

    return {ns: state_from_json(items) for ns, items in claims.items()}


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def running(run_dir: Path = RUN_DIR, *, kind: Literal["lab", "cluster"] = "lab") -> list[str]:
    """Names of the labs, or of the clusters, that are up, sorted. A lab on a cluster is both."""

    def meant(directory: Path) -> bool:
        is_cluster = (directory / CLUSTER).exists()
        return is_cluster if kind == "cluster" else not is_cluster or (directory / LAB).exists()

    try:
        return sorted(d.name for d in run_dir.iterdir() if (d / "journal.json").exists() and meant(d))
    except OSError:
        return []
