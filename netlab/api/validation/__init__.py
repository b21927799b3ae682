"""Validation beyond the schema, with the original's fields and wording."""

from __future__ import annotations

from netlab.api import Json
from netlab.api.catalogue import Resource
from netlab.api.fielderrors import FieldError


def validate(resource: Resource, obj: Json, old: Json | None) -> list[FieldError]:
    """What is wrong with an object of the stored version; `old` is what it replaces, None for a create."""
    return []
