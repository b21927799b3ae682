"""Selectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.api.fields import field_selector
from netlab.api.selectors import SelectorError, as_text, from_object, parse_fields, parse_labels


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("a=b", {"a": "b"}, True), ("a==b", {"a": "c"}, False), ("a!=b", {}, True), ("a", {"a": ""}, True),
        ("!a", {"a": "x"}, False), ("a in (x, y)", {"a": "y"}, True), ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False), ("a>1", {"a": "2"}, True), ("a<1", {"a": "z"}, False),
        ("a=b,c!=d,!e", {"a": "b", "c": "x"}, True), ("", {}, True), ("a=", {"a": ""}, True), ("a in ()", {"a": ""}, True),
        ("x.y/z=1", {"x.y/z": "1"}, True), (" a = b ", {"a": "b"}, True), ("in=x", {"in": "x"}, True),
        ("!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name", {}, True),
    ],
)  # fmt: skip
def test_label_selectors(text: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_labels(text).matches(labels) == matches


@pytest.mark.parametrize(
    "text", ["a in", "a in x", "a=b,", "=b", "a b", "a in (x", "a>b", "a=b c=d", "-a", "a=_", "(", "!"]
)
def test_what_is_no_label_selector(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_labels(text)


@given(st.text(max_size=30))
def test_any_text_is_a_selector_or_an_error(text: str) -> None:
    try:
        parse_labels(text).matches({"a": "b"})
    except SelectorError:
        pass
    try:
        parse_fields(text)
    except SelectorError:
        pass


_keys = st.sampled_from("abc")
_values = st.sampled_from("xyz")


@given(st.dictionaries(_keys, _values), st.dictionaries(_keys, _values))
def test_equality_terms_mean_inclusion(wanted: dict[str, str], labels: dict[str, str]) -> None:
    text = ",".join(f"{k}={v}" for k, v in wanted.items())
    assert parse_labels(text).matches(labels) == (wanted.items() <= labels.items())
    selector = from_object({"matchLabels": wanted})
    assert selector is not None
    assert selector.matches(labels) == (wanted.items() <= labels.items())


def test_objects_as_text() -> None:
    selector = {"matchLabels": {"b": "1"}, "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"},
    ]}  # fmt: skip
    assert as_text(selector) == "a in (x,y),b=1,!c"
    assert as_text(None) == "<none>"
    assert from_object(None) is None


def test_field_selectors() -> None:
    assert parse_fields(r"a=b\,c,d!=e\=f") == (("a", True, "b,c"), ("d", False, "e=f"))
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {}}
    assert field_selector("", "Pod", "spec.nodeName=n,status.phase!=Failed").matches(pod)
    assert field_selector("", "Pod", "spec.hostNetwork=false").matches(pod)
    with pytest.raises(SelectorError, match=r"field label not supported: spec\.x"):
        field_selector("", "Pod", "spec.x=1")
    event = {"metadata": {}, "involvedObject": {"name": "x"}}
    assert field_selector("events.k8s.io", "Event", "regarding.name=x").matches(event)
