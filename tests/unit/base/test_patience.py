"""NETLAB_PATIENCE: what it may be, and who says it."""

import pytest

from netlab.base import patience as module
from netlab.base.errors import InputError
from netlab.base.patience import VARIABLE, patience, rest
from netlab.vm.run import environment


def test_nobody_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert patience(0.8) == 0.8


def test_every_wait_is_so_many_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "2.5")
    assert patience(2) == 5


@pytest.mark.parametrize("given", ["", "soon", "0", "-3", "nan", "inf", "101"])
def test_what_is_no_number_is_told(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(InputError, match=f"{VARIABLE}={given}: expected a number from 1 to 100"):
        patience(1)


@pytest.mark.parametrize(
    ("took", "least", "expected"), [(0.0, 0.01, 0.01), (0.05, 0.01, 0.2), (3.0, 0.01, 1.0), (3.0, 2.0, 2.0)]
)
def test_who_looks_slowly_looks_seldom(
    took: float, least: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of the time is for looking, and a second the longest that an answer lies unseen for that."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 100 + took)
    assert rest(100, least) == pytest.approx(expected)


def test_a_guest_hears_of_it_where_it_is_emulated_unless_somebody_knows_better() -> None:
    assert VARIABLE not in environment({}, emulated=False)
    assert float(environment({}, emulated=True)[VARIABLE]) > 1
    assert environment({VARIABLE: "9"}, emulated=True)[VARIABLE] == "9"
