"""A lab as read from its folder: found by name or path, parsed, resolved, compiled - each when first needed."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import netlab
from netlab.base.errors import InputError, Problem
from netlab.base.files import shown

if TYPE_CHECKING:  # imported where they are used: a lab that is only named needs none of it
    from netlab.base.yamlfile import Document
    from netlab.compile.topology import Topology
    from netlab.lab.schema_file import LabFile
    from netlab.model import HostState

FILE = "lab.yaml"
#: the folder of a lab's API objects
MANIFESTS = "manifests"
#: more namespaces are not begun ahead
SIZE_GUESS_MAX = 2000
_ENTRY = re.compile(rb"(?m)^  [a-z0-9][-a-z0-9]*:")
_CLUSTER = re.compile(rb"(?m)^cluster:")
_NAME = re.compile(rb"(?m)^name:[ \t]+([a-z0-9][-a-z0-9]*)[ \t]*(?:#.*)?$")


def followed(path: str) -> bool:
    """Whether daemons of a lab follow that file of its directory, as they would follow an API server."""
    return path.startswith(f"{MANIFESTS}/")


def search_path() -> list[Path]:
    """Where labs are looked for by name: `labs` here, then the one that netlab comes with."""
    here, ours = Path.cwd() / "labs", Path(netlab.__file__).resolve().parent.parent / "labs"
    return [here] if here.resolve() == ours else [here, ours]


def available() -> dict[str, Path]:
    """The labs that can be found by name, with their files."""
    found: dict[str, Path] = {}
    for directory in search_path():
        for file in sorted(directory.glob(f"*/{FILE}")):
            found.setdefault(file.parent.name, file)
    return found


def find(name: str) -> Path:
    """The lab.yaml that `name` means: a lab's name, a folder, or a file. InputError with the nearest name."""
    as_path = Path(name)
    if "/" in name or name.endswith((".yaml", ".yml")) or (as_path / FILE).is_file():
        file = as_path / FILE if as_path.is_dir() else as_path
        if not file.is_file():
            raise InputError(
                [Problem(name, f"there is no lab file {shown(file)}", "give a lab's name, folder or lab.yaml")]
            )
        return file
    known = available()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'} (netlab lab list)"
        raise InputError([Problem(name, f"there is no lab {name!r}", hint)])
    return known[name]


@dataclass(frozen=True)
class Lab:
    """A lab file and what becomes of it. Everything beyond the digest is computed on demand, once.

    store: where leases are kept, `etcd` or None for the lab's directory.
    """

    path: Path
    store: str | None = None

    @classmethod
    def named(cls, name: str, *, store: str | None = None) -> Lab:
        """The lab that a user means by `name`, see `find`."""
        return cls(find(name).resolve(), store)

    @cached_property
    def digest(self) -> str:
        """What the definition is, in a few characters: changes with the file and with netlab's version."""
        variant = f"{netlab.__version__}\0{self.store or ''}\0".encode()
        manifests = sorted((self.folder / MANIFESTS).glob("*.y*ml"))
        beside = b"".join(b"\0%s\0%s" % (file.name.encode(), file.read_bytes()) for file in manifests)
        return hashlib.sha256(variant + self._content + beside).hexdigest()[:16]

    @cached_property
    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as e:
            raise InputError([Problem(shown(self.path), f"cannot be read: {e.strerror}")]) from e

    @property
    def likely_name(self) -> str | None:
        """What `name` very likely is, by a look at the file that is no parsing."""
        found = _NAME.search(self._content)
        return found.group(1).decode() if found else None

    @property
    def on_cluster(self) -> bool:
        """Whether it has a section `cluster`, by a look at the file that is no parsing."""
        return _CLUSTER.search(self._content) is not None

    @property
    def likely_size(self) -> int:
        """About how many namespaces it has: the keys one step in, which are mostly nodes and containers."""
        return min(len(_ENTRY.findall(self._content)), SIZE_GUESS_MAX)

    @cached_property
    def document(self) -> Document:
        """The parsed file. InputError."""
        from netlab.base.yamlfile import load

        return load(self.path)

    @cached_property
    def file(self) -> LabFile:
        """The validated file. InputError."""
        from netlab.base.yamlfile import validated
        from netlab.lab.schema_file import LabFile

        return validated(LabFile, self.document)

    @cached_property
    def topology(self) -> Topology:
        """The resolved lab. InputError."""
        from netlab.lab.resolving import resolve

        return resolve(self.file, self.document, store=self.store, folder=self.folder)

    @cached_property
    def states(self) -> dict[str, HostState]:
        """The desired network of every namespace. InputError; so for a lab on a cluster, whose network is its own."""
        from netlab.compile.machines import compile_lab

        if self.file.cluster:
            raise InputError(
                f"lab {self.name!r} runs on a cluster, whose networks are made by its daemons and not by lab.yaml",
                hint=f"netlab lab graph {self.name} draws it; netlab cluster exec --cluster {self.name} node1 looks in",
            )

        try:
            return compile_lab(self.topology)
        except ValueError as e:
            raise InputError([Problem(self.document.name, str(e))]) from e

    @cached_property
    def whole(self) -> dict[str, HostState]:
        """`states`, with what the lab's daemons will ask for in addition. InputError."""
        if not any((self.file.flannel, self.file.bgp, self.file.calico, self.file.agents)):
            return self.states
        from netlab.lab.overlays import whole

        return whole(self)

    @property
    def name(self) -> str:
        """The lab's own name, which may differ from its folder's."""
        return self.file.name

    @property
    def folder(self) -> Path:
        """Where its exercise and manifests lie."""
        return self.path.parent
