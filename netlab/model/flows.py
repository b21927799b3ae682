"""Connections as the kernel tracks them: no part of a HostState, for nobody asks for them; they come of packets."""

from __future__ import annotations

from typing import NamedTuple

from netlab.base.addresses import Address


class Flow(NamedTuple):
    """One tracked connection: who has sent what where, and who is to answer it (another, where it was rewritten)."""

    protocol: str
    source: Address
    source_port: int
    address: Address
    port: int
    answerer: Address
    answerer_port: int
