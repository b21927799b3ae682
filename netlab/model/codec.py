"""HostState to JSON and back, lossless: the journal's and `--json`'s form.

Every item is an object with `type` (the class name) and its fields; a kind inside is an object of the same form.
Fields at their default are left out, so that a journal of a thousand hosts stays small. A chain's rules are lines,
as iptables-save has them, and why each is there: a hundred thousand are not taken apart, nor copied, to be put down.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import types
import typing
from collections.abc import Callable
from typing import Any

from netlab import model
from netlab.model.iptables import Chain, IptablesRule
from netlab.model.item import Item
from netlab.model.state import HostState

_CLASSES: dict[str, type] = {
    cls.__name__: cls for cls in vars(model).values() if isinstance(cls, type) and dataclasses.is_dataclass(cls)
}
_PLAIN = frozenset({str, int, float, bool, type(None)})


def to_json(value: Any) -> Any:
    """An item, a state or any part of one as plain JSON data."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple:
        return [to_json(v) for v in value]
    if kind is Chain:
        return {**_plain(value), "lines": value.lines, "whys": value.whys} if value.lines else _plain(value)
    if kind is HostState:
        return [to_json(item) for item in value]
    if _CLASSES.get(kind.__name__) is kind:
        return _plain(value)
    return value if isinstance(value, (str, int, float)) else str(value)


def _plain(value: Any) -> dict[str, Any]:
    kind: type = type(value)
    out: dict[str, Any] = {"type": kind.__name__}
    for attribute, key, default in _fields(kind):
        v = getattr(value, attribute)
        if v is not default and v != default:
            out[key] = to_json(v)
    return out


@functools.cache
def _fields(cls: type) -> tuple[tuple[str, str, Any], ...]:
    # a chain's rules are written in a form of their own
    fields = (f for f in dataclasses.fields(cls) if not (cls is Chain and f.name == "rules"))
    return tuple((f.name, _key(cls, f.name), f.default) for f in fields)


_OWN_TYPES: dict[type, str] = {
    model.Route: "route_type",
    model.Ipset: "set_type",
    model.NftSet: "set_type",
    model.NftChain: "chain_type",
}


def _key(cls: type, name: str) -> str:
    # a route's or a set's own `type` would clash with the class name
    return _OWN_TYPES.get(cls, name) if name == "type" else name


def state_from_json(data: list[dict[str, Any]]) -> HostState:
    """The inverse of `to_json` for a state. ValueError (or KeyError, TypeError) for data that is none."""
    return HostState(tuple(item_from_json(d) for d in data))


def item_from_json(data: dict[str, Any]) -> Item:
    """The inverse of `to_json` for one item."""
    item = _object(data)
    if not isinstance(item, Item):
        raise ValueError(f"{data.get('type')!r} is not an item")
    return item


def _object(data: dict[str, Any]) -> Any:
    cls = _CLASSES.get(str(data.get("type")))
    if cls is None:
        raise ValueError(f"unknown type {data.get('type')!r}")
    fields = {name: read(data[key]) for key, name, read in _readers(cls) if key in data}
    if cls is Chain:
        fields["rules"] = _rules(data)
    return cls(**fields)


def _rules(data: dict[str, Any]) -> tuple[IptablesRule, ...]:
    if "rules" in data:  # as they were written once, and as a lab that is up may have them still
        return tuple(IptablesRule(tuple(rule["args"]), rule.get("why", "")) for rule in data["rules"])
    lines = data.get("lines", ())
    return tuple(map(IptablesRule.trusted, lines, data.get("whys") or [""] * len(lines)))


@functools.cache
def _readers(cls: type) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((key, name, _reader(hints[name])) for name, key, _ in _fields(cls))


def _reader(hint: Any) -> Callable[[Any], Any]:
    """A function from JSON data to a value of the annotated type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal or hint in (str, int, float, bool):
        return _same
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            inner = _reader(args[0])
            return lambda data: tuple(inner(d) for d in data)
        each = [_reader(a) for a in args]
        return lambda data: tuple(read(d) for read, d in zip(each, data, strict=True))
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in args if a is not type(None)]
        read = _union(rest)
        return lambda data: None if data is None else read(data)
    if hint in _FROM_TEXT:
        return _FROM_TEXT[hint]
    return _object


def _union(kinds: list[Any]) -> Callable[[Any], Any]:
    if len(kinds) == 1:
        return _reader(kinds[0])
    for parse, family in _FAMILIES.items():
        if set(kinds) == set(family):
            return parse
    return _object


def _same(data: Any) -> Any:
    return data


# cached: a lab's hosts share gateways, broadcasts and networks, and an `up` reads each lab twice
_FAMILIES: dict[Callable[[Any], Any], tuple[type, type]] = {
    functools.lru_cache(1 << 14)(ipaddress.ip_address): (ipaddress.IPv4Address, ipaddress.IPv6Address),
    functools.lru_cache(1 << 14)(ipaddress.ip_interface): (ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    functools.lru_cache(1 << 14)(ipaddress.ip_network): (ipaddress.IPv4Network, ipaddress.IPv6Network),
}
_FROM_TEXT: dict[Any, Callable[[Any], Any]] = {cls: parse for parse, pair in _FAMILIES.items() for cls in pair}
