"""The kernel's no, in terms of what was wanted and why."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence

from netlab.base.errors import KernelError, MachineError
from netlab.model.diff import Change, Create, Delete, Op
from netlab.model.iptables import Chain
from netlab.model.links import Bridge, BridgeVlan, Link
from netlab.model.nft import NftChain
from netlab.model.qdisc import Qdisc


def refusal(op: Op, number: int, said: str) -> KernelError | MachineError:
    """The kernel's no, in terms of what was wanted and why."""
    doing = {Create: "make", Change: "change", Delete: "remove"}[type(op)]
    because = f" (wanted by {op.item.why})" if op.item.why else ""
    text = os.strerror(number) + (f": {said}" if said else "")
    filtering = isinstance(op.item, Link) and isinstance(op.item.kind, Bridge) and op.item.kind.vlan_filtering
    if number == errno.EOPNOTSUPP and (filtering or isinstance(op.item, BridgeVlan)):
        return MachineError(
            f"the bridges of this kernel know no VLANs: cannot {doing} {op.item}{because}",
            hint="its CONFIG_BRIDGE_VLAN_FILTERING is off: run it in a VM whose kernel has it, by netlab vm run",
        )
    # of an unknown qdisc the kernel says ENOENT, as it does of a missing parent: only its words tell them apart
    if isinstance(op.item, Link | Qdisc) and (number == errno.EOPNOTSUPP or "qdisc kind is unknown" in said):
        kind = op.item.kind.NAME
        module = f"sch_{kind}" if isinstance(op.item, Qdisc) else kind
        return MachineError(
            f"this kernel has no {kind}: cannot {doing} {op.item}{because}",
            hint=f"modprobe {module}, or run it in a VM whose kernel has it",
        )
    return KernelError(f"cannot {doing} {op.item}{because}: {text}", errno_=number, item=str(op.item))


def failed(what: str, e: OSError) -> KernelError:
    """A refusal that no item of a HostState has to do with."""
    return KernelError(f"{what}: {e.strerror or e}", errno_=e.errno or 0)


class Whys(Mapping[str, str]):
    """Why a line of a restore text or of an nft script is there. Looked for only when a line was refused."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._ops = ops

    def _found(self) -> Iterator[tuple[str, str]]:
        for op in self._ops:
            item = op.item
            if isinstance(item, Chain):
                whys = zip(item.lines, item.whys, strict=True)
                yield from ((f"-A {item.name} {line}", why or item.why) for line, why in whys)
            elif isinstance(item, NftChain):
                path = f"{item.family} {item.table} {item.name}"
                yield from ((f"add rule {path} {rule.text}", rule.why or item.why) for rule in item.rules)

    def __getitem__(self, line: str) -> str:
        for found, why in self._found():
            if found == line:
                return why
        raise KeyError(line)

    def __iter__(self) -> Iterator[str]:
        return (line for line, _ in self._found())

    def __len__(self) -> int:
        return sum(1 for _ in self._found())
