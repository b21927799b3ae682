"""Sets of addresses: ipset."""

from __future__ import annotations

from collections.abc import Iterable

from netlab.model.explain.command import Command, Style, command, option
from netlab.model.sets import IPSET_NAME_MAX, Ipset

_USUAL = Ipset(name="usual", type="hash:ip")
#: the whole range of ports, which ipset wants to be told
_ALL_PORTS = ("range", "0-65535")


def create(wanted: Ipset, *, style: Style = "lines") -> list[Command]:
    made = ("create", "-exist", wanted.name, *_header(wanted))
    return _typed([made, *_adds(wanted.name, wanted.entries)], wanted.why, style)


def change(old: Ipset, new: Ipset, *, style: Style = "lines") -> list[Command]:
    """Entries come and go one by one; a set with another header is made beside the old one and takes its place."""
    if new.header == old.header:
        # an entry's options (timeout, nomatch) are no part of its name
        dels = [("del", new.name, entry.split()[0]) for entry in sorted(set(old.entries) - set(new.entries))]
        return _typed([*dels, *_adds(new.name, sorted(set(new.entries) - set(old.entries)))], new.why, style)
    if (new.type, new.family) != (old.type, old.family):
        # the kernel swaps only sets of one type and family
        return [*delete(old), *create(new, style=style)]
    spare = new.name[: IPSET_NAME_MAX - len(".new")] + ".new"
    steps = [
        ("create", spare, *_header(new)),
        *_adds(spare, new.entries),
        ("swap", new.name, spare),
        ("destroy", spare),
    ]
    return _typed(steps, new.why, style)


def delete(old: Ipset) -> list[Command]:
    return [command("ipset", "destroy", old.name, why=old.why)]


def _header(wanted: Ipset) -> tuple[str, ...]:
    words = (wanted.type, *(_ALL_PORTS if wanted.type == "bitmap:port" else ()))
    if wanted.type.startswith("hash:"):
        words += (
            *(("family", "inet6") if wanted.family == 6 else ()),
            *option("hashsize", wanted.hashsize if wanted.hashsize != _USUAL.hashsize else None),
            *option("maxelem", wanted.maxelem if wanted.maxelem != _USUAL.maxelem else None),
        )
    return (*words, *(("timeout", str(wanted.timeout)) if wanted.timeout is not None else ()))


def _adds(name: str, entries: Iterable[str]) -> list[tuple[str, ...]]:
    return [("add", name, *entry.split()) for entry in entries]


def _typed(steps: list[tuple[str, ...]], why: str, style: Style) -> list[Command]:
    """The steps as commands, or as the one file that `ipset restore` reads."""
    if style == "lines" or len(steps) < 2:
        return [command("ipset", *step, why=why) for step in steps]
    return [command("ipset", "restore", why=why, stdin="".join(" ".join(step) + "\n" for step in steps))]
