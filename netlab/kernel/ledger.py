"""What each owner has asked for, so that `apply` knows what is the owner's and what is not, even after a SIGKILL.

The record is written before the kernel is touched (with all that was or will be claimed) and again when the kernel
has obeyed (with what is claimed now).
"""

from __future__ import annotations

from typing import Protocol

from netlab.model.claims import Claims
from netlab.model.state import HostState


class Ledger(Protocol):
    """Where claims are kept. Implementations: a lab's journal on disk, `MemoryLedger`."""

    def load(self, owner: str) -> Claims:
        """The last claims of the owner; empty if there are none."""

    def save(self, owner: str, claims: Claims) -> None:
        """Replace the owner's claims. Must have reached the disk, or whatever survives the process, on return."""


class MemoryLedger:
    """Claims for as long as the process lives: tests, and owners that start from what they find."""

    def __init__(self) -> None:
        self._claims: dict[str, Claims] = {}

    def load(self, owner: str) -> Claims:
        return self._claims.get(owner, Claims())

    def save(self, owner: str, claims: Claims) -> None:
        self._claims[owner] = claims


def joined(old: HostState, new: HostState) -> HostState:
    """Everything that either claims; where both name a thing, the new claim."""
    items = {item.order: item for item in old} | {item.order: item for item in new}
    return HostState(tuple(items[order] for order in sorted(items)))
