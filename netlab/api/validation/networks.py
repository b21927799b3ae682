"""Validation of ingress classes, address ranges and addresses. Source: kubernetes pkg/apis/networking/validation."""

from __future__ import annotations

import ipaddress

from netlab.api import Json
from netlab.api.fielderrors import FieldError, invalid, required
from netlab.api.names import subdomain_problems
from netlab.api.validation.common import immutable

#: characters of a controller's name
CONTROLLER_MAX = 250


def ingress_class(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    controller = spec.get("controller", "")
    found: list[FieldError] = []
    if not controller:
        found.append(required("spec.controller"))
    elif len(controller) > CONTROLLER_MAX:
        found.append(FieldError("FieldValueTooLong", "spec.controller", f"may not be more than {CONTROLLER_MAX} bytes"))
    else:
        domain, slash, rest = controller.partition("/")
        if not slash or not rest:
            found.append(invalid("spec.controller", controller, "must be a domain-prefixed path (such as "
                                 '"acme.io/foo")'))  # fmt: skip
        else:
            found += [invalid("spec.controller", controller, p) for p in subdomain_problems(domain)]
    parameters = spec.get("parameters")
    if parameters is not None:
        at = "spec.parameters"
        found += [required(f"{at}.{n}") for n in ("kind", "name") if not parameters.get(n)]
        scope = parameters.get("scope")
        if scope == "Namespace" and not parameters.get("namespace"):
            found.append(required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'"))
    return found + immutable((old.get("spec") or {}) if old else None, spec, "controller", field="spec")


def _canonical(text: str, field: str) -> list[FieldError]:
    """An address as it is written without a choice."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return [invalid(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return [] if str(address) == text else [invalid(field, text, f'must be in canonical form ("{address}")')]


def ip_address(obj: Json, old: Json | None) -> list[FieldError]:
    found = _canonical(obj["metadata"].get("name", ""), "metadata.name")
    spec = obj.get("spec") or {}
    parent = spec.get("parentRef")
    if parent is None:
        return [*found, required("spec.parentRef")]
    found += [required(f"spec.parentRef.{n}") for n in ("resource", "name") if not parent.get(n)]
    return found + immutable((old.get("spec") or {}) if old else None, spec, "parentRef", field="spec")


def service_cidr(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    cidrs = spec.get("cidrs") or []
    if not cidrs:
        return [required("spec.cidrs", "at least one CIDR required")]
    found: list[FieldError] = []
    networks = []
    for i, text in enumerate(cidrs):
        at = f"spec.cidrs[{i}]"
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            found.append(invalid(at, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
            continue
        if str(networks[-1]) != text:
            found.append(invalid(at, text, f'must be in canonical form ("{networks[-1]}")'))
    if len(cidrs) > 2:
        found.append(FieldError("FieldValueTooMany", "spec.cidrs", "must have at most 2 items", len(cidrs)))
    elif len(networks) == 2 and networks[0].version == networks[1].version:
        found.append(invalid("spec.cidrs", cidrs, "may specify no more than one IP for each IP family, i.e "
                             "192.168.0.0/24 and 2001:db8::/64"))  # fmt: skip
    return found + immutable((old.get("spec") or {}) if old else None, spec, "cidrs", field="spec")
