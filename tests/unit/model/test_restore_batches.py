"""Very many chains as several inputs for iptables-restore: nobody is led to what is not there yet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netlab.model import Chain
from netlab.model.diff import Change, Create, Delete, Op
from netlab.model.restore import restore_batches, restore_blocks

KEY = (4, "filter")


def chain(name: str, *targets: str) -> Chain:
    return Chain.written(4, "filter", name, tuple(f"-p tcp -j {target}" for target in targets))


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=12),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_each_rule_once_in_its_order_and_no_jump_ahead(ways: list[list[int]], jumps: int, dice: object) -> None:
    # chain N leads to some before it, to chains that were there, or to a verdict
    chains = [chain(f"C{n}", *(f"C{way}" if way < n else "ACCEPT" for way in to)) for n, to in enumerate(ways)]
    dice.shuffle(chains)  # type: ignore[attr-defined]
    there: dict[str, list[str]] = {}
    for key, text in restore_batches(map(Create, chains), jumps=jumps):
        assert key == KEY
        head, *lines, end, last = text.split("\n")
        assert (head, end, last) == ("*filter", "COMMIT", "")
        fresh = [line for line in lines if line.startswith(":")]
        rules = [line for line in lines if not line.startswith(":")]
        assert len(rules) <= jumps
        for line in fresh:
            name = line[1:].split()[0]
            assert name not in there
            there[name] = []
        for line in rules:
            _, name, rule = line.split(" ", 2)
            target = rule.rpartition(" ")[2]
            assert target in there or not target.startswith("C")
            there[name].append(rule)
    assert there == {one.name: list(one.lines) for one in chains}


def test_what_is_there_already_changes_at_once_and_last() -> None:
    old, new = chain("OLD"), chain("OLD", "A", "B")
    shared = Chain(family=4, table="filter", name="INPUT")
    way_in = Change(shared, Chain(family=4, table="filter", name="INPUT", rules=chain("x", "OLD").rules))
    ops: list[Op] = [way_in, Change(old, new), Create(chain("A", "B")), Delete(chain("GONE")), Create(chain("B"))]
    *first, (_, last) = restore_batches(ops)
    assert [text for _, text in first] == ["*filter\n:B - [0:0]\n:A - [0:0]\n-A A -p tcp -j B\nCOMMIT\n"]
    assert last == restore_blocks([way_in, Change(old, new), Delete(chain("GONE"))])[KEY]


def test_a_circle_is_the_tools_to_refuse() -> None:
    ops = [Create(chain("A", "B")), Create(chain("B", "C")), Create(chain("C", "A"))]
    assert restore_batches(ops) == [(KEY, restore_blocks(ops)[KEY])]


def test_a_goto_is_a_way_too() -> None:
    ops = [Create(Chain.written(4, "filter", "A", ("-m comment --comment x -g Z",))), Create(chain("Z"))]
    assert next(text for _, text in restore_batches(ops)).startswith("*filter\n:Z ")
