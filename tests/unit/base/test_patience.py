"""NETLAB_PATIENCE: what it may be, and who says it."""

import pytest

from netlab.base.errors import InputError
from netlab.base.patience import VARIABLE, patience
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


def test_a_guest_hears_of_it_where_it_is_emulated_unless_somebody_knows_better() -> None:
    assert VARIABLE not in environment({}, emulated=False)
    assert float(environment({}, emulated=True)[VARIABLE]) > 1
    assert environment({VARIABLE: "9"}, emulated=True)[VARIABLE] == "9"
