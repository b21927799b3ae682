"""Which slices to make, change and delete so that all endpoints are in them: an endpoint stays in its slice if it can,
so that of a hundred slices one is written when one pod comes. Pure.

Source: staging/src/k8s.io/endpointslice/reconciler.go (reconcileByPortMapping).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from netlab.client.rest import Object
from netlab.compile.endpoints import SLICE_MAX

_Group = tuple[str, tuple[tuple[object, ...], ...]]


@dataclass(slots=True)
class Plan:
    """Whole objects; those to create have no name, those to update have the resourceVersion that they replace."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.create or self.update or self.delete)


def plan(existing: Iterable[Object], wanted: Iterable[Object]) -> Plan:
    """From the slices that are there to those that should be. wanted: of the same Service, without names."""
    there: dict[_Group, list[Object]] = {}
    for piece in sorted(existing, key=lambda p: str(p["metadata"]["name"])):
        there.setdefault(_group(piece), []).append(piece)
    heads: dict[_Group, Object] = {}
    endpoints: dict[_Group, list[Object]] = {}
    for piece in wanted:
        group = _group(piece)
        heads.setdefault(group, piece)
        endpoints.setdefault(group, []).extend(piece.get("endpoints") or ())
    out = Plan()
    for group, head in heads.items():
        _fill(out, head, there.pop(group, []), endpoints[group])
    for left in there.values():
        out.delete += left
    return out


def _fill(out: Plan, head: Object, there: list[Object], endpoints: list[Object]) -> None:
    """One group: slices of one family with the same ports."""
    new = {tuple(e["addresses"]): e for e in endpoints}
    kept = []
    for piece in there:
        stays = [new.pop(a) for e in piece.get("endpoints") or () if (a := tuple(e["addresses"])) in new]
        kept.append((piece, stays))
    rest = list(new.values())
    for _, stays in kept:
        free = SLICE_MAX - len(stays)
        stays += rest[:free]
        rest = rest[free:]
    full = [(piece, stays) for piece, stays in kept if stays]
    if not full and not rest and kept:
        full = kept[:1]  # that there is nothing is told by one empty slice
    out.delete += [piece for piece, _ in kept if not any(piece is p for p, _ in full)]
    for piece, stays in full:
        now = _like(head, stays, piece)
        if any(piece.get(name) != now.get(name) for name in ("endpoints", "ports")) or _meta(piece) != _meta(now):
            out.update.append(now)
    starts = range(0, len(rest), SLICE_MAX) if rest else range(0 if full else 1)
    out.create += [_like(head, rest[at : at + SLICE_MAX]) for at in starts]


def _group(piece: Object) -> _Group:
    ports = tuple(sorted(
        ((p.get("name") or "", p.get("protocol") or "TCP", p.get("port"), p.get("appProtocol"))
         for p in piece.get("ports") or ()), key=repr,
    ))  # fmt: skip
    return str(piece["addressType"]), ports


def _meta(piece: Object) -> tuple[object, ...]:
    return tuple(piece["metadata"].get(name) or {} for name in ("labels", "annotations", "ownerReferences"))


def _like(head: Object, endpoints: list[Object], piece: Object | None = None) -> Object:
    """The head with other endpoints: new, or in the place of a slice that is there."""
    made: Object = {**copy.deepcopy({k: v for k, v in head.items() if k != "endpoints"}), "endpoints": endpoints}
    if piece is not None:
        meta = made["metadata"]
        kept = {k: v for k, v in piece["metadata"].items() if k not in ("annotations", "managedFields")}
        made["metadata"] = {**kept, **{k: v for k, v in meta.items() if k != "generateName"}}
    return made
