"""A machine without a kernel, for the engine: namespaces in memory, processes as notes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netlab.base.errors import MachineError
from netlab.kernel.apply import Kernel
from netlab.kernel.fake import FakeBackend
from netlab.lab.machine import Visitor


class FakeMachine:
    """Enough of `netlab.lab.machine.Machine` for the engine. root: whether it may do anything at all."""

    def __init__(self, *, root: bool = True) -> None:
        self.backend = FakeBackend()
        self.root = root
        self.started: list[Path] = []
        self.inside: list[Visitor] = []
        self.works = "nft"
        self.lacks: set[str] = set()
        self.variants: list[str | None] = []

    def require_root(self) -> None:
        if not self.root:
            raise MachineError("this needs root", hint="sudo")

    def iptables_variant(self) -> str:
        return self.works

    def need(self, feature: str) -> None:
        if feature in self.lacks:
            raise MachineError(f"this kernel has no {feature}", hint="another kernel")

    def expecting(self, namespaces: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def network(self, ledger: Any, *, iptables: str | None) -> Kernel:
        self.variants.append(iptables)
        return Kernel(self.backend, ledger)

    def namespaces(self) -> set[str]:
        return set(self.backend.names())

    def identity(self, name: str) -> int | None:
        return id(self.backend.spaces[name]) if name in self.backend.spaces else None

    def delete_namespaces(self, names: Sequence[str]) -> int:
        return sum(self.backend.delete(name) for name in names)

    def visitors(self, names: Sequence[str]) -> list[Visitor]:
        return self.inside

    def expel(self, names: Sequence[str]) -> list[Visitor]:
        found, self.inside = self.inside, []
        return found

    def web_server(self, name: str, serve: Sequence[tuple[int, str]]) -> list[str]:
        return ["web", name]

    def start_processes(self, run_dir: Path) -> None:
        self.started.append(run_dir)

    def stop_processes(self, run_dir: Path) -> None:
        self.started = [d for d in self.started if d != run_dir]

    def processes(self, run_dir: Path) -> dict[str, dict[str, Any]]:
        return {}
