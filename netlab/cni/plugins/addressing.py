"""What plugins do with the address plugin that their configuration names in `ipam`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from netlab.cni.config import decode
from netlab.cni.errors import CniError
from netlab.cni.machine import Machine
from netlab.cni.protocol import Call
from netlab.cni.result import Result


def _call(call: Call, machine: Machine, command: str) -> bytes:
    kind = call.config.inner("ipam").text("type")
    return machine.call(kind, command, call.config.data, call.environment) if kind else b""


@contextlib.contextmanager
def addresses(call: Call, machine: Machine) -> Iterator[Result]:
    """Addresses for the container; given back if the body fails. An empty result without an `ipam`."""
    said = _call(call, machine, "ADD")
    place = f"the answer of {call.config.inner('ipam').text('type')}"
    try:
        yield Result.of(decode(said, place), place) if said else Result()
    except BaseException:
        with contextlib.suppress(CniError):  # what went wrong first is what the caller should hear
            release(call, machine)
        raise


def release(call: Call, machine: Machine) -> None:
    """Give back what the container has."""
    _call(call, machine, "DEL")


def check(call: Call, machine: Machine) -> None:
    """CniError if the container has not what it had."""
    _call(call, machine, "CHECK")


def status(call: Call, machine: Machine) -> None:
    """CniError if there is nothing to give."""
    _call(call, machine, "STATUS")


def collect(call: Call, machine: Machine) -> None:
    """Give back what is of no valid attachment."""
    _call(call, machine, "GC")
