"""Operations on nftables items as the text that `nft -f -` takes: one transaction, in the order that references need.

First what is made (tables, chains without rules, sets without elements), so that anything may refer to anything; then
what chains no longer say, then elements that go and come, then rules; last what is removed. A rule that jumps to a
chain keeps it from being deleted until that rule is gone, which a transaction checks as of the line that deletes.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.model.diff import Change, Create, Delete, Op
from netlab.model.nft import NftChain, NftElement, NftSet, NftTable, hook_line, set_lines

#: elements in one `add element`: nft's parser keeps a statement whole
_ELEMENTS_MAX = 5000


def script(ops: Iterable[Op]) -> str:
    """The input of `nft -f -` that carries `ops` out as a whole or not at all."""
    made: list[str] = []
    emptied: list[str] = []
    elements: list[str] = []
    rules: list[str] = []
    removed: list[str] = []
    tables: list[str] = []
    ops = list(ops)
    falling = {op.item.key for op in ops if isinstance(op, Delete) and isinstance(op.item, NftTable)}
    made += [f"add table {op.item.family} {op.item.name}" for op in ops if _comes(op) and isinstance(op.item, NftTable)]
    for op in ops:
        item = op.item
        if isinstance(item, NftTable):
            if isinstance(op, Delete):
                tables.append(f"delete table {item.family} {item.name}")
        elif isinstance(item, NftSet):
            if isinstance(op, Delete) and item.key[:2] in falling:
                continue
            _set(op, item, made, elements, removed)
        elif isinstance(item, NftChain):
            if isinstance(op, Delete) and item.key[:2] in falling:
                continue
            _chain(op, item, made, emptied, rules, removed)
    return "\n".join([*made, *emptied, *elements, *rules, *removed, *tables, ""])


def _comes(op: Op) -> bool:
    return isinstance(op, Create)


def _chain(op: Op, item: NftChain, made: list[str], emptied: list[str], rules: list[str], removed: list[str]) -> None:
    path = f"{item.family} {item.table} {item.name}"
    if isinstance(op, Delete):
        emptied.append(f"flush chain {path}")
        removed.append(f"delete chain {path}")
        return
    if isinstance(op, Change) and isinstance(op.old, NftChain) and op.old.header == item.header:
        if op.old.policy != item.policy:
            made.append(f"add chain {path} {{ {hook_line(item)} }}")
        if op.old.rules == item.rules:
            return
        emptied.append(f"flush chain {path}")
    else:
        if isinstance(op, Change):
            # a hook cannot be moved: base chains are jumped to by nobody, so that one may go first
            made += [f"flush chain {path}", f"delete chain {path}"]
        made.append(f"add chain {path}" + (f" {{ {hook_line(item)} }}" if item.hook else ""))
    rules += [f"add rule {path} {rule.text}" for rule in item.rules]


def _set(op: Op, item: NftSet, made: list[str], elements: list[str], removed: list[str]) -> None:
    path = f"{item.family} {item.table} {item.name}"
    if isinstance(op, Delete):
        removed.append(f"delete {item.noun} {path}")
        return
    coming: Iterable[NftElement] = item.elements
    if isinstance(op, Change) and isinstance(op.old, NftSet) and op.old.header == item.header:
        if item.dynamic:
            return
        before, after = set(op.old.elements), set(item.elements)
        going = [element for element in op.old.elements if element not in after]
        coming = [element for element in item.elements if element not in before]
        elements += _elements("delete", path, [element.key for element in going])
    else:
        if isinstance(op, Change):
            made.append(f"delete {op.old.noun if isinstance(op.old, NftSet) else 'set'} {path}")
        made.append(f"add {item.noun} {path} {{ " + "; ".join(set_lines(item)) + "; }")
    elements += _elements("add", path, [str(element) for element in coming])


def _elements(verb: str, path: str, listed: list[str]) -> list[str]:
    return [
        f"{verb} element {path} {{ {', '.join(listed[at : at + _ELEMENTS_MAX])} }}"
        for at in range(0, len(listed), _ELEMENTS_MAX)
    ]
