"""The local store of an informer: objects by key, and by whatever else somebody has to find them by.

Objects in it are shared by all who look: nobody may change them. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from netlab.client.rest import Object

#: the values by which an object is to be found
IndexFunction = Callable[[Object], Iterable[str]]


def by_namespace(obj: Object) -> Iterable[str]:
    """The index function of namespaces."""
    yield str(obj["metadata"].get("namespace", ""))


def by_controller(obj: Object) -> Iterable[str]:
    """The index function of owners: by the uid of the one that controls it, or as one of `orphans_of` a namespace."""
    metadata = obj["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            return (str(owner.get("uid", "")),)
    return (orphans_of(str(metadata.get("namespace", ""))),)


def orphans_of(namespace: str) -> str:
    """Where the index of owners has what nobody controls; no uid has a slash."""
    return f"{namespace}/"


class Indexer:
    """Objects by key, with named indices over them that are always in step."""

    def __init__(self) -> None:
        self._items: dict[str, Object] = {}
        self._functions: dict[str, IndexFunction] = {}
        self._indices: dict[str, dict[str, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[Object]:
        return iter(self._items.values())

    def keys(self) -> list[str]:
        """All keys."""
        return list(self._items)

    def get(self, key: str) -> Object | None:
        """The object of a key."""
        return self._items.get(key)

    def find(self, index: str, value: str) -> list[Object]:
        """The objects that an index function gave `value` for, in the order of their keys."""
        keys = self._indices[index].get(value)
        return [self._items[key] for key in sorted(keys)] if keys else []

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep an index from now on. The same name stands for the same function: it is then kept once."""
        if name in self._functions:
            return
        self._functions[name], self._indices[name] = function, {}
        for key, obj in self._items.items():
            self._enter(name, key, function(obj))

    def put(self, key: str, obj: Object) -> Object | None:
        """Hold an object; what was there before."""
        old = self._items.get(key)
        self._items[key] = obj
        for name, function in self._functions.items():
            now = list(function(obj))
            was = list(function(old)) if old is not None else []
            if now != was:  # most changes are of what nobody looks for
                self._leave(name, key, was)
                self._enter(name, key, now)
        return old

    def remove(self, key: str) -> Object | None:
        """Hold it no longer; what it was."""
        old = self._items.pop(key, None)
        if old is not None:
            for name, function in self._functions.items():
                self._leave(name, key, function(old))
        return old

    def _leave(self, name: str, key: str, values: Iterable[str]) -> None:
        index = self._indices[name]
        for value in values:
            keys = index.get(value)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del index[value]

    def _enter(self, name: str, key: str, values: Iterable[str]) -> None:
        index = self._indices[name]
        for value in values:
            index.setdefault(value, set()).add(key)
