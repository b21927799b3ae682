"""Compiled labs, kept on disk as Python keeps .pyc files: a lab.yaml that was brought up before is not parsed again.

Reading YAML, validating and resolving costs `up` more than the network does. What is kept is worth what its key is: the
file's content, its name as the messages show it, and the code that compiled it. Anything odd about a kept file makes it
as good as missing, and nothing is lost with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import orjson

import netlab
from netlab.compile.topology import Place, Process, Topology
from netlab.model import HostState
from netlab.model.codec import state_from_json, to_json

#: how many labs are kept; the one that was not needed for longest goes first
KEPT_MAX = 64
#: the rooms whose code decides what becomes of a lab.yaml
_ROOMS = ("base", "compile", "lab", "model")


class Kept(NamedTuple):
    """A compiled lab. outline: its topology with places and processes, without devices."""

    outline: Topology
    states: dict[str, HostState]


def directory() -> Path:
    """Where they are: below XDG_CACHE_HOME; without one in /var/cache for root, in ~/.cache for others."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    return (Path(chosen) if chosen else Path("/var/cache" if os.geteuid() == 0 else "~/.cache").expanduser()) / "netlab"


def key(path: Path, *, shown: str, content: bytes) -> str:
    """The name of the kept file."""
    digest = hashlib.sha256(b"\0".join((netlab.__version__.encode(), str(path).encode(), shown.encode(), content)))
    for room in _ROOMS:
        with os.scandir(Path(netlab.__file__).parent / room) as files:
            for file in sorted((f for f in files if f.name.endswith(".py")), key=lambda f: f.name):
                digest.update(f"{file.name} {file.stat().st_mtime_ns} {file.stat().st_size}\0".encode())
    return digest.hexdigest()[:32]


def read(name: str) -> Kept | None:
    """What was kept under that key."""
    try:
        with (directory() / name).open("rb") as file:
            # what root believes, nobody else may have written
            about = os.fstat(file.fileno())
            if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
                return None
            data = orjson.loads(file.read())
        places = tuple(_place(p) for p in data["places"])
        outline = Topology(name=data["name"], title=data["title"], places=places, source=data["source"])
        return Kept(outline, {ns: state_from_json(items) for ns, items in data["states"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(name: str, topology: Topology, states: dict[str, HostState]) -> None:
    """Keep it, if there is room and permission."""
    data = {
        "name": topology.name,
        "title": topology.title,
        "source": topology.source,
        "places": [
            {"name": p.name, "role": p.role, "on": p.on, "shares": p.shares, "why": p.why}
            | {"processes": [{f: getattr(q, f) for f in Process.__dataclass_fields__} for q in p.processes]}
            for p in topology.places
        ],
        "states": {ns: to_json(state) for ns, state in states.items()},
    }
    where = directory()
    new = where / f"{name}.new"
    with contextlib.suppress(OSError):
        where.mkdir(parents=True, exist_ok=True, mode=0o755)
        new.write_bytes(orjson.dumps(data))
        new.chmod(0o644)
        new.replace(where / name)
        for old in sorted(where.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)[KEPT_MAX:]:
            old.unlink()


def _place(data: dict[str, Any]) -> Place:
    processes = tuple(
        Process(
            **{
                **q,
                "argv": tuple(q["argv"]) if q["argv"] is not None else None,
                "serve": tuple((port, protocol) for port, protocol in q["serve"]),
                "env": tuple((name, value) for name, value in q["env"]),
            }
        )
        for q in data.pop("processes")
    )
    return Place(**data, processes=processes)
