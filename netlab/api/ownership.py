"""The two writes that managedFields know: an update and an apply, as pure functions over whole objects."""

from __future__ import annotations

from dataclasses import dataclass

from netlab.api import Json
from netlab.api.managed import (
    ANCIENT,
    BEFORE_FIRST,
    UPDATE_MANAGERS_MAX,
    FieldPath,
    Fields,
    Type,
    compare,
    fields_of,
    merged,
    said,
    stripped,
    to_tree,
    without,
)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the manager's name, the apiVersion it writes in, the subresource, and the time now."""

    manager: str
    api_version: str
    subresource: str
    now: str
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class Entry:
    """One entry of managedFields. tree: its fields as they stand there, if that is known."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields
    tree: Json | None = None

    def leave(self, *taken: Fields) -> None:
        """Give up fields."""
        for fields in taken:
            if not self.fields.isdisjoint(fields):
                self.fields, self.tree = self.fields - fields, None

    def key(self) -> tuple[str, str, str, str]:
        """What makes it one entry: an Update's version is part of it."""
        return self.manager, self.operation, self.api_version, self.subresource

    def as_json(self) -> Json:
        """As it stands in metadata."""
        out: Json = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version}
        if self.time:
            out["time"] = self.time
        out["fieldsType"] = "FieldsV1"
        out["fieldsV1"] = self.tree if self.tree is not None else to_tree(self.fields)
        if self.subresource:
            out["subresource"] = self.subresource
        return out


def entries_of(obj: Json | None) -> list[Entry]:
    """The entries that an object has."""
    found = []
    for raw in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
        tree = raw.get("fieldsV1")
        if isinstance(tree, dict):
            found.append(
                Entry(
                    raw.get("manager", ""), raw.get("operation", ""), raw.get("apiVersion", ""),
                    raw.get("subresource", ""), raw.get("time", ""), fields_of(tree), tree,
                )
            )  # fmt: skip
    return found


def _written(entries: list[Entry]) -> list[Json]:
    kept = [e for e in entries if e.fields]
    kept.sort(key=lambda e: (e.operation != "Apply", e.time, e.manager))
    return [e.as_json() for e in _capped(kept)]


def _capped(entries: list[Entry]) -> list[Entry]:
    updates = [e for e in entries if e.operation == "Update" and not e.subresource]
    beyond = len(updates) - UPDATE_MANAGERS_MAX
    if beyond <= 0:
        return entries
    old = updates[: beyond + 1]
    fields: set[FieldPath] = set()
    for e in old:
        fields |= e.fields
    bucket = Entry(ANCIENT, "Update", old[-1].api_version, "", old[-1].time, frozenset(fields))
    return (
        [e for e in entries if e.operation == "Apply"]
        + [bucket]
        + [e for e in entries if e.operation == "Update" and e not in old]
    )


def update(old: Json, new: Json, type_: Type, writer: Writer, *, blank: bool = False) -> list[Json]:
    """managedFields after an update. blank: `old` is the empty object, the new one is being created."""
    entries = [] if blank else entries_of(old)
    changed: set[FieldPath] = set()
    gone: set[FieldPath] = set()
    compare(old, new, type_, (), changed, gone)
    touched, lost = stripped(changed, writer.ignored), stripped(gone, writer.ignored)
    if not touched and not lost:
        return _written(entries) if entries else []
    mine = Entry(writer.manager, "Update", writer.api_version, writer.subresource, writer.now, frozenset())
    result = []
    for entry in entries:
        if entry.key() == mine.key():
            mine = entry
        else:
            # an applier keeps what others set to the value that it wants too: only changes take ownership
            entry.leave(touched, lost)
            result.append(entry)
    fields = (mine.fields | touched) - lost
    if fields != mine.fields:
        mine.fields, mine.time, mine.tree = fields, writer.now, None
    return _written([*result, mine])


@dataclass(frozen=True, slots=True)
class Applied:
    """The object after an apply with its managedFields, or the conflicts: (manager's text, field)."""

    obj: Json
    managed: list[Json]
    conflicts: list[tuple[str, str]]


def dotted(path: FieldPath) -> str:
    """`.spec.containers[name="x"].image`, as conflicts print it."""
    import orjson

    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            items = orjson.loads(rest)
            text += "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in items.items()) + "]"
        else:
            text += f"[={rest}]"
    return text


def apply(live: Json, config: Json, type_: Type, writer: Writer, *, force: bool) -> Applied:
    """Server-side apply of a configuration over a live object (an empty one if there is none)."""
    entries = entries_of(live)
    if not entries and live:
        everything: set[FieldPath] = set()
        said(live, type_, (), everything)
        fields = stripped(everything, writer.ignored)
        entries = [Entry(BEFORE_FIRST, "Update", writer.api_version, "", writer.now, fields)]
    wanted: set[FieldPath] = set()
    said(config, type_, (), wanted)
    mine = stripped(wanted, writer.ignored)
    last: Fields = frozenset()
    others = []
    was = ""
    for entry in entries:
        if (entry.manager, entry.operation, entry.subresource) == (writer.manager, "Apply", writer.subresource):
            last, was = entry.fields, entry.time
        else:
            others.append(entry)
    result = merged(live, config, type_)
    dropped = last - mine
    for entry in others:
        dropped -= entry.fields
    if dropped:
        result = without(result, type_, dropped)
    changed: set[FieldPath] = set()
    gone: set[FieldPath] = set()
    compare(live, result, type_, (), changed, gone)
    touched, lost = stripped(changed), stripped(gone)
    conflicts: list[tuple[str, str]] = []
    for entry in others:
        conflicts += [(_owner(entry), dotted(path)) for path in sorted(entry.fields & touched & mine)]
    if conflicts and not force:
        return Applied(live, [], conflicts)
    for entry in others:
        entry.leave(touched & mine, lost)
    stamp = writer.now if mine != last or not was else was
    own = Entry(writer.manager, "Apply", writer.api_version, writer.subresource, stamp, mine)
    return Applied(result, _written([*others, own]), [])


def _owner(entry: Entry) -> str:
    """`"kubectl-edit" using apps/v1 at 2026-…`; of an apply the name alone."""
    text = f'"{entry.manager}"'
    if entry.subresource:
        text += f' with subresource "{entry.subresource}"'
    if entry.operation != "Update":
        return text
    return f"{text} using {entry.api_version}" + (f" at {entry.time}" if entry.time else "")
