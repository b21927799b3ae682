"""What one peer has been told, and what it has yet to be told: its Adj-RIB-Out (RFC 4271 section 3.2). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from netlab.bgp.attributes import Attrs
from netlab.bgp.message import Codec, RouteRefresh, encode, end_of_rib
from netlab.bgp.nlri import Family, Nlri

#: prefixes that are told in one go; then others have their turn
BATCH = 4000

Telling = Callable[[Family, Nlri], Attrs | None]


class Outbox:
    """told: by family and prefix. `telling` says what the peer is to be told of a prefix now."""

    def __init__(self, families: Iterable[Family], codec: Codec, telling: Telling) -> None:
        self.codec, self._telling = codec, telling
        self.told: dict[Family, dict[Nlri, Attrs]] = {family: {} for family in families}
        self._waiting: dict[Family, dict[Nlri, None]] = {family: {} for family in self.told}
        #: what follows when nothing waits any more: the end of the initial routes, or of a refresh
        self._closing: dict[Family, list[bytes]] = {}
        self.too_long = 0

    def add(self, family: Family, prefixes: Iterable[Nlri]) -> None:
        """Something about these may have changed."""
        waiting = self._waiting.get(family)
        if waiting is not None:
            waiting.update(dict.fromkeys(prefixes))

    def begin(self, family: Family, prefixes: Iterable[Nlri]) -> None:
        """All routes for the first time, and then the marker that they are complete."""
        self.add(family, prefixes)
        self._closing.setdefault(family, []).append(end_of_rib(family))

    def refresh(self, family: Family, prefixes: Iterable[Nlri], *, enhanced: bool) -> list[bytes]:
        """All routes again, as asked for. Returns what goes first (RFC 7313 section 4)."""
        if family not in self.told:
            return []
        self.told[family].clear()
        self.add(family, prefixes)
        if not enhanced:
            return []
        self._closing.setdefault(family, []).append(encode(RouteRefresh(family, 2)))
        return [encode(RouteRefresh(family, 1))]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to tell."""
        return not self._closing and not any(self._waiting.values())

    def messages(self) -> list[bytes]:
        """The next batch, as few messages as can be: prefixes that share their attributes share an UPDATE."""
        out: list[bytes] = []
        room = BATCH
        for family, waiting in self._waiting.items():
            if len(waiting) > room:
                batch = []
                for prefix in waiting:
                    batch.append(prefix)
                    if len(batch) >= room:
                        break
                for prefix in batch:
                    del waiting[prefix]
            else:
                batch = list(waiting)
                waiting.clear()
            room -= len(batch)
            out += self._spelled(family, batch)
            if not waiting and family in self._closing:
                out += self._closing.pop(family)
            if room <= 0:
                break
        return out

    def _spelled(self, family: Family, batch: list[Nlri]) -> list[bytes]:
        told, telling = self.told[family], self._telling
        gone: list[Nlri] = []
        groups: dict[int, tuple[Attrs, list[Nlri]]] = {}
        for prefix in batch:
            attrs = telling(family, prefix)
            if attrs is told.get(prefix):
                continue
            if attrs is None:
                del told[prefix]
                gone.append(prefix)
                continue
            told[prefix] = attrs
            group = groups.get(id(attrs))
            if group is None:
                groups[id(attrs)] = (attrs, [prefix])
            else:
                group[1].append(prefix)
        out: list[bytes] = []
        for attrs, prefixes in groups.values():
            spelled = list(self.codec.announcements(family, attrs, prefixes))
            if not spelled:
                self.too_long += len(prefixes)
                gone += (
                    prefixes  # RFC 4271 section 9.2: what does not fit is not told, and what was told before is not so
                )
                for prefix in prefixes:
                    del told[prefix]
            out += spelled
        return [*self.codec.withdrawals(family, gone), *out] if gone else out
