"""What plugins have in common whose work is a part of a network: the ledger knows what it was."""

from __future__ import annotations

from netlab.cni.errors import CniError, Code
from netlab.cni.machine import Machine
from netlab.cni.protocol import Call


class Owned:
    """DEL, CHECK and GC for whatever ADD has asked of the machine in the call's name."""

    def delete(self, call: Call, machine: Machine) -> None:
        machine.release(call.owner)

    def check(self, call: Call, machine: Machine) -> None:
        missing = machine.missing(call.owner)
        if missing:
            raise CniError(Code.CHECK, "; ".join(missing), "DEL and ADD make it anew")

    def status(self, call: Call, machine: Machine) -> None:
        """Ready as long as it can be run."""

    def gc(self, call: Call, machine: Machine) -> None:
        valid = call.valid()
        for owner in machine.owners(call.network, call.plugin):
            if (owner.container_id, owner.ifname) not in valid:
                machine.release(owner)
