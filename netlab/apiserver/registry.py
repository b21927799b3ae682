"""The resources that are served now: the catalogue's, and those that CustomResourceDefinitions bring and take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from netlab.api.catalogue import Resource, built_in
from netlab.apiserver.kinds import Kind, built_in_kind


class Registry:
    """Kinds by (group, version, plural). `generation` grows with every change: what is derived is cached by it."""

    def __init__(self) -> None:
        self._built_in: dict[tuple[str, str, str], Resource] = {(r.group, r.version, r.plural): r for r in built_in()}
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._custom: dict[tuple[str, str, str], Kind] = {}
        self.generation = 0

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind that a path names, None if it is not served."""
        key = (group, version, plural)
        found = self._kinds.get(key)
        if found is None:
            resource = self._built_in.get(key)
            if resource is None:
                return self._custom.get(key)
            # made by the first use: a server that starts need not know the shape of every kind
            found = self._kinds[key] = built_in_kind(resource)
        return found

    def stored(self, group: str, plural: str) -> Kind | None:
        """The kind of a resource in the version that is stored."""
        for (g, _, p), resource in self._built_in.items():
            if (g, p) == (group, plural):
                return self.find(*resource.storage, plural)
        return next((k for (g, _, p), k in self._custom.items() if (g, p) == (group, plural)), None)

    def set_custom(self, kinds: Iterable[Kind]) -> None:
        """All custom kinds that are served from now on."""
        self._custom = {(k.resource.group, k.resource.version, k.resource.plural): k for k in kinds}
        self.generation += 1

    @cached_property
    def built_in_groups(self) -> frozenset[str]:
        """Groups of the catalogue."""
        return frozenset(r.group for r in self._built_in.values())

    def resources(self) -> Iterator[Resource]:
        """Every resource in every version, in discovery's order."""
        yield from self._built_in.values()
        yield from (k.resource for k in self._custom.values())

    def custom(self) -> Iterator[Kind]:
        """The custom kinds."""
        yield from self._custom.values()

    def groups(self) -> dict[str, dict[str, list[Resource]]]:
        """group → version → resources; the first version is the preferred one."""
        found: dict[str, dict[str, list[Resource]]] = {}
        for r in self.resources():
            found.setdefault(r.group, {}).setdefault(r.version, []).append(r)
        return found
