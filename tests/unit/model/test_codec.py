"""JSON and back, lossless."""

import json

import pytest
from hypothesis import given, settings
from strategies import ALL, host_states

from netlab.model import Bridge, Chain, HostState, Ipset, Link, Route
from netlab.model.codec import item_from_json, state_from_json, to_json


@settings(deadline=None, max_examples=100)
@given(host_states(kinds=ALL))
def test_round_trip(state: HostState) -> None:
    text = json.dumps(to_json(state))
    back = state_from_json(json.loads(text))
    assert back == state
    assert [(item.owner, item.why) for item in back] == [(item.owner, item.why) for item in state]
    assert [rule.why for item in back for rule in getattr(item, "rules", ())] == [
        rule.why for item in state for rule in getattr(item, "rules", ())
    ]


def test_defaults_are_left_out() -> None:
    link = Link(name="br0", kind=Bridge(stp=True), why="lab.yaml:3")
    assert to_json(link) == {
        "type": "Link",
        "why": "lab.yaml:3",
        "name": "br0",
        "kind": {"type": "Bridge", "stp": True},
        "mtu": 1500,
    }


@pytest.mark.parametrize(
    "data",
    [
        {"type": "Route", "dst": "10.0.0.0/8", "route_type": "blackhole", "scope": "global"},
        {"type": "Ipset", "name": "s", "set_type": "hash:ip"},
    ],
)
def test_a_type_of_its_own_has_another_key(data: dict[str, object]) -> None:
    item = item_from_json(data)
    assert isinstance(item, Route | Ipset) and item.type in ("blackhole", "hash:ip")
    assert to_json(item) == data


@pytest.mark.parametrize("data", [{"type": "Nothing"}, {}, {"type": "Bridge"}])
def test_what_is_no_item(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"type|not an item"):
        item_from_json(data)


def test_rules_as_they_were_written_once() -> None:
    data = {"type": "Chain", "family": 4, "table": "nat", "name": "A", "rules": [
        {"type": "IptablesRule", "args": ["-p", "tcp", "-j", "ACCEPT"], "why": "me"}]}  # fmt: skip
    chain = item_from_json(data)
    assert isinstance(chain, Chain)
    assert (chain.lines, chain.whys) == (("-p tcp -j ACCEPT",), ("me",))
