"""The routes: what each peer has sent, and which of them win. One table per family, keyed by the prefix on the wire.

Adj-RIB-In and Loc-RIB are one structure (RFC 4271 section 3.2 leaves that open): an entry holds every path to its
prefix, refused ones included, and the winners. Entries and paths are shared among all prefixes of an UPDATE, so that a
route costs little more than its key and its place in the dictionary.

Everything is incremental: `announce` and `withdraw` decide anew for the prefixes at hand, and note in `changed` those
whose winners are others than before. Whoever keeps copies (peers, kernel) takes that note and catches up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netlab.bgp.decision import HopKey, Path, Rules, Source, choose
from netlab.bgp.nlri import Family, Nlri


class Entry(NamedTuple):
    """paths: one per source; best: the winner and whoever shares the load with it, empty if none can be used."""

    paths: tuple[Path, ...]
    best: tuple[Path, ...]


class Table:
    """All routes of one family. rules: shared with the owner, which calls `decide_again` when they change."""

    def __init__(self, family: Family, rules: Rules) -> None:
        self.family, self.rules = family, rules
        self.entries: dict[Nlri, Entry] = {}
        self.changed: dict[Nlri, None] = {}

    def announce(self, path: Path, prefixes: Iterable[Nlri]) -> None:
        """`path` is now its source's way to each of the prefixes."""
        source, entries, changed = path.source, self.entries, self.changed
        alone = (path,)
        fresh = Entry(alone, alone if self.rules.usable(path) else ())
        new = 0
        for prefix in prefixes:
            old = entries.get(prefix)
            if old is None:
                new += 1
                entries[prefix] = fresh
                if fresh.best:
                    changed[prefix] = None
            elif len(old.paths) == 1 and old.paths[0].source is source:
                mine = old.paths[0]
                if _same(mine, path):
                    if mine.epoch != path.epoch:
                        self._keep_age(prefix, old, mine)
                    continue
                entries[prefix] = fresh
                if old.best or fresh.best:
                    changed[prefix] = None
            else:
                new += self._among_others(prefix, old, path)
        source.counts[self.family] = source.counts.get(self.family, 0) + new

    def _among_others(self, prefix: Nlri, old: Entry, path: Path) -> int:
        mine = next((p for p in old.paths if p.source is path.source), None)
        if mine is not None and _same(mine, path):
            if mine.epoch != path.epoch:
                self._keep_age(prefix, old, mine)
            return 0
        others = tuple(p for p in old.paths if p is not mine)
        self._put(prefix, old, (*others, path))
        return mine is None

    def _keep_age(self, prefix: Nlri, old: Entry, mine: Path) -> None:
        """Announced again as it was: no longer stale, and as old as before. One new path serves all that shared one."""
        again = self._renewed(mine)
        self.entries[prefix] = Entry(
            tuple(again if p is mine else p for p in old.paths), tuple(again if p is mine else p for p in old.best)
        )

    _last_renewed: tuple[Path, Path] | None = None

    def _renewed(self, mine: Path) -> Path:
        last = self._last_renewed
        if last and last[0] is mine and last[1].epoch == mine.source.epoch:
            return last[1]
        again = Path(mine.source, mine.received, mine.attrs, mine.why, mine.since)
        self._last_renewed = (mine, again)
        return again

    def _put(self, prefix: Nlri, old: Entry, paths: tuple[Path, ...]) -> None:
        best = choose(paths, self.rules)
        if best == paths:
            best = paths
        self.entries[prefix] = Entry(paths, best)
        if best != old.best:
            self.changed[prefix] = None

    def withdraw(self, source: Source, prefixes: Iterable[Nlri]) -> None:
        """The source has no way any more to these."""
        gone = 0
        for prefix in prefixes:
            old = self.entries.get(prefix)
            if old is None:
                continue
            if len(old.paths) == 1:
                if old.paths[0].source is source:
                    gone += 1
                    del self.entries[prefix]
                    if old.best:
                        self.changed[prefix] = None
                continue
            left = tuple(p for p in old.paths if p.source is not source)
            if len(left) != len(old.paths):
                gone += 1
                self._put(prefix, old, left)
        if gone:
            source.counts[self.family] -= gone

    def of(self, source: Source) -> Iterator[tuple[Nlri, Path]]:
        """What a source has sent: its Adj-RIB-In."""
        for prefix, entry in self.entries.items():
            for path in entry.paths:
                if path.source is source:
                    yield prefix, path

    def drop(self, source: Source, *, stale_only: bool = False) -> int:
        """Forget what a source has sent, or what of it is stale. How many."""
        doomed = [prefix for prefix, path in self.of(source) if path.stale or not stale_only]
        self.withdraw(source, doomed)
        return len(doomed)

    def decide_again(self, keys: frozenset[HopKey] | None = None) -> None:
        """After the rules have changed; keys: only what goes by these next hops."""
        seen: dict[int, Entry] = {}
        for prefix, old in self.entries.items():
            if keys is not None and not any(p.hop in keys for p in old.paths):
                continue
            new = seen.get(id(old))
            if new is None:
                best = choose(old.paths, self.rules)
                new = seen[id(old)] = old if best == old.best else Entry(old.paths, best)
            if best_differs(old, new) or keys is not None:
                # the next hop's own way may have changed while the winners are the same
                self.changed[prefix] = None
            if new is not old:
                # the size stays, so the dictionary may be written while it is walked
                self.entries[prefix] = new

    def take_changed(self, limit: int | None = None) -> list[Nlri]:
        """The prefixes whose winners have changed since; at most `limit`, the rest the next time."""
        if limit is None or len(self.changed) <= limit:
            found, self.changed = list(self.changed), {}
            return found
        found = []
        for prefix in self.changed:
            found.append(prefix)
            if len(found) == limit:
                break
        for prefix in found:
            del self.changed[prefix]
        return found


def best_differs(old: Entry, new: Entry) -> bool:
    """Whether the winners are others."""
    return new is not old and new.best != old.best


def _same(a: Path, b: Path) -> bool:
    return a.received is b.received and a.attrs is b.attrs
