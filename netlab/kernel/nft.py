"""nftables of a namespace: written by netlink or `nft -f -`, and read back from `nft -s -y list ruleset`.

Tables that iptables-nft keeps (filter, nat, … with the warning that nft prints of them) are iptables' and passed over.
Facts: nft(8) 1.0.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import nftwire
from netlab.kernel.commands import run_in
from netlab.kernel.refusals import Whys
from netlab.model.diff import Change, Create, Delete, Op
from netlab.model.item import Item
from netlab.model.nft import NftChain, NftElement, NftRule, NftSet, NftTable
from netlab.model.nftscript import script

#: operations from which on a change that takes the tool for some of it is not left to it as a whole
MANY = 1000
#: seconds: a ruleset of 10,000 Services takes some of them
TIMEOUT = 120
_IPTABLES = {"raw", "mangle", "nat", "filter", "security"}
_HOOK = re.compile(r"type (\w+) hook (\w+) (?:device \S+ )?priority (-?\d+); policy (\w+);")
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_FAILED = re.compile(r"^/dev/stdin:(\d+):")


def perform(netns: int, ops: Iterable[Op]) -> None:
    """Carry operations on nftables items out. KernelError names what was refused.

    What `nftwire` understands goes to the kernel as it is: a change of endpoints, in one transaction. Anything else is
    the tool's, in one transaction. Of a large load the tool gets what only it can do, and before the rest.
    """
    by_tool, by_wire = parted(list(ops))
    if by_tool:
        _by_tool(netns, by_tool)
    if by_wire:
        nftwire.send(netns, by_wire)


def parted(ops: list[Op]) -> tuple[list[Op], list[nftwire.Unit]]:
    """What the tool has to do first, and messages for the rest, in the order that references need."""
    if any(isinstance(op, Delete) and isinstance(op.item, NftTable) for op in ops):
        return ops, []  # it goes with everything in it
    tool: list[Op] = []
    made, said, emptied, removed = [], [], [], []  # type: ignore[var-annotated]
    names: set[str] = set()
    for op in ops:
        found = nftwire.encoded(op)
        item = op.item
        if found is None and isinstance(op, Create) and isinstance(item, NftSet) and item.elements:
            # elements may lead to chains that are not there yet
            empty = replace(item, elements=())
            found = nftwire.encoded(Change(empty, item))
            if found is not None:
                tool.append(Create(empty))
        elif found is None:
            tool.append(op)
        if found is not None:
            names.add(item.name if isinstance(item, NftChain) else "")
            for units, more in zip((made, said, emptied, removed), found, strict=True):
                units += more
    if any(isinstance(op, Delete) or _leads_to(op.item, names) for op in tool) or (tool and len(ops) < MANY):
        return ops, []  # in one transaction
    # elements last of what is said: they lead to chains that then stand
    said.sort(key=lambda unit: isinstance(unit[0].op.item, NftSet))
    return tool, [*made, *said, *emptied, *removed]


def _leads_to(item: Item, names: set[str]) -> bool:
    """Whether a chain, or a set with elements, refers to one of these."""
    if isinstance(item, NftChain):
        words = (word.rstrip(",") for rule in item.rules for word in rule.text.split(" "))
        return any(word in names for word in words)
    return isinstance(item, NftSet) and bool(item.elements)


def _by_tool(netns: int, ops: list[Op]) -> None:
    text = script(ops)
    if not text.strip():
        return
    done = run_in(netns, ["nft", "-f", "-"], stdin=text, timeout=TIMEOUT)
    if done.returncode == 0:
        return
    said = done.stderr.strip() or f"exit status {done.returncode}"
    if "Operation not supported" in said or "Protocol error" in said:
        raise MachineError(f"nft: {said.splitlines()[0]}", hint="modprobe nf_tables, or use iptables mode")
    number = _FAILED.match(said)
    lines = text.splitlines()
    line = lines[int(number[1]) - 1] if number and 0 < int(number[1]) <= len(lines) else ""
    why = Whys(ops).get(line, "")
    because = f" (wanted by {why})" if why else ""
    raise KernelError(f"nft: {line}{because}: {said}" if line else f"nft: {said}", item=line)


def read(netns: int | str) -> list[Item]:
    """All tables there but those of iptables, with what stands in them. MachineError if nft is not installed."""
    done = run_in(netns, ["nft", "-s", "-y", "list", "ruleset"], timeout=TIMEOUT)
    if done.returncode != 0:
        if "Operation not supported" in done.stderr or "Unable to initialize" in done.stderr:
            return []  # a kernel without nf_tables has no tables
        raise KernelError(f"nft list ruleset: {done.stderr.strip()}")
    return parse(done.stdout)


def parse(text: str) -> list[Item]:
    """`nft -s -y list ruleset` as items."""
    items: list[Item] = []
    lines = iter(text.splitlines())
    table: Any = None
    for line in lines:
        if line.startswith("table "):
            _, family, name, _ = line.split(" ")
            mine = family in ("ip", "ip6", "inet") and not (family != "inet" and name in _IPTABLES)
            table = (family, name) if mine else None
            if mine:
                items.append(NftTable(family=family, name=name))  # type: ignore[arg-type]
        elif line.startswith(("\tset ", "\tmap ", "\tchain ")):
            noun, name, _ = line.split()
            body = []
            for inner in lines:
                if inner == "\t}":
                    break
                body.append(inner.strip())
            if table is not None:
                items.append(_chain(table, name, body) if noun == "chain" else _set(table, name, body))
    return items


def _chain(table: tuple[Any, str], name: str, body: list[str]) -> NftChain:
    hook = _HOOK.fullmatch(body[0]) if body else None
    rules = tuple(NftRule(line) for line in (body[1:] if hook else body))
    values: Any = {"type": hook[1], "hook": hook[2], "priority": int(hook[3]), "policy": hook[4]} if hook else {}
    return NftChain(family=table[0], table=table[1], name=name, rules=rules, **values)


def _set(table: tuple[Any, str], name: str, body: list[str]) -> NftSet:
    values: dict[str, Any] = {}
    for at, line in enumerate(body):
        word, _, rest = line.partition(" ")
        if word == "type":
            values["type"], _, values["value"] = rest.partition(" : ")
        elif word == "flags":
            values["flags"] = tuple(rest.split(","))
        elif word == "timeout":
            values["timeout"] = seconds(rest)
        elif word == "elements":
            listed = " ".join([rest, *body[at + 1 :]])
            values["elements"] = _elements(listed.removeprefix("= {").removesuffix("}").strip())
            break
    return NftSet(family=table[0], table=table[1], name=name, **values)


def _elements(text: str) -> tuple[NftElement, ...]:
    found = []
    for one in text.split(","):
        key, _, value = one.strip().partition(" : ")
        found.append(NftElement(key.strip(), value.strip()))
    return tuple(found)


def seconds(text: str) -> int:
    """nft's spelling of a time: `3h` is 10800."""
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([dhms])(?!s)", text))
