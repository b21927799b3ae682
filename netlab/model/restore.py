"""Chain operations as the text that `iptables-restore --noflush` takes: one atomic block per table.

What --noflush does (iptables 1.8.9, alike in its nft and its legacy variant): `:CHAIN - [0:0]` makes a chain of one's
own, or empties the one that is there; `:BUILTIN POLICY` sets the policy and leaves the rules alone; `-P`, `-I`, `-D`
and `-X` work as on the command line and see what the lines above them did; a block holds as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from netlab.model.diff import Change, Create, Delete, Op
from netlab.model.iptables import Chain, IptablesRule, quoted

#: IP version and table name
TableKey = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Edit:
    """One step that changes a chain: iptables' words for it, and the rule that comes or goes."""

    words: tuple[str, ...]
    rule: IptablesRule


def edits(chain: str, old: Sequence[IptablesRule], new: Sequence[IptablesRule]) -> list[Edit]:
    """The steps from `old` to `new` that leave every rule which stays untouched, its counters included."""
    now = list(old)
    steps: list[Edit] = []
    blocks = [op for op in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if op[0] != "equal"]
    for at in sorted((i for _, start, end, _, _ in blocks for i in range(start, end)), reverse=True):
        # a rule is named by its text, which survives what others do in between, unless its double stands before it
        which = now[at].args if now.index(now[at]) == at else (str(at + 1),)
        steps.append(Edit(("-D", chain, *which), now.pop(at)))
    for at in (j for _, _, _, start, end in blocks for j in range(start, end)):
        verb = ("-A", chain) if at == len(now) else ("-I", chain, str(at + 1))
        steps.append(Edit((*verb, *new[at].args), new[at]))
        now.insert(at, new[at])
    return steps


def sides(op: Op) -> tuple[Chain | None, Chain | None]:
    """The chain before and after a chain operation. A built-in chain is never missing, only empty."""
    old = op.old if isinstance(op, Change) else op.item if isinstance(op, Delete) else None
    new = None if isinstance(op, Delete) else op.item
    assert isinstance(old, Chain | None) and isinstance(new, Chain | None)
    known = new or old
    assert known is not None
    if known.builtin:
        empty = Chain(family=known.family, table=known.table, name=known.name)
        return old or empty, new or empty
    return old, new


def by_table(ops: Iterable[Op]) -> dict[TableKey, list[Op]]:
    """Chain operations apart by table, in order of appearance; what is no chain is left out."""
    tables: dict[TableKey, list[Op]] = {}
    for op in ops:
        if isinstance(op.item, Chain):
            tables.setdefault((op.item.family, op.item.table), []).append(op)
    return tables


def restore_batches(ops: Iterable[Op], *, jumps: int = 1000) -> list[tuple[TableKey, str]]:
    """The same of very many operations as inputs that are read one after the other, each with few jumps.

    iptables-nft takes longer for a jump to a chain the more such jumps it has read before in one go: 20,000 of them
    take 20 s at once, and 2 s in twenty inputs (measured with 1.8.9). New chains come first, those
    that lead nowhere new before those that lead to them, and bit by bit, for nobody is led to them yet. All else, and
    with it the way into them, changes at once, as in `restore_blocks`.
    """
    found: list[tuple[TableKey, str]] = []
    for key, table_ops in by_table(ops).items():
        fresh = [
            op for op in table_ops if isinstance(op, Create) and isinstance(op.item, Chain) and not op.item.builtin
        ]
        made = _leaves_first({op.item.name: op.item for op in fresh if isinstance(op.item, Chain)})
        if made is None:  # they lead to each other in a circle, which is for the tool to refuse
            made, fresh = [], []
        text: list[str] = []
        count = 0
        for chain in made:
            text.append(f":{chain.name} - [0:0]")
            for line in chain.lines:
                if count >= jumps:
                    found.append((key, _batch(key[1], text)))
                    text, count = [], 0
                text.append(f"-A {chain.name} {line}")
                count += 1
        if text:
            found.append((key, _batch(key[1], text)))
        begun = set(map(id, fresh))
        rest = [op for op in table_ops if id(op) not in begun]
        if rest:
            found.append((key, _block(key[1], rest)))
    return found


def _batch(table: str, lines: Sequence[str]) -> str:
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def _leaves_first(chains: Mapping[str, Chain]) -> list[Chain] | None:
    """Each chain behind those that it leads to. None if there is a circle."""
    found: list[Chain] = []
    done: dict[str, bool] = {}  # False while those that it leads to are looked at
    for name in chains:
        stack = [name]
        while stack:
            at = stack[-1]
            if done.get(at):
                stack.pop()
            elif at in done:
                done[at] = True
                found.append(chains[at])
                stack.pop()
            else:
                done[at] = False
                ways = {_way(line) for line in chains[at].lines} & chains.keys()
                if any(done.get(way) is False for way in ways):
                    return None
                stack += [way for way in sorted(ways) if way not in done]
    return found


def _way(line: str) -> str:
    """The target of a rule."""
    _, jump, target = f" {line}".rpartition(" -j ")
    if not jump:
        _, jump, target = f" {line}".rpartition(" -g ")
    return target.partition(" ")[0] if jump else ""


def restore_blocks(ops: Iterable[Op]) -> dict[TableKey, str]:
    """By table, the input of `iptables-restore --noflush` (`ip6tables-restore` for IPv6) that carries `ops` out.

    A chain of one's own is written anew as a whole. Of a built-in chain only what differs is touched.
    """
    return {key: _block(key[1], table_ops) for key, table_ops in by_table(ops).items()}


def _block(table: str, ops: Iterable[Op]) -> str:
    declared: list[str] = []
    rules: list[str] = []
    shared: list[str] = []
    removed: list[str] = []
    for op in ops:
        chain = op.item
        assert isinstance(chain, Chain)
        name = chain.name
        if chain.builtin:
            old, new = sides(op)
            assert old and new
            if new.policy and new.policy != old.policy:
                shared.append(f"-P {name} {new.policy}")
            shared += [quoted(edit.words) for edit in edits(name, old.rules, new.rules)]
            continue
        declared.append(f":{name} - [0:0]")  # empties a chain that goes, too, so that no rule holds another one back
        if isinstance(op, Delete):
            removed.append(f"-X {name}")
        else:
            rules += [f"-A {name} {line}" for line in chain.lines]
    return "\n".join([f"*{table}", *declared, *rules, *shared, *removed, "COMMIT", ""])
