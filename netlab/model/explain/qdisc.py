"""Shaping and impairment: tc qdisc."""

from __future__ import annotations

from netlab.model.explain.command import Command, command, option
from netlab.model.qdisc import Netem, Qdisc, Tbf


def create(qdisc: Qdisc) -> list[Command]:
    """`replace`, because every device has a root qdisc from birth."""
    kind = qdisc.kind
    words = _tbf(kind) if isinstance(kind, Tbf) else _netem(kind)
    place = (*_parent(qdisc), "handle", qdisc.handle)
    return [command("tc", "qdisc", "replace", "dev", qdisc.dev, *place, kind.NAME, *words, why=qdisc.why)]


def change(old: Qdisc, new: Qdisc) -> list[Command]:
    return create(new)


def delete(qdisc: Qdisc) -> list[Command]:
    return [command("tc", "qdisc", "del", "dev", qdisc.dev, *_parent(qdisc), why=qdisc.why)]


def _parent(qdisc: Qdisc) -> tuple[str, ...]:
    return ("root",) if qdisc.parent == "root" else ("parent", qdisc.parent)


def _tbf(kind: Tbf) -> tuple[str, ...]:
    return ("rate", _rate(kind.rate), "burst", _size(kind.burst), "limit", _size(kind.limit))


def _netem(kind: Netem) -> tuple[str, ...]:
    # jitter has no word of its own: it follows the delay
    delay = ("delay", _time(kind.delay), *((_time(kind.jitter),) if kind.jitter else ()))
    return (
        *option("limit", kind.limit if kind.limit != Netem().limit else None),
        *(delay if kind.delay or kind.jitter else ()),
        *option("loss", _percent(kind.loss)),
        *option("duplicate", _percent(kind.duplicate)),
        *option("reorder", _percent(kind.reorder)),
        *option("corrupt", _percent(kind.corrupt)),
        *option("rate", _rate(kind.rate) if kind.rate else None),
    )


def _rate(bits: int) -> str:
    """tc's rates count in thousands."""
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if bits % size == 0:
            return f"{bits // size}{unit}"
    return f"{bits}bit"


def _size(octets: int) -> str:
    """tc's sizes count in 1024s."""
    for unit, size in (("mb", 2**20), ("kb", 2**10)):
        if octets % size == 0:
            return f"{octets // size}{unit}"
    return f"{octets}b"


def _time(microseconds: int) -> str:
    return f"{microseconds // 1000}ms" if microseconds % 1000 == 0 else f"{microseconds}us"


def _percent(share: float) -> str:
    """Enough digits for the 32 bits in which netem keeps a probability."""
    return f"{share:.12g}%" if share else ""
