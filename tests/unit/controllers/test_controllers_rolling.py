"""The arithmetic of rolls: what was worked out from the original's rules, and what must hold whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.controllers.rolling import Plan, Size, new_size, old_sizes, plan_of, proportional


@pytest.mark.parametrize(
    ("replicas", "rolling", "plan"),
    [
        (10, {"maxSurge": "25%", "maxUnavailable": "25%"}, Plan(10, 3, 2)),
        (3, {"maxSurge": "25%", "maxUnavailable": "25%"}, Plan(3, 1, 0)),
        (1, {"maxSurge": 0, "maxUnavailable": 0}, Plan(1, 0, 1)),
        (2, {"maxSurge": "100%", "maxUnavailable": 5}, Plan(2, 2, 2)),
    ],
)
def test_plans(replicas: int, rolling: dict[str, object], plan: Plan) -> None:
    assert plan_of({"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}) == plan


def test_a_roll_step_by_step() -> None:
    plan, told = Plan(3, 1, 0), []
    new, old = Size("new", 0, 0), Size("old", 3, 3)
    for _ in range(20):
        grown = new_size(plan, new, [old], rolling=True)
        if grown == new.replicas:
            old = Size("old", old_sizes(plan, new, [old])["old"], 0)
            old = Size("old", old.replicas, old.replicas)
        new = Size("new", grown, grown)
        told.append((new.replicas, old.replicas))
    assert told[:7] == [(1, 3), (1, 2), (2, 2), (2, 1), (3, 1), (3, 0), (3, 0)]


def test_what_serves_nobody_goes_first() -> None:
    # of four old ones one is down: it goes although no new one is up, and none beside it
    assert old_sizes(Plan(4, 1, 1), Size("new", 1, 0), [Size("old", 4, 3)]) == {"old": 3}
    assert old_sizes(Plan(4, 1, 0), Size("new", 1, 0), [Size("a", 2, 0), Size("b", 2, 2)]) == {"a": 2, "b": 2}


def test_scaling_in_the_middle_of_a_roll() -> None:
    # from 10 to 15 while 8 old and 5 new run: the text of the original's documentation
    sizes = proportional(Plan(15, 3, 2), [Size("old", 8, 8, 13), Size("new", 5, 0, 13)])
    assert sizes == {"old": 11, "new": 7}
    assert proportional(Plan(0), [Size("old", 8, 8, 13), Size("new", 5, 0, 13)]) == {"old": 0, "new": 0}


SIZES = st.builds(
    lambda replicas, sick: Size("", replicas, max(0, replicas - sick)), st.integers(0, 12), st.integers(0, 12)
)
PLANS = st.builds(Plan, st.integers(0, 12), st.integers(0, 4), st.integers(0, 4)).filter(
    lambda p: (p.surge or p.unavailable) and p.unavailable <= max(1, p.replicas)
)


@given(PLANS, SIZES, st.lists(SIZES, max_size=3))
def test_never_too_many_new_and_never_too_few_that_serve(plan: Plan, new: Size, olds: list[Size]) -> None:
    old = [Size(str(n), size.replicas, size.available) for n, size in enumerate(olds)]
    total = new.replicas + sum(size.replicas for size in old)
    grown = new_size(plan, new, old, rolling=True)
    if grown > new.replicas:
        assert total + grown - new.replicas <= plan.replicas + plan.surge and grown <= plan.replicas
    left = old_sizes(plan, new, old)
    serving = new.available + sum(size.available for size in old)
    after = new.available + sum(min(size.available, left[size.name]) for size in old)
    assert all(0 <= left[size.name] <= size.replicas for size in old)
    assert after >= min(serving, plan.replicas - plan.unavailable)


@given(PLANS, st.lists(SIZES, min_size=1, max_size=4))
def test_scaling_goes_where_it_should(plan: Plan, sizes: list[Size]) -> None:
    total = sum(size.replicas for size in sizes)
    named = [Size(str(n), size.replicas, size.available, total) for n, size in enumerate(sizes)]
    done = proportional(plan, named)
    assert min(done.values()) >= 0
    if plan.most >= total:
        assert sum(done.values()) == plan.most
    else:
        # what rounding leaves over is taken of the largest one, and the rest of it the next time
        assert plan.most <= sum(done.values()) < total
