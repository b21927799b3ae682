"""CEL expressions of the API: compiled with the variables that they may use, evaluated over plain JSON.

The library is Google's own (cel-expr-python, the C++ implementation): it checks types, so that a wrong name is found
when an object is written and not when it is used, and it limits how long an expression may take. It is loaded by the
first expression. Beside the standard functions there are the original's for lists, regular expressions, quantities,
URLs, IP addresses and CIDRs (apiserver pkg/cel/library). Quantities, URLs, addresses and CIDRs are maps with one key
here: the library's Python side knows no opaque types. There is no `authorizer`.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from netlab.api.quantity import QuantityError, canonical, format_
from netlab.api.quantity import value as amount
from netlab.base.addresses import inside

if TYPE_CHECKING:
    from cel_expr_python import cel

#: characters of an expression
LENGTH_MAX = 16 * 1024
#: expressions that are kept compiled
CACHE = 4096

_RESERVED = (
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
)  # fmt: skip
_ODD = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


class CelError(ValueError):
    """An expression that does not compile, or that failed; the text is the library's."""


class Program:
    """A compiled expression. kind: the type of its result, `BOOL`, `STRING`, `DYN` if it shows only when it runs."""

    def __init__(self, text: str, expression: cel.Expression) -> None:
        self.text, self._expression = text, expression
        self.kind: str = expression.return_type().name()

    def uses(self, name: str) -> bool:
        """Whether a variable occurs in it."""
        return re.search(rf"(?<![\w.]){name}\b", self.text) is not None

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The result as plain JSON. CelError."""
        try:
            result = self._expression.eval(data=dict(values))
        except (RuntimeError, TypeError, OverflowError) as e:  # a number that is no int64
            raise CelError(_clean(str(e))) from e
        if result.type().name() == "ERROR":
            raise CelError(_clean(str(result.value())))
        return result.plain_value()


def _clean(text: str) -> str:
    text = re.sub(r"^(?:[A-Z_]+): ", "", text)
    text = re.sub(r" \[[A-Z_]+\]$", "", text)
    match = re.fullmatch(r'Key not found in map : "(.*)"', text)
    return f"no such key: {match[1]}" if match else text


@lru_cache(CACHE)
def compiled(text: str, *names: str) -> Program:
    """An expression over variables of these names. CelError with `compilation failed: …`."""
    if len(text) > LENGTH_MAX:
        raise CelError(f"compilation failed: expression is longer than {LENGTH_MAX} characters")
    try:
        return Program(text, _environment(names).compile(text))
    except RuntimeError as e:
        raise CelError(f"compilation failed: {_clean(str(e))}") from e


def problem(text: str, *names: str, kinds: Sequence[str] = ("BOOL",)) -> str | None:
    """What is wrong with an expression, if anything. kinds: what it may result in."""
    try:
        program = compiled(text, *names)
    except CelError as e:
        return str(e)
    if program.kind in (*kinds, "DYN"):
        return None
    return f"must evaluate to {' or '.join(k.lower() for k in kinds)}"


def escaped(name: str) -> str:
    """A property's name as expressions write it: `foo-bar` is foo__dash__bar, `namespace` is __namespace__."""
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[.\-/]", lambda m: _ODD[m[0]], name)


@cache
def _environment(names: tuple[str, ...]) -> cel.Env:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

    extensions = [
        ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional(), ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(), cel.CelExtension("kubernetes", _functions()),
    ]  # fmt: skip
    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=extensions)


def _functions() -> list[cel.FunctionDecl]:
    """The functions of TABLE, with an overload for each line."""
    from cel_expr_python import cel

    types = {
        "s": cel.Type.STRING, "i": cel.Type.INT, "b": cel.Type.BOOL, "d": cel.Type.DOUBLE, "*": cel.Type.DYN,
        "l": cel.Type.List(cel.Type.DYN), "S": cel.Type.List(cel.Type.STRING),
        "o": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        "m": cel.Type.Map(cel.Type.STRING, cel.Type.List(cel.Type.STRING)),
    }  # fmt: skip
    overloads: dict[str, list[cel.Overload]] = {}
    for name, signature, function in TABLE:
        member = signature.startswith(".")
        parameters, _, result = signature.removeprefix(".").partition(">")
        overloads.setdefault(name, []).append(
            cel.Overload(
                id=f"{name}_{'member_' if member else ''}{parameters}", return_type=types[result],
                parameters=[types[p] for p in parameters], is_member=member, impl=function,
            )
        )  # fmt: skip
    return [cel.FunctionDecl(name, found) for name, found in overloads.items()]


# -- quantities

Opaque = dict[str, str]


def _quantity(text: str) -> Opaque:
    return {"quantity": canonical(text)}


def _number(quantity: Opaque) -> Decimal:
    return amount(quantity["quantity"])


def _is(function: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            function(text)
        except (QuantityError, ValueError):
            return False
        return True

    return check


def _compare(a: Opaque, b: Opaque) -> int:
    x, y = _number(a), _number(b)
    return (x > y) - (x < y)


def _sum(a: Opaque, b: Opaque, sign: int = 1) -> Opaque:
    return _quantity(format_(_number(a) + sign * _number(b), "Ki" if a["quantity"].endswith("i") else ""))


# -- URLs, addresses


def _url(text: str) -> Opaque:
    parts = urlsplit(text)
    if not parts.scheme and not text.startswith("/"):
        raise ValueError(f"URL parse error during conversion from string: {text}")
    return {"url": text}


def _query(url: Opaque) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url["url"]).query, keep_blank_values=True)


def _ip(text: str) -> Opaque:
    return {"ip": str(ipaddress.ip_address(text))}


def _address(ip: Opaque) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(ip["ip"])


def _cidr(text: str) -> Opaque:
    ipaddress.ip_interface(text)
    if "/" not in text:
        raise ValueError(f"network address parse error during conversion from string: {text}")
    return {"cidr": text}


def _network(cidr: Opaque) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(cidr["cidr"], strict=False)


def _contains(cidr: Opaque, other: Opaque) -> bool:
    network = _network(cidr)
    if "ip" in other:
        return _address(other) in network
    return inside(_network(other), network)


def _index(values: list[Any], wanted: Any) -> int:
    return values.index(wanted) if wanted in values else -1


def _last(values: list[Any], wanted: Any) -> int:
    return len(values) - 1 - values[::-1].index(wanted) if wanted in values else -1


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found = [m[0] for m in re.finditer(pattern, text)]
    return found if most < 0 else found[:most]


def _find(text: str, pattern: str) -> str:
    return next(iter(_find_all(text, pattern, 1)), "")


#: name, signature (`.` for a member, letters of parameters, `>`, result), implementation
TABLE: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("isSorted", ".l>b", lambda v: all(a <= b for a, b in itertools.pairwise(v))),
    ("sum", ".l>*", lambda v: sum(v)),
    ("min", ".l>*", min),
    ("max", ".l>*", max),
    ("indexOf", ".l*>i", _index),
    ("lastIndexOf", ".l*>i", _last),
    ("find", ".ss>s", _find),
    ("findAll", ".ss>S", _find_all),
    ("findAll", ".ssi>S", _find_all),
    ("quantity", "s>o", _quantity),
    ("isQuantity", "s>b", _is(_quantity)),
    ("isInteger", ".o>b", lambda q: _number(q) == int(_number(q))),
    ("asInteger", ".o>i", lambda q: int(_number(q))),
    ("asApproximateFloat", ".o>d", lambda q: float(_number(q))),
    ("sign", ".o>i", lambda q: (_number(q) > 0) - (_number(q) < 0)),
    ("add", ".oo>o", _sum),
    ("sub", ".oo>o", lambda a, b: _sum(a, b, -1)),
    ("compareTo", ".oo>i", _compare),
    ("isGreaterThan", ".oo>b", lambda a, b: _compare(a, b) > 0),
    ("isLessThan", ".oo>b", lambda a, b: _compare(a, b) < 0),
    ("url", "s>o", _url),
    ("isURL", "s>b", _is(_url)),
    ("getScheme", ".o>s", lambda u: urlsplit(u["url"]).scheme),
    ("getHost", ".o>s", lambda u: urlsplit(u["url"]).netloc),
    ("getHostname", ".o>s", lambda u: urlsplit(u["url"]).hostname or ""),
    ("getPort", ".o>s", lambda u: str(urlsplit(u["url"]).port or "")),
    ("getEscapedPath", ".o>s", lambda u: urlsplit(u["url"]).path),
    ("getQuery", ".o>m", _query),
    ("ip", "s>o", _ip),
    ("isIP", "s>b", _is(_ip)),
    ("ip.isCanonical", "s>b", lambda t: _ip(t)["ip"] == t),
    ("family", ".o>i", lambda a: _address(a).version),
    ("isLoopback", ".o>b", lambda a: _address(a).is_loopback),
    ("isUnspecified", ".o>b", lambda a: _address(a).is_unspecified),
    ("isLinkLocalMulticast", ".o>b", lambda a: _address(a).is_multicast and _address(a).is_link_local),
    ("isLinkLocalUnicast", ".o>b", lambda a: _address(a).is_link_local),
    ("isGlobalUnicast", ".o>b", lambda a: not (
        _address(a).is_multicast or _address(a).is_loopback or _address(a).is_unspecified or _address(a).is_link_local
    )),
    ("cidr", "s>o", _cidr),
    ("isCIDR", "s>b", _is(_cidr)),
    ("containsIP", ".oo>b", _contains),
    ("containsIP", ".os>b", lambda c, t: _contains(c, _ip(t))),
    ("containsCIDR", ".oo>b", _contains),
    ("containsCIDR", ".os>b", lambda c, t: _contains(c, _cidr(t))),
    ("prefixLength", ".o>i", lambda c: _network(c).prefixlen),
    ("masked", ".o>o", lambda c: _cidr(str(_network(c)))),
)  # fmt: skip
