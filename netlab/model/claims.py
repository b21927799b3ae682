"""What an owner has asked for: the memory that tells `apply` what is the owner's and what is not."""

from __future__ import annotations

from dataclasses import dataclass, field

from netlab.model.state import HostState


@dataclass(frozen=True, slots=True)
class Claims:
    """states: by namespace, what the owner asked for there; before: by namespace, sysctls as they were before it."""

    states: dict[str, HostState] = field(default_factory=dict)
    before: dict[str, dict[str, str]] = field(default_factory=dict)
