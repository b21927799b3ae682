"""Admission: what may change or refuse a write after it is authorized and before it is stored.

A plugin is one file with one class; PLUGINS in `netlab.apiserver.admission.chain` lists them in the original's order. A
plugin that counts (quota) also hears whether the write was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.api import Json

if TYPE_CHECKING:
    from netlab.apiserver.call import Call, User
    from netlab.apiserver.kinds import Kind


@dataclass(slots=True)
class Attributes:
    """A write: operation CREATE, UPDATE, DELETE or CONNECT; obj: as it will be (None for a DELETE); old: as it is.

    changed: whether a webhook has changed the object, whereupon all mutating plugins get a second turn; turn: 0 or 1;
    again: the webhooks that are to be asked in the second one.
    """

    operation: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    obj: Json | None
    old: Json | None
    user: User
    dry: bool
    call: Call
    changed: bool = False
    turn: int = 0
    again: frozenset[str] = frozenset()

    @property
    def group_kind(self) -> tuple[str, str]:
        """Stored group and kind."""
        return self.kind.resource.storage[0], self.kind.resource.kind


class Plugin:
    """What a plugin may override. Each raises ApiError to refuse."""

    async def mutate(self, a: Attributes) -> None:
        """Change `a.obj`."""

    async def validate(self, a: Attributes) -> None:
        """Look at it as it will be stored."""

    async def done(self, a: Attributes) -> None:
        """The write was made."""

    async def undo(self, a: Attributes) -> None:
        """The write was not made although it was admitted."""


class Admission:
    """The plugins in their order."""

    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self.plugins = tuple(plugins)
        self._mutating = [p for p in self.plugins if type(p).mutate is not Plugin.mutate]
        self._validating = [p for p in self.plugins if type(p).validate is not Plugin.validate]
        self._counting = [p for p in self.plugins if type(p).done is not Plugin.done]
        self._undoing = [p for p in self.plugins if type(p).undo is not Plugin.undo]

    async def mutate(self, a: Attributes) -> Json:
        """The object after all mutating plugins."""
        for a.turn in (0, 1):
            for plugin in self._mutating:
                await plugin.mutate(a)
            if not a.changed:
                break
        return a.obj if a.obj is not None else {}

    async def validate(self, a: Attributes) -> None:
        """All validating plugins."""
        for plugin in self._validating:
            await plugin.validate(a)

    async def done(self, a: Attributes) -> None:
        """Tell those who count."""
        for plugin in self._counting:
            await plugin.done(a)

    async def undo(self, a: Attributes) -> None:
        """Tell those who counted too early."""
        for plugin in self._undoing:
            await plugin.undo(a)
