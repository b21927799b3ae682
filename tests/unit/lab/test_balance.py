"""balance: how far from equal shares chance may go."""

from __future__ import annotations

from collections import Counter

import pytest

from netlab.lab.checks.balance import limit, unfairness


@pytest.mark.parametrize(("sides", "exact"), [(2, 23.93), (3, 27.63), (4, 30.66), (10, 44.81)])
def test_the_limit_is_the_chi_square_of_one_in_a_million(sides: int, exact: float) -> None:
    assert limit(sides) == pytest.approx(exact, rel=0.16)  # an approximation, the worse the fewer sides


@pytest.mark.parametrize(
    ("shares", "fair"),
    [((333, 334, 333), True), ((300, 350, 350), True), ((333, 222, 445), False), ((500, 500, 0), False)],
)
def test_thirds_are_told_from_what_is_none(shares: tuple[int, int, int], fair: bool) -> None:
    among = ["a", "b", "c"]
    assert (unfairness(Counter(dict(zip(among, shares, strict=True))), among) <= limit(3)) is fair


def test_one_alone_gets_everything() -> None:
    assert unfairness(Counter(a=20), ["a"]) <= limit(1)
