"""Packet filter: iptables and ip6tables, rule by rule or as blocks for iptables-restore."""

from __future__ import annotations

from collections.abc import Iterable

from netlab.model.diff import Delete, Op
from netlab.model.explain.command import Command, Style, command, reasons
from netlab.model.iptables import Chain
from netlab.model.restore import TableKey, by_table, edits, restore_blocks, sides


def commands(ops: Iterable[Op], *, style: Style = "lines") -> list[Command]:
    """Chain operations, which belong together by table: a rule may jump to any chain of its table."""
    tables = by_table(ops)
    if style == "lines":
        return [line for key, table_ops in tables.items() for line in _lines(key, table_ops)]
    return [
        command(
            f"{_tool(key)}-restore",
            "--noflush",
            "-w",
            why=reasons(op.item.why for op in tables[key]),
            stdin=text,
        )
        for key, text in restore_blocks(op for table_ops in tables.values() for op in table_ops).items()
    ]


def _lines(key: TableKey, ops: list[Op]) -> list[Command]:
    """Chains are made before the first rule that may jump to them, and removed after the last."""
    made: list[Command] = []
    rules: list[Command] = []
    removed: list[Command] = []
    emptied: list[Command] = []
    for op in ops:
        old, new = sides(op)
        chain = op.item
        assert isinstance(chain, Chain)

        def say(*words: str, why: str = "", chain: Chain = chain) -> Command:
            return command(_tool(key), *_table(key), *words, why=why or chain.why)

        if isinstance(op, Delete) and not chain.builtin:
            emptied.append(say("-F", chain.name))
            removed.append(say("-X", chain.name))
            continue
        assert new is not None
        if old is None:
            made.append(say("-N", new.name))
        if new.policy and (old is None or new.policy != old.policy):
            rules.append(say("-P", new.name, new.policy))
        changes = edits(new.name, old.rules if old else (), new.rules)
        rules += [say(*edit.words, why=edit.rule.why) for edit in changes]
    return [*made, *rules, *emptied, *removed]


def _tool(key: TableKey) -> str:
    return "iptables" if key[0] == 4 else "ip6tables"


def _table(key: TableKey) -> tuple[str, ...]:
    return () if key[1] == "filter" else ("-t", key[1])
