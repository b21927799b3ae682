"""Which address families a Service has: what was asked, what was before, and what the cluster has ranges for. Pure.

The policy decides: SingleStack has one family, PreferDualStack both where the cluster has both, RequireDualStack both
or none at all. Only a policy that is changed, or a second family or address that is named, changes what a Service has.
Source: kubernetes pkg/registry/core/service/storage/alloc.go (initIPFamilyFields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netlab.api import Json
from netlab.api.fielderrors import FieldError, invalid

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
#: the clusterIP of a Service without one
HEADLESS = "None"
_BOTH = ("IPv4", "IPv6")
_POLICY = "spec.ipFamilyPolicy"


def family_of(address: str) -> str:
    """IPv4 or IPv6."""
    return "IPv6" if ":" in address else "IPv4"


def settle(spec: Json, was: Mapping[str, object] | None, configured: Sequence[str]) -> list[FieldError]:
    """Fill in ipFamilyPolicy and ipFamilies, and shorten clusterIPs if the second is given back; what is wrong.

    was: the spec before, None for a new Service; configured: the families of the cluster's ranges, its default first.
    """
    before: Mapping[str, object] = was or {}
    if was is not None and _preferred_as_before(spec, before):
        return []  # neither more nor less than it has, whatever the cluster has learnt meanwhile
    bare = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or (REQUIRE if bare else SINGLE)
    found = _reduced(spec, before) if was is not None else []
    if spec["ipFamilyPolicy"] == SINGLE:
        for name, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(spec.get(name) or ()) == 2:
                words = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                found.append(invalid(_POLICY, SINGLE, words))
    families = list(spec.get("ipFamilies") or ())
    addresses = [ip for ip in spec.get("clusterIPs") or () if ip != HEADLESS]
    for i, address in enumerate(addresses[len(families) :], len(families)):
        if family_of(address) in configured:
            families.append(family_of(address))
        else:
            words = f"{family_of(address)} is not configured on this cluster"
            found.append(invalid(f"spec.clusterIPs[{i}]", addresses, words))
    if found:
        return found
    dual = spec["ipFamilyPolicy"] != SINGLE
    if not bare:
        if spec["ipFamilyPolicy"] == REQUIRE and len(configured) < 2:
            found.append(invalid(_POLICY, REQUIRE, "this cluster is not configured for dual-stack services"))
        for i, family in enumerate(families):
            if family not in configured:
                found.append(invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster"))
        if found:
            return found
        dual = dual and len(configured) == 2
    families = families or [configured[0]]
    if dual:
        families += [family for family in _BOTH if family not in families]
    spec["ipFamilies"] = families
    return []


def _preferred_as_before(spec: Json, was: Mapping[str, object]) -> bool:
    same = all(spec.get(name) == was.get(name) for name in ("type", "ipFamilyPolicy", "clusterIPs", "ipFamilies"))
    return same and spec.get("ipFamilyPolicy") == PREFER


def _reduced(spec: Json, was: Mapping[str, object]) -> list[FieldError]:
    """A policy of one family takes the second along, if nobody has touched it; any other keeps it."""
    found: list[FieldError] = []
    for name, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        given, before = list(spec.get(name) or ()), list(was.get(name) or ())  # type: ignore[call-overload]
        if spec["ipFamilyPolicy"] == SINGLE:
            if given == before and len(given) > 1:
                spec[name] = given[:1]
        elif given and len(given) < len(before):
            words = f"must be 'SingleStack' to release the secondary {what}"
            found.append(invalid(_POLICY, spec["ipFamilyPolicy"], words))
    return found
