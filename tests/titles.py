"""The titles of behaviours as names of tests and of pods."""

from __future__ import annotations

import re


def slug(title: str) -> str:
    """A title as the name of a test."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def dashed(title: str) -> str:
    """A title as the name of an object."""
    return slug(title).replace("_", "-")
