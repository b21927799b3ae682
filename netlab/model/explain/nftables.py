"""nftables: one transaction, or the lines of it one by one."""

from __future__ import annotations

from collections.abc import Iterable

from netlab.model.diff import Op
from netlab.model.explain.command import Command, Style, command, reasons
from netlab.model.nft import NftChain, NftSet
from netlab.model.nftscript import script


def commands(ops: Iterable[Op], *, style: Style = "lines") -> list[Command]:
    """Operations on tables, sets and chains, which belong together: a map refers to chains, a rule to maps."""
    ops = list(ops)
    text = script(ops)
    if style == "restore":
        return [command("nft", "-f", "-", why=reasons(op.item.why for op in ops), stdin=text)]
    whys = {path: why for op in ops for path, why in _whys(op)}
    return [command("nft", line, why=_why(line, whys)) for line in text.splitlines()]


def _whys(op: Op) -> list[tuple[str, str]]:
    item = op.item
    found = [(str(item).removeprefix("nft "), item.why)]
    if isinstance(item, NftChain):
        path = f"{item.family} {item.table} {item.name}"
        found += [(f"add rule {path} {rule.text}", rule.why or item.why) for rule in item.rules]
    elif isinstance(item, NftSet):
        found += [(f"{item.family} {item.table} {item.name}", item.why)]
    return found


def _why(line: str, whys: dict[str, str]) -> str:
    """A rule's own reason, or that of the item that the line names."""
    if line in whys:
        return whys[line]
    _, noun, family, table, *rest = line.split(" ", 5)
    name = rest[0] if rest else ""
    return whys.get(f"{noun} {family} {table} {name}".strip(), whys.get(f"{family} {table} {name}".strip(), ""))
