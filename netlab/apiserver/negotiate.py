"""Which form of an answer the client wants, by its Accept header: plain, Table, PartialObjectMetadata; JSON or YAML."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from netlab.api import status


class Form(NamedTuple):
    """as_: "", Table, PartialObjectMetadata, PartialObjectMetadataList, APIGroupDiscoveryList …; version: of meta (or
    of discovery); yaml: whether it is to be YAML."""

    as_: str = ""
    version: str = ""
    yaml: bool = False


PLAIN = Form()
ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def _clauses(accept: str) -> list[tuple[str, dict[str, str], float]]:
    found = []
    for part in accept.split(","):
        media, *rest = (p.strip() for p in part.split(";"))
        parameters = dict(p.split("=", 1) for p in rest if "=" in p)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        found.append((media.lower(), parameters, quality))
    # the sort is stable: among equals the client's order stands
    return sorted((c for c in found if c[2] > 0), key=lambda c: -c[2])


@lru_cache(1024)
def negotiate(accept: str, offers: tuple[str, ...] = (), *, group: str = "meta.k8s.io") -> Form:
    """The form that is wanted first among those that can be had. offers: values of `as` beside the plain form.
    ApiError 406."""
    if not accept.strip():
        return PLAIN
    for media, parameters, _ in _clauses(accept):
        yaml = media == "application/yaml"
        if media not in ("application/json", "application/yaml", "*/*", "application/*"):
            continue
        as_ = parameters.get("as", "")
        if not as_:
            return Form(yaml=yaml)
        if as_ in offers and parameters.get("g", group) == group:
            return Form(as_, parameters.get("v", "v1"), yaml)
    raise status.not_acceptable(f"only the following media types are accepted: {', '.join(ACCEPTED)}")
