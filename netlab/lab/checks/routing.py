"""Checks of what a BGP speaker knows: it is asked at its control socket, as `netlab bgp` asks it."""

from __future__ import annotations

from typing import Any

from netlab.base.errors import InputError, MachineError
from netlab.lab.checks.result import CannotProbe, Context, NotYet
from netlab.lab.checkspec import BgpBest, BgpCheck


def bgp(spec: BgpCheck, context: Context) -> str:
    """The state of a session, or the winning path to a prefix."""
    socket = context.bgp(spec.on)
    if socket is None:
        raise CannotProbe(f"{spec.on} runs no bgpd of this lab")

    def ask(**request: Any) -> Any:
        try:
            return context.machine.bgp(socket, request)
        except MachineError as e:
            raise CannotProbe(f"{spec.on}: {e.message}") from e

    if spec.peer is not None:
        try:
            found = ask(verb="neighbors", peer=str(spec.peer))[0]
        except InputError as e:
            raise NotYet(f"{spec.on}: {e.message}") from e
        return _session(spec, found)
    prefix = str(context.network(spec.prefix))
    rows = [row for row in ask(verb="rib", prefix=prefix) if row["prefix"] == prefix]
    return _prefix(spec, prefix, rows[0] if rows else None)


def _session(spec: BgpCheck, found: dict[str, Any]) -> str:
    state = str(found["state"])
    if state.split()[0].lower() != spec.state:
        error = found.get("last_error")
        raise NotYet(f"{spec.on} and {spec.peer}: {state}, not {spec.state}" + (f" ({error})" if error else ""))
    return f"{spec.on} and {spec.peer}: {state}"


def _prefix(spec: BgpCheck, prefix: str, row: dict[str, Any] | None) -> str:
    where = f"{spec.on} {prefix}"
    if row is None or not row["best"]:
        why = f" ({row['paths'][0]['next_hop_state']})" if row and row["paths"] else ""
        if spec.absent:
            return f"{where}: no path{why}"
        raise NotYet(f"{where}: no path{why}")
    if spec.absent:
        raise NotYet(f"{where}: there is a path, from {row['paths'][0]['from']}")
    best = row["paths"][0]
    said = best["attributes"]
    for name, (is_, wanted) in _compared(spec.best or BgpBest.model_validate({}), row).items():
        if is_ != wanted:
            raise NotYet(f"{where}: {name} is {is_ or 'none'}, not {wanted or 'none'}")
    return (
        f"{where} from {best['from']}, next hop {said.get('next_hop', 'ourselves')}, path {said['as_path'] or 'empty'}"
    )


def _compared(best: BgpBest, row: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What is and what should be, as people write it, for all that the check says something of."""
    path = row["paths"][0]
    a = path["attributes"]
    wanted: dict[str, tuple[Any, Any]] = {
        "the peer": (path["from"], best.from_),
        "the next hop": (a.get("next_hop", ""), best.next_hop),
        "the AS path": (a["as_path"], None if best.as_path is None else " ".join(map(str, best.as_path))),
        "the communities": (
            " ".join(sorted(a.get("communities", []))),
            None if best.communities is None else " ".join(sorted(best.communities)),
        ),
        "the local preference": (a.get("local_pref", ""), best.local_pref),
        "the MED": (a.get("med", ""), best.med),
        "the originator": (a.get("originator_id", ""), best.originator),
        "the number of paths in use": (row["best"], best.ways),
    }
    return {name: (str(is_), str(should)) for name, (is_, should) in wanted.items() if should is not None}
