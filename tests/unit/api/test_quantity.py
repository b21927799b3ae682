"""Quantities in canonical form."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.api.quantity import QuantityError, canonical, value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.5", "500m"), ("1024Mi", "1Gi"), ("1000m", "1"), ("1e3", "1e3"), ("1.5Gi", "1536Mi"), ("0.1Ki", "102400m"),
        ("1025", "1025"), ("1500Mi", "1500Mi"), ("100k", "100k"), ("0.0000000001", "1n"), ("-1.5", "-1500m"), ("0", "0"),
        ("+1", "1"), ("1000000", "1M"), (".5", "500m"), ("5.", "5"), ("1E", "1E"), ("0Mi", "0"),
    ],
)  # fmt: skip
def test_canonical_form(text: str, wanted: str) -> None:
    assert canonical(text) == wanted


@pytest.mark.parametrize("text", ["", "1KiB", "a", "1 Gi", "1ki", "--1", "1e", "0x10", "Gi", "1" * 300])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        canonical(text)


@given(st.integers(-(10**6), 10**6), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "u", "n", "e3", "E-2"]))
def test_the_form_keeps_the_value_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    form = canonical(text)
    assert value(form) == value(text)
    assert canonical(form) == form
    assert value(form) == Decimal(value(form))
