"""What a pod tells of itself: fieldRef and resourceFieldRef, the downward API.

Source: kubernetes pkg/fieldpath, pkg/api/v1/resource/helpers.go, the API reference of EnvVarSource.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

from netlab.api import Json
from netlab.api.quantity import value
from netlab.base.addresses import Address

_SUBSCRIPT = re.compile(r"^metadata\.(?P<map>labels|annotations)\['(?P<key>.*)'\]$", re.DOTALL)
_METADATA = {"metadata.name": "name", "metadata.namespace": "namespace", "metadata.uid": "uid"}


class Unsupported(ValueError):
    """No such field; the text is the original's."""


def field(pod: Json, path: str, *, node: str, node_ips: Sequence[Address], ips: Sequence[Address]) -> str:
    """A field as a container's variable. Unsupported."""
    spec = pod["spec"]
    if path in _METADATA:
        return str(pod["metadata"].get(_METADATA[path], ""))
    if found := _SUBSCRIPT.match(path):
        return str((pod["metadata"].get(found["map"]) or {}).get(found["key"], ""))
    if spec.get("hostNetwork") and not ips:
        ips = node_ips
    match path:
        case "spec.nodeName":
            return str(spec.get("nodeName") or node)
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName", ""))
        case "status.hostIP" | "status.hostIPs":
            told = node_ips
        case "status.podIP" | "status.podIPs":
            told = ips
        case _:
            raise Unsupported(f"unsupported fieldPath: {path}")
    return ",".join(map(str, told if path.endswith("s") else told[:1]))


def file(pod: Json, path: str) -> str:
    """A field as the content of a file: maps whole as well. Unsupported."""
    if path in ("metadata.labels", "metadata.annotations"):
        found = pod["metadata"].get(path.removeprefix("metadata.")) or {}
        return "\n".join(f"{key}={quoted(text)}" for key, text in sorted(found.items()))
    return field(pod, path, node="", node_ips=(), ips=())


def quoted(text: str) -> str:
    """As Go's %q writes a string."""
    found = []
    for char in text:
        number = ord(char)
        if char in '"\\':
            found.append(f"\\{char}")
        elif (short := _SHORT.get(char)) is not None:
            found.append(short)
        elif char.isprintable():
            found.append(char)
        else:
            width = (2, "x") if number < 0x80 else (4, "u") if number < 0x10000 else (8, "U")
            found.append(f"\\{width[1]}{number:0{width[0]}x}")
    return f'"{"".join(found)}"'


_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def resource(container: Json, reference: Json, allocatable: Mapping[str, str]) -> str:
    """A limit or request of a container in units of the divisor, rounded up. A limit that it has not is the node's
    allocatable. Unsupported."""
    name = str(reference.get("resource", ""))
    kind, _, what = name.partition(".")
    known = what in ("cpu", "memory", "ephemeral-storage") or what.startswith("hugepages-")
    if kind not in ("limits", "requests") or not known:
        raise Unsupported(f"unsupported container resource : {name}")
    said = ((container.get("resources") or {}).get(kind) or {}).get(what)
    amount = value(str(said)) if said is not None else Decimal(0)
    if kind == "limits" and not amount and what in allocatable:
        amount = value(allocatable[what])
    divisor = value(str(reference.get("divisor") or "0")) or Decimal(1)
    if what == "cpu":  # counted in thousandths before it is divided
        amount, divisor = ((n * 1000).to_integral_value(ROUND_CEILING) for n in (amount, divisor))
    else:
        amount, divisor = (n.to_integral_value(ROUND_CEILING) for n in (amount, divisor))
    return str(int((amount / divisor).to_integral_value(ROUND_CEILING)))
