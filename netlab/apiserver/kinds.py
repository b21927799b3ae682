"""What the server does with one kind's objects: decode, default, validate, convert. Built-in kinds and custom ones.

Custom resources bring their own `Kind`, made from their definition (see `netlab.apiserver.custom`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from netlab.api import Json, convert, defaults, validation
from netlab.api.catalogue import Resource
from netlab.api.fielderrors import FieldError
from netlab.api.managed import Type, type_of_kind
from netlab.api.schemas import definition_name
from netlab.api.shapes import Shape, decode, shape_of_kind
from netlab.api.strategies import Strategy, strategy_of


class Conversion(Protocol):
    """What converts between the versions of a custom kind where it is not done by name alone."""

    async def convert(self, objs: list[Json], wanted: str) -> list[Json]:
        """The objects in the version `wanted`. ApiError 500."""


class Kind(Protocol):
    """What the handlers need of a kind. Objects are those of the stored version, unless said otherwise."""

    resource: Resource
    strategy: Strategy
    type: Type
    definition: str | None

    @property
    def conversion(self) -> Conversion | None:
        """What converts between its versions, None if that is done by tables."""

    def decode(self, obj: Json, unknown: list[str]) -> Json:
        """An object of the request's version, decoded, as the stored one (if a webhook converts: in that version).
        DecodeError."""

    def default(self, obj: Json) -> None:
        """Fill in defaults."""

    def validate(self, obj: Json, old: Json | None, part: str = "") -> list[FieldError]:
        """What is wrong with it; `old` is what it replaces, `part` the subresource that is written."""

    def show(self, obj: Json) -> Json:
        """A stored object in the request's version. The argument may be changed."""

    def blank(self) -> Json:
        """The empty object, as Go writes it."""

    @property
    def raw(self) -> bool:
        """Whether stored bytes can be shown as they are."""


@dataclass(slots=True)
class BuiltIn:
    """A kind of the catalogue in one of its versions."""

    resource: Resource
    strategy: Strategy
    shape: Shape | None
    type: Type
    definition: str | None
    converted: bool
    conversion: None = None

    def decode(self, obj: Json, unknown: list[str]) -> Json:
        r = self.resource
        if self.converted:
            obj = convert.up(r.group, r.version, r.kind, obj, r.stored_version)
        if self.shape is None:
            return obj
        out = decode(obj, self.shape, unknown)
        assert isinstance(out, dict)
        return _headed(out, r)

    def default(self, obj: Json) -> None:
        defaults.apply(self.resource.storage[0], self.resource.kind, obj)

    def validate(self, obj: Json, old: Json | None, part: str = "") -> list[FieldError]:
        return validation.validate(self.resource, obj, old, part)

    def show(self, obj: Json) -> Json:
        r = self.resource
        return convert.down(r.group, r.version, r.kind, obj) if self.converted else obj

    def blank(self) -> Json:
        if self.shape is None:
            return {}
        return _headed(decode({}, self.shape, []), self.resource)

    @property
    def raw(self) -> bool:
        return not self.converted


def _headed(obj: Json, resource: Resource) -> Json:
    """kind and apiVersion first: that is where the store's readers look for them."""
    metadata = obj.pop("metadata", None) or {}
    obj.pop("kind", None)
    obj.pop("apiVersion", None)
    return {"kind": resource.kind, "apiVersion": resource.stored_version, "metadata": metadata, **obj}


def built_in_kind(resource: Resource) -> BuiltIn:
    """The kind of a catalogue entry."""
    group, version = resource.storage
    return BuiltIn(
        resource, strategy_of(group, resource.kind), shape_of_kind(group, version, resource.kind),
        type_of_kind(group, version, resource.kind), definition_name(group, version, resource.kind),
        (resource.group, resource.version) != resource.storage,
    )  # fmt: skip


Lookup = Callable[[str, str, str], Kind | None]
