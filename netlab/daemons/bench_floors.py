"""What `netlab bench rules` is measured beside: the bare tools, fed with the very text that netlab would feed them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from netlab.base.errors import KernelError
from netlab.compile.proxier import Step
from netlab.kernel.commands import run_in
from netlab.model import HostState
from netlab.model.diff import Change, Create, Delete, Op, diff
from netlab.model.explain import commands
from netlab.model.nftscript import script
from netlab.model.restore import restore_blocks

T = TypeVar("T")
#: mode to (iptables variant, the floor's tool)
MODES = {
    "iptables-legacy": ("legacy", "iptables-legacy-restore --noflush -w 60"),
    "iptables-nft": ("nft", "iptables-nft-restore --noflush -w 60"),
    "nftables": ("legacy", "nft -f -"),
    "nftables-direct": ("legacy", "nft -f -"),
    "ipvs": ("nft", ""),
}
#: tools that take many commands at once
_BATCH = {"ip": ("ip", "-batch", "-"), "ipvsadm": ("ipvsadm", "-R")}
#: seconds
TIMEOUT = 900.0


def timed(function: Callable[..., T], *args: Any, **more: Any) -> tuple[float, T]:
    """Seconds, and what it returns."""
    started = time.perf_counter()
    value = function(*args, **more)
    return time.perf_counter() - started, value


def _ops(step: Step) -> list[Op]:
    gone = {item.order: item for item in step.gone}
    ops: list[Op] = []
    for item in step.new:
        old = gone.pop(item.order, None)
        ops.append(Create(item) if old is None else Change(old, item))
    return [*ops, *(Delete(item) for item in gone.values())]


def _texts(mode: str, step: Step) -> list[tuple[Sequence[str], str | None]]:
    """The same as commands and what they read."""
    if mode == "ipvs":
        found: list[tuple[Sequence[str], str | None]] = []
        ops = diff(HostState.of(step.gone), HostState.of(step.new))
        for (tool, alone), group in groupby(commands(ops, style="restore"), lambda c: (c.argv[0], c.stdin is None)):
            if alone and tool in _BATCH:
                found.append((_BATCH[tool], "".join(" ".join(c.argv[1:]) + "\n" for c in group)))
            else:
                found += [(c.argv, c.stdin) for c in group]
        return found
    ops = _ops(step)
    texts = [script(ops)] if mode.startswith("nftables") else restore_blocks(ops).values()
    return [(MODES[mode][1].split(), text) for text in texts]


def by_hand(where: str, mode: str, step: Step) -> float:
    """Seconds of the bare tool for the same change. The text is made before the clock runs."""
    total = 0.0
    for tool, text in _texts(mode, step):
        seconds, done = timed(run_in, where, tool, stdin=text, timeout=TIMEOUT)
        if done.returncode != 0:
            raise KernelError(f"{' '.join(tool)}: {done.stderr.strip()[:500]}")
        total += seconds
    return total
