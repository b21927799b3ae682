"""CEL as the API uses it: the functions that the original adds, and the words of what is wrong."""

from __future__ import annotations

import pytest

from netlab.api.cel import CelError, compiled, escaped, problem

TRUE = [
    "quantity('1Gi').isGreaterThan(quantity('1Mi'))", "quantity('1Gi').add(quantity('1Gi')) == quantity('2Gi')",
    "quantity('3').sub(quantity('1')).asInteger() == 2", "quantity('100m').asApproximateFloat() == 0.1",
    "isQuantity('1Ki') && !isQuantity('x')", "quantity('-1').sign() == -1", "quantity('1k').compareTo(quantity('1000')) == 0",
    "[1, 2].isSorted() && ![2, 1].isSorted()", "[1, 2].sum() == 3", "[1, 5, 3].max() == 5", "[4, 5].min() == 4",
    "['a', 'b'].indexOf('b') == 1", "[1, 1].lastIndexOf(1) == 1", "'abcb'.indexOf('b') == 1",
    "'abc 123'.find('[0-9]+') == '123'", "'1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
    "url('https://a.io:80/b?x=1').getHost() == 'a.io:80'", "url('https://a.io/b?x=1').getQuery()['x'] == ['1']",
    "ip('10.0.0.1').family() == 4", "isIP('::1')", "!ip.isCanonical('::0:1')", "cidr('10.0.0.0/8').containsIP('10.1.1.1')",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
    "object.?missing.orValue('x') == 'x'", "object.list.all(x, x < 9)", "has(object.list) && !has(object.nothing)",
    "duration('1h') > duration('59m')", "timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-02T00:00:00Z')",
    "'%s has %d'.format(['a', 1]) == 'a has 1'", "object.number == 3.0",
]  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_functions(text: str) -> None:
    assert compiled(text, "object")({"object": {"list": [1, 2], "number": 3}}) is True


def test_what_is_wrong() -> None:
    assert (problem("object.x == 1", "object"), problem("1", kinds=("INT",))) == (None, None)
    assert problem("'text'") == "must evaluate to bool"
    assert "undeclared reference to 'other'" in (problem("other == 1", "object") or "")
    assert (problem("1 +") or "").startswith("compilation failed: ERROR: <input>:1:4: Syntax error")
    assert "longer than" in (problem("a" * 20000) or "")
    for text, words in (
        ("object.x", "no such key: x"),
        ("1 / 0 == 1", "divide by zero"),
        ("quantity('x') == quantity('1')", "quantities must match"),
    ):
        with pytest.raises(CelError, match=words):
            compiled(text, "object")({"object": {}})
    with pytest.raises(CelError):
        compiled("object.x == 1", "object")({"object": {"x": 1 << 70}})


def test_an_expression_that_takes_too_long_is_ended() -> None:
    text = "object.l.all(a, object.l.all(b, object.l.all(c, c >= 0)))"
    with pytest.raises(CelError, match="budget"):
        compiled(text, "object")({"object": {"l": list(range(300))}})


def test_names_that_are_no_identifiers() -> None:
    assert [escaped(n) for n in ("a", "foo-bar", "a.b/c", "namespace", "x__y")] == [
        "a", "foo__dash__bar", "a__dot__b__slash__c", "__namespace__", "x__underscores__y",
    ]  # fmt: skip
    program = compiled("oldSelf.x > self.x", "self", "oldSelf")
    assert (program.uses("oldSelf"), program.uses("x"), compiled("self.oldSelf == 1", "self").uses("oldSelf")) == (
        True, False, False,
    )  # fmt: skip
