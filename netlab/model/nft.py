"""nftables as values: tables, sets, maps and chains of rules, in the spelling of `nft -s -y list`: text compares.

A table belongs to its owner whole, with all that is in it: nothing of nftables is shared. The kernel takes changes in
transactions, so all items of a plan go in one. Facts: nft(8), nftables 1.0.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from netlab.model.item import Item, Key

Family = Literal["ip", "ip6", "inet"]
#: the kernel's limit for names of tables, chains and sets with the closing NUL is 256 (NFT_NAME_MAXLEN)
NAME_MAX = 255


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule as `nft list` prints it, its comment included; why does not take part in equality."""

    text: str
    why: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NftRule) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class NftElement:
    """An element of a set, or of a map if `value` is not empty: `10.0.0.1 . tcp . 80` to `goto service-…`."""

    key: str
    value: str = ""
    why: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NftElement) and (self.key, self.value) == (other.key, other.value)

    def __hash__(self) -> int:
        return hash((self.key, self.value))

    def __str__(self) -> str:
        return f"{self.key} : {self.value}" if self.value else self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class NftTable(Item):
    """A table. What stands in it are items of their own; deleting it takes them along."""

    RANK: ClassVar[int] = 120
    NOUN: ClassVar[str] = "nft table"

    family: Family
    name: str

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def key(self) -> Key:
        return (self.family, self.name)

    def __str__(self) -> str:
        return f"nft table {self.family} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NftSet(Item):
    """A set, or a map if `value` is not empty. type: of a key, `ipv4_addr . inet_proto . inet_service`.

    timeout: seconds that an element lives, 0 for ever. A set with the flag `dynamic` is filled by rules: its elements
    are the packets' and not the owner's.
    """

    RANK: ClassVar[int] = 121
    NOUN: ClassVar[str] = "nft set"

    family: Family
    table: str
    name: str
    type: str
    value: str = ""
    flags: tuple[str, ...] = ()
    timeout: int = 0
    elements: tuple[NftElement, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        # an owner that changes one of ten thousand hands them over sorted; sorting what is sorted is cheap
        object.__setattr__(self, "elements", tuple(sorted(set(self.elements), key=_element_key)))

    @property
    def key(self) -> Key:
        return (self.family, self.table, self.name)

    @property
    def dynamic(self) -> bool:
        """Whether rules fill it."""
        return "dynamic" in self.flags

    @property
    def header(self) -> tuple[object, ...]:
        """What can only be changed by making the set anew."""
        return (self.type, self.value, tuple(sorted(self.flags)), self.timeout)

    @property
    def noun(self) -> str:
        """nft's own word: `set` or `map`."""
        return "map" if self.value else "set"

    def met_by(self, actual: Item) -> bool:
        return (
            isinstance(actual, NftSet)
            and self.header == actual.header
            and (self.dynamic or self.elements == actual.elements)
        )

    def __str__(self) -> str:
        return f"nft {self.noun} {self.family} {self.table} {self.name}"


def _element_key(element: NftElement) -> tuple[str, str]:
    return (element.key, element.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NftChain(Item):
    """A chain; a base chain if it has a `hook`, with its type, its priority as a number and its policy."""

    RANK: ClassVar[int] = 122
    NOUN: ClassVar[str] = "nft chain"

    family: Family
    table: str
    name: str
    type: Literal["filter", "nat", "route", ""] = ""
    hook: Literal["prerouting", "input", "forward", "output", "postrouting", ""] = ""
    priority: int = 0
    policy: Literal["accept", "drop", ""] = ""
    rules: tuple[NftRule, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if bool(self.hook) != bool(self.type):
            raise ValueError(f"nft chain {self.name}: a base chain has both a type and a hook, another has neither")
        if self.hook and not self.policy:
            object.__setattr__(self, "policy", "accept")  # the kernel's own

    @classmethod
    def trusted(
        cls, family: Family, table: str, name: str, rules: tuple[NftRule, ...], owner: str, why: str
    ) -> NftChain:
        """A chain without a hook, out of parts that are known to be right, without a look at them."""
        chain = object.__new__(cls)
        values = (family, table, name, "", "", 0, "", rules, owner, why)
        for put, value in zip(_CHAIN_SETTERS, values, strict=True):
            put(chain, value)
        return chain

    @property
    def key(self) -> Key:
        return (self.family, self.table, self.name)

    @property
    def header(self) -> tuple[object, ...]:
        """What can only be changed by making the chain anew; a policy can be changed."""
        return (self.type, self.hook, self.priority)

    def __str__(self) -> str:
        return f"nft chain {self.family} {self.table} {self.name}"


_CHAIN_SETTERS = tuple(
    vars(cls)[name].__set__
    for cls, names in (
        (NftChain, ("family", "table", "name", "type", "hook", "priority", "policy", "rules")),
        (Item, ("owner", "why")),
    )
    for name in names
)

NFT = (NftTable, NftSet, NftChain)


_NAME = re.compile(r"[^\s\";{}]+")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name.encode()) > NAME_MAX:
        raise ValueError(
            f"nft name {name!r} must have 1 to {NAME_MAX} bytes, no white space, quote, brace or semicolon"
        )


def listing(items: Iterable[Item]) -> str:
    """The tables among `items` as `nft -s -y list ruleset` prints them."""
    out: list[str] = []
    within: dict[tuple[str, str], list[str]] = {}
    for item in items:
        if isinstance(item, NftTable):
            within[item.family, item.name] = []
        elif isinstance(item, NftSet):
            within.setdefault((item.family, item.table), []).append(_listed_set(item))
        elif isinstance(item, NftChain):
            within.setdefault((item.family, item.table), []).append(_listed_chain(item))
    for (family, name), parts in within.items():
        out.append(f"table {family} {name} {{\n" + "\n\n".join(parts) + ("\n" if parts else "") + "}\n")
    return "".join(out)


def set_lines(item: NftSet) -> list[str]:
    """The lines of a set's definition without its elements."""
    lines = [f"type {item.type}" + (f" : {item.value}" if item.value else "")]
    if item.dynamic:
        lines.append("size 65535")  # what the kernel gives a dynamic set that names none
    if item.flags:
        lines.append("flags " + ",".join(item.flags))
    if item.timeout:
        lines.append(f"timeout {duration(item.timeout)}")
    return lines


def duration(seconds: int) -> str:
    """Seconds as nft prints them: 10800 is `3h`."""
    out = ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        out += f"{count}{unit}" if count else ""
    return out or "0s"


def _listed_set(item: NftSet) -> str:
    lines = set_lines(item)
    if item.elements:
        lines.append("elements = { " + ",\n\t\t\t     ".join(map(str, item.elements)) + " }")
    return f"\t{item.noun} {item.name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}"


def hook_line(item: NftChain) -> str:
    """`type filter hook input priority -110; policy accept;`"""
    return f"type {item.type} hook {item.hook} priority {item.priority}; policy {item.policy};"


def _listed_chain(item: NftChain) -> str:
    lines = ([hook_line(item)] if item.hook else []) + [rule.text for rule in item.rules]
    return f"\tchain {item.name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}"
