"""iptables as values: chains of rules in the canonical spelling of `iptables-save`, so that text compares.

A built-in chain (PREROUTING, FORWARD, …) is shared between owners. An owner's rules in it stand in order of their
precedence (lower first, whoever comes first); rules that nobody declared are left where they are. A chain of one's own
belongs to its owner whole.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

from netlab.model.item import Item, Key

BUILTIN: dict[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
TABLES = tuple(BUILTIN)
_TABLE_AT = {table: at for at, table in enumerate(TABLES)}
#: the kernel's limit for a chain's name is 29 with the closing NUL (XT_EXTENSION_MAXNAMELEN)
CHAIN_NAME_MAX = 28

#: declared order of the jumps out of the built-in chains, by target; what is not listed has 500
PRECEDENCE = {"cali-": 100, "NETPOL-": 110, "KUBE-": 200, "FLANNEL-": 300, "DOCKER": 400, "CNI-SN-": 450}
PRECEDENCE_DEFAULT = 500

_ALIASES = {
    "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
    "--out-interface": "-o", "--protocol": "-p", "--proto": "-p", "--match": "-m", "--jump": "-j", "--goto": "-g",
    "--source-port": "--sport", "--destination-port": "--dport",
    "--source-ports": "--sports", "--destination-ports": "--dports",
}  # fmt: skip
_PROTOCOLS = {"icmpv6": "ipv6-icmp", "1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "132": "sctp"}
_BASE = ("-s", "-d", "-i", "-o", "-p")
#: options that belong to a protocol's own match, which `-p tcp --dport 80` loads without a word
_IMPLICIT = {
    "--dport": None, "--sport": None, "--syn": None, "--tcp-flags": None,
    "--icmp-type": "icmp", "--icmpv6-type": "icmp6",
}  # fmt: skip
#: a target that iptables-save prints with the option that it has anyway; here it has none
_SPELT_OUT = {
    ("-j", "REJECT", "--reject-with", "icmp-port-unreachable"),
    ("-j", "REJECT", "--reject-with", "icmp6-port-unreachable"),
}
#: values that iptables-save prints in another word
_VALUES = {
    "--tcp-flags": {"ALL": "FIN,SYN,RST,PSH,ACK,URG"},
    "--icmp-type": {"echo-request": "8", "ping": "8", "echo-reply": "0", "pong": "0", "destination-unreachable": "3"},
    "--icmpv6-type": {"echo-request": "128", "ping": "128", "echo-reply": "129", "pong": "129"},
}
_ALL_BITS = 0xFFFFFFFF
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_LIMIT_UNITS = {"s": "sec", "m": "min", "h": "hour", "d": "day"}
#: the kernel keeps a probability as a share of this (xt_statistic)
_PROBABILITY_ONE = 1 << 31
_CTSTATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")


def _network(text: str) -> str | None:
    network = ipaddress.ip_network(text, strict=False)
    return None if network.prefixlen == 0 else str(network)


def canonical(args: str | Sequence[str]) -> tuple[str, ...]:
    """A rule's arguments without `-A CHAIN`, in the order and spelling of `iptables-save`.

    ValueError for what is no rule: an option without a value, an address that is none, an unknown word.
    """
    words = shlex.split(args) if isinstance(args, str) else list(args)
    base: dict[str, tuple[str, ...]] = {}
    matches: list[str] = []
    target: list[str] = []
    loaded: list[str] = []
    protocol = ""
    where = matches
    i = 0

    def value(option: str) -> str:
        nonlocal i
        i += 1
        if i >= len(words):
            raise ValueError(f"iptables option {option} needs a value")
        return words[i]

    while i < len(words):
        negated = words[i] == "!"
        if negated:
            i += 1
            if i >= len(words):
                raise ValueError("iptables rule ends with '!'")
        option = _ALIASES.get(words[i], words[i])
        bang = ("!",) if negated else ()
        if option in _BASE:
            text = value(option)
            if option in ("-s", "-d"):
                network = _network(text)
                if network is None:
                    i += 1
                    continue
                text = network
            if option == "-p":
                protocol = text = _PROTOCOLS.get(text.lower(), text.lower())
                if text == "all":
                    i += 1
                    continue
            base[option] = (*bang, option, text)
        elif option == "-m":
            name = value(option)
            loaded.append(name)
            matches += ["-m", name]
            where = matches
        elif option in ("-j", "-g"):
            target += [option, value(option)]
            where = target
        elif option.startswith("-"):
            if option in _IMPLICIT:
                where = matches
                match = _IMPLICIT[option] or protocol
                if match and match not in loaded:
                    loaded.append(match)
                    matches += ["-m", match]
            where += [*bang, option]
            if option == "--syn":
                where[-1:] = ["--tcp-flags", "FIN,SYN,RST,ACK", "SYN"]
            while i + 1 < len(words) and words[i + 1] != "!" and not words[i + 1].startswith("-"):
                i += 1
                where.append(words[i])
            _respell(where)
        else:
            raise ValueError(f"{option!r} is not an iptables option")
        i += 1
    out = [word for option in _BASE for word in base.get(option, ())]
    return (*out, *matches, *(target[:2] if tuple(target) in _SPELT_OUT else target))


def _respell(words: list[str]) -> None:
    """Spell the option and value at the end of `words` as iptables-save does."""
    if len(words) < 2:
        return
    option, text = words[-2], words[-1]
    if option in ("--ctstate", "--state"):
        given = set(text.upper().split(","))
        words[-1] = ",".join([s for s in _CTSTATES if s in given] + sorted(given - set(_CTSTATES)))
    elif option in ("--mark", "--set-mark", "--set-xmark", "--or-mark", "--and-mark", "--xor-mark"):
        words[-2:] = _mark(option, text)
    elif option == "--probability":
        words[-1] = f"{round(float(text) * _PROBABILITY_ONE) / _PROBABILITY_ONE:.11f}"
    elif option == "--limit":
        number, _, unit = text.partition("/")
        words[-1] = f"{number}/{_LIMIT_UNITS.get(unit[:1], unit)}"
    elif option == "--to-port":
        words[-2] = "--to-ports"
    elif option == "--to" and words[-3:-2] in (["SNAT"], ["DNAT"]):
        words[-2] = "--to-source" if words[-3] == "SNAT" else "--to-destination"
    elif len(words) > 2 and words[-3] == "--tcp-flags":
        words[-2:] = [_VALUES["--tcp-flags"].get(word, word) for word in words[-2:]]
    elif option in _VALUES:
        words[-1] = _VALUES[option].get(text, text)


def _mark(option: str, text: str) -> list[str]:
    """A mark's option and value. What changes a mark is spelt `--set-xmark value/mask`: clear mask, then xor value."""
    first, _, second = text.partition("/")
    value, mask = int(first, 0), int(second, 0) if second else _ALL_BITS
    match option:
        case "--mark":
            return [option, hex(value) + (f"/{mask:#x}" if mask != _ALL_BITS else "")]
        case "--set-mark":
            mask |= value
        case "--or-mark":
            mask = value
        case "--and-mark":
            value, mask = 0, ~value & _ALL_BITS
        case "--xor-mark":
            mask = 0
    return ["--set-xmark", f"{value:#x}/{mask:#x}"]


def precedence_of(args: Sequence[str]) -> int:
    """The declared precedence of a rule in a built-in chain, by the chain that it jumps to."""
    for option, name in pairwise(args):
        if option in ("-j", "-g"):
            for prefix, rank in PRECEDENCE.items():
                if name.startswith(prefix):
                    return rank
    return PRECEDENCE_DEFAULT


def quoted(args: Iterable[str]) -> str:
    """Arguments as one line of an iptables-restore file: double quotes around what needs them."""
    return " ".join(
        word if word and not set(word) & set(" \t\"'\\") else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for word in args
    )


def words(line: str) -> list[str]:
    """A line of iptables-save in words. Not shlex: inside its double quotes a backslash escapes any character."""
    if '"' not in line:
        return line.split()
    return [re.sub(r"\\(.)", r"\1", m[1]) if m[1] is not None else m[2] for m in _WORD.finditer(line)]


class _Written:
    """Room for a rule's line, for rules that are made of one and taken apart only if somebody asks for the words."""

    __slots__ = ("_line",)


@dataclass(frozen=True, slots=True)
class IptablesRule(_Written):
    """One rule: its canonical arguments, and why it is there (which does not take part in equality)."""

    args: tuple[str, ...]
    why: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", canonical(self.args))

    @classmethod
    def of(cls, text: str, *, why: str = "") -> IptablesRule:
        """From a line such as `-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE`."""
        return cls(tuple(shlex.split(text)), why)

    @classmethod
    def trusted(cls, line: str, why: str = "") -> IptablesRule:
        """From a line that is spelt as iptables-save spells it, quotes included; nobody checks.

        For compilers that write rules by the hundred thousand: `canonical` takes 40 µs, this 0.3.
        """
        rule = _new_rule(cls)
        _set_line(rule, line)
        _set_why(rule, why)
        return rule

    def __getattr__(self, name: str) -> Any:
        # reached only where the slot is empty: a trusted rule whose words nobody has asked for yet
        if name != "args":
            raise AttributeError(name)
        text: str = self._line
        try:
            args = canonical(words(text))
        except ValueError:
            args = tuple(words(text))  # as read from a kernel, and beyond us: kept as it is, so that it is left alone
        object.__setattr__(self, "args", args)
        return args

    @property
    def line(self) -> str:
        """The arguments as one line of an iptables-restore file."""
        try:
            line: str = self._line
        except AttributeError:
            line = quoted(self.args)
            object.__setattr__(self, "_line", line)
        return line

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IptablesRule):
            return False
        return self is other or self.line == other.line or self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    def __str__(self) -> str:
        return self.line

    def __reduce__(self) -> tuple[object, ...]:
        return IptablesRule.trusted, (self.line, self.why)


# the slots' own setters: a frozen dataclass is else set through object.__setattr__, at three times the price
_new_rule = object.__new__
_set_line = vars(_Written)["_line"].__set__
_set_why = vars(IptablesRule)["why"].__set__


class _Room(Item):
    """Room for a chain's place among all items, since a hundred thousand are sorted again and again, and for its rules
    as lines, of which rules are made only if somebody asks for them."""

    __slots__ = ("_lines", "_order", "_whys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(_Room):
    """A chain, or an owner's rules in a built-in one. policy: of a built-in chain, None to leave it as it is."""

    RANK: ClassVar[int] = 110
    NOUN: ClassVar[str] = "chain"

    family: Literal[4, 6]
    table: str
    name: str
    policy: Literal["ACCEPT", "DROP"] | None = None
    rules: tuple[IptablesRule, ...] = ()

    def __post_init__(self) -> None:
        if self.table not in BUILTIN:
            raise ValueError(f"iptables has no table {self.table!r} (raw, mangle, nat, filter)")
        if not self.name or len(self.name.encode()) > CHAIN_NAME_MAX or any(c.isspace() for c in self.name):
            raise ValueError(f"chain name {self.name!r} must have 1 to {CHAIN_NAME_MAX} bytes and no white space")
        if self.policy and not self.builtin:
            raise ValueError(f"chain {self.name} is not built in and can have no policy")

    @property
    def builtin(self) -> bool:
        """Whether the chain exists by itself and is shared."""
        return self.name in BUILTIN[self.table]

    @property
    def key(self) -> Key:
        return (self.family, _TABLE_AT[self.table], int(self.builtin), self.name)

    @property
    def order(self) -> Key:
        try:
            known: Key = _order_of(self)
        except AttributeError:
            known = (self.RANK, *self.key)
            _set_order(self, known)
        return known

    def met_by(self, actual: Item) -> bool:
        if not isinstance(actual, Chain) or self.key != actual.key:
            return False
        if not self.builtin:
            return self.same_rules(actual)
        return (self.policy is None or self.policy == actual.policy) and merged(
            actual.rules, self.rules, self.rules
        ) == (actual.rules)

    @classmethod
    def written(
        cls,
        family: Literal[4, 6],
        table: str,
        name: str,
        lines: tuple[str, ...],
        whys: tuple[str, ...] = (),
        *,
        policy: Literal["ACCEPT", "DROP"] | None = None,
        owner: str = "",
        why: str = "",
    ) -> Chain:
        """A chain out of parts that are known to be right: lines as of `IptablesRule.trusted`, and why each
        is there (none: for the chain's own reason)."""
        chain = _new_rule(cls)
        _set_family(chain, family)
        _set_table(chain, table)
        _set_name(chain, name)
        _set_policy(chain, policy)
        _set_owner(chain, owner)
        _set_why_of_chain(chain, why)
        _set_lines(chain, lines)
        _set_whys(chain, whys)
        _set_order(chain, (cls.RANK, family, _TABLE_AT[table], int(name in BUILTIN[table]), name))
        return chain

    @classmethod
    def trusted(
        cls, family: Literal[4, 6], table: str, name: str, rules: tuple[IptablesRule, ...], owner: str, why: str
    ) -> Chain:
        """The same with rules that are made already."""
        chain = _new_rule(cls)
        for put, value in zip(_SETTERS, (family, table, name, None, owner, why, rules), strict=True):
            put(chain, value)
        return chain

    def __getattr__(self, name: str) -> Any:
        # reached only where the slot is empty: a written chain whose rules nobody has asked for yet
        if name != "rules":
            raise AttributeError(name)
        rules = tuple(map(IptablesRule.trusted, self._lines, self.whys))
        _set_rules(self, rules)
        return rules

    @property
    def lines(self) -> tuple[str, ...]:
        """The rules as lines of an iptables-restore file."""
        try:
            known: tuple[str, ...] = self._lines
        except AttributeError:
            return tuple([rule.line for rule in self.rules])
        return known

    @property
    def whys(self) -> tuple[str, ...]:
        """Why each of the rules is there."""
        try:
            known: tuple[str, ...] = self._whys
        except AttributeError:
            return tuple([rule.why for rule in self.rules])
        return known or (self.why,) * len(self.lines)

    def same_rules(self, other: Chain) -> bool:
        """Whether the rules are the same, whoever wants them."""
        return self.lines == other.lines or self.rules == other.rules

    def __str__(self) -> str:
        return f"chain {self.name} in {self.table} (IPv{self.family})"


_set_order, _set_lines, _set_whys = (vars(_Room)[name].__set__ for name in ("_order", "_lines", "_whys"))
#: not by its name, for a slot that is empty is looked for in `__getattr__` then
_order_of = vars(_Room)["_order"].__get__
_SETTERS = tuple(
    vars(cls)[name].__set__
    for cls, names in ((Chain, ("family", "table", "name", "policy")), (Item, ("owner", "why")), (Chain, ("rules",)))
    for name in names
)
_set_family, _set_table, _set_name, _set_policy, _set_owner, _set_why_of_chain, _set_rules = _SETTERS


def merged(
    actual: Sequence[IptablesRule], owned: Iterable[IptablesRule], wanted: Sequence[IptablesRule]
) -> tuple[IptablesRule, ...]:
    """A built-in chain as it should be: others' rules as they stand, ours (`owned`) replaced by `wanted`.

    A rule that is in its right place already stays there, so that its counters live on.
    """
    wanted = sorted(wanted, key=lambda rule: precedence_of(rule.args))
    ours = set(owned) | set(wanted)
    others = [rule for rule in actual if rule not in ours]
    kept = tuple(rule for rule in actual if rule in ours)
    if list(kept) == wanted and _in_order(actual, ours):
        return tuple(actual)
    result = list(others)
    for rule in reversed(wanted):
        rank = precedence_of(rule.args)
        at = next((i for i, o in enumerate(result) if precedence_of(o.args) >= rank), len(result))
        result.insert(at, rule)
    return tuple(result)


def _in_order(actual: Sequence[IptablesRule], ours: set[IptablesRule]) -> bool:
    """Whether each of our rules stands behind all of lower declared precedence."""
    for i, rule in enumerate(actual):
        if rule in ours:
            rank = precedence_of(rule.args)
            if any(precedence_of(o.args) < rank for o in actual[i + 1 :] if o not in ours):
                return False
    return True
