"""Validation of Services and of what stands around them. Sources: kubernetes pkg/apis/{core,networking,discovery}."""

from __future__ import annotations

import ipaddress
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, not_supported, required
from netlab.api.names import label_problems, port_name_problems, subdomain_problems
from netlab.api.validation.common import IMMUTABLE, one_of, port_problem, selector
from netlab.api.validation.meta import labels
from netlab.base.addresses import inside

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
#: seconds, a day
AFFINITY_MAX = 86400
_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def address(value: str, field: str) -> list[FieldError]:
    """An IP address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [invalid(field, value, _IP)]
    return []


def service(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind = spec.get("type")
    found: list[FieldError] = []
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        found.append(required("spec.ports"))
    found += one_of(kind, _TYPES, "spec.type")
    names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    nodes: set[tuple[Any, Any]] = set()
    for i, p in enumerate(ports):
        at = f"spec.ports[{i}]"
        name = p.get("name", "")
        if not name:
            if len(ports) > 1:
                found.append(required(f"{at}.name"))
        else:
            found += [invalid(f"{at}.name", name, x) for x in label_problems(name)]
            if name in names:
                found.append(duplicate(f"{at}.name", name))
            names.add(name)
        number = p.get("port", 0)
        if (problem := port_problem(number)) is not None:
            found.append(invalid(f"{at}.port", number, problem))
        found += one_of(p.get("protocol"), _PROTOCOLS, f"{at}.protocol")
        target = p.get("targetPort")
        if isinstance(target, str):
            found += [invalid(f"{at}.targetPort", target, x) for x in port_name_problems(target)]
        elif target is not None and (problem := port_problem(target)) is not None:
            found.append(invalid(f"{at}.targetPort", target, problem))
        if p.get("nodePort") and kind not in ("NodePort", "LoadBalancer"):
            found.append(forbidden(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'"
                                   if kind == "ClusterIP" else f"may not be used when `type` is '{kind}'"))  # fmt: skip
        key = (p.get("protocol"), number)
        if key in seen:
            found.append(duplicate(at, {k: p[k] for k in ("port", "protocol") if k in p}))
        seen.add(key)
        held = (p.get("protocol"), p.get("nodePort"))
        if held[1] and held in nodes:
            found.append(duplicate(f"{at}.nodePort", p["nodePort"]))
        nodes.add(held)
    found += labels(spec.get("selector") or {}, "spec.selector") + _exposed(spec, (old or {}).get("spec") or {})
    found += one_of(spec.get("sessionAffinity"), ("ClientIP", "None"), "spec.sessionAffinity")
    for i, ip in enumerate(spec.get("externalIPs") or ()):
        found += address(ip, f"spec.externalIPs[{i}]")
    if kind != "ExternalName":
        found += _cluster_ips(spec)
    if kind == "ExternalName":
        if not spec.get("externalName"):
            found += [invalid("spec.externalName", "", p) for p in subdomain_problems("")]
        if spec.get("clusterIP"):
            found.append(forbidden("spec.clusterIPs[0]", "may not be set when `type` is ExternalName"))
    for name, values in (
        ("externalTrafficPolicy", ("Cluster", "Local")),
        ("internalTrafficPolicy", ("Cluster", "Local")),
    ):
        if spec.get(name) and spec[name] not in values:
            found.append(not_supported(f"spec.{name}", spec[name], list(values)))
    was = (old or {}).get("spec") or {}
    if was and "ExternalName" not in (kind, was.get("type")):
        found += _moved(spec, was)
    return found


def _cluster_ips(spec: Json) -> list[FieldError]:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy, as far as they can be judged by themselves."""
    first, ips, families = spec.get("clusterIP"), spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    found: list[FieldError] = []
    if first and not ips:
        found.append(required("spec.clusterIPs"))
    elif first and ips[0] != first:
        found.append(invalid("spec.clusterIPs", ips, "first value must match `clusterIP`"))
    elif ips and not first:
        found.append(invalid("spec.clusterIPs", ips, "must be empty when `clusterIP` is not specified"))
    for i, family in enumerate(families):
        found += one_of(family, ("IPv4", "IPv6"), f"spec.ipFamilies[{i}]")
        if family in families[:i]:
            found.append(duplicate(f"spec.ipFamilies[{i}]", family))
    if spec.get("ipFamilyPolicy"):
        known = ("PreferDualStack", "RequireDualStack", "SingleStack")
        found += one_of(spec["ipFamilyPolicy"], known, "spec.ipFamilyPolicy")
    if len(ips) > 1 and ips[0] == "None":
        return [*found, invalid("spec.clusterIPs", ips, "'None' must be the first and only value")]
    given = [] if ips[:1] == ["None"] else ips
    wrong = [e for i, ip in enumerate(given) for e in address(ip, f"spec.clusterIPs[{i}]")]
    if len(given) > 2:
        found.append(invalid("spec.clusterIPs", given, "may only hold up to 2 values"))
    if wrong:
        return [*found, *wrong]
    if len({":" in ip for ip in given}) < len(given):
        found.append(invalid("spec.clusterIPs", given, "may specify no more than one IP for each IP family"))
    for i, (ip, family) in enumerate(zip(given, families, strict=False)):
        if family in ("IPv4", "IPv6") and (":" in ip) != (family == "IPv6"):
            words = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            found.append(invalid(f"spec.clusterIPs[{i}]", ip, words))
    return found


def _moved(spec: Json, was: Json) -> list[FieldError]:
    """What a Service has stays as it is; a second address may come and go."""
    ips, before = spec.get("clusterIPs") or [], was.get("clusterIPs") or []
    found: list[FieldError] = []
    if before and not ips:
        found.append(invalid("spec.clusterIPs[0]", ips, "primary clusterIP can not be unset"))
    for i, (ip, old) in enumerate(zip(ips, before, strict=False)):
        if ip != old:
            found.append(invalid(f"spec.clusterIPs[{i}]", ips, "may not change once set"))
    if before[:1] == ["None"] or ips[:1] == ["None"]:
        return found
    families, had = spec.get("ipFamilies") or [], was.get("ipFamilies") or []
    if families and had and (families[0] != had[0] or (len(families) == len(had) and families != had)):
        found.append(invalid("spec.ipFamilies[0]", families, "may not change once set"))
    return found


def _exposed(spec: Json, was: Json) -> list[FieldError]:
    """What only some have: a health check, a time for which clients stick to an endpoint."""
    found: list[FieldError] = []
    asked = [s.get("type") == "LoadBalancer" and s.get("externalTrafficPolicy") == "Local" for s in (spec, was)]
    number, before = spec.get("healthCheckNodePort"), was.get("healthCheckNodePort")
    if number and not asked[0]:
        words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        found.append(invalid("spec.healthCheckNodePort", number, words))
    elif all(asked) and before and number != before:
        found.append(invalid("spec.healthCheckNodePort", number, "field is immutable"))
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    seconds = client.get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= AFFINITY_MAX:
        at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        found.append(invalid(at, seconds, f"must be greater than 0 and less than {AFFINITY_MAX}"))
    return found


def endpoints(obj: Json, _old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    for i, subset in enumerate(obj.get("subsets") or ()):
        at = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for j, a in enumerate(subset.get("addresses") or ()):
            found += address(a.get("ip", ""), f"{at}.addresses[{j}].ip")
    return found


def endpoint_slice(obj: Json, old: Json | None) -> list[FieldError]:
    kind = obj.get("addressType")
    found = one_of(kind, ("FQDN", "IPv4", "IPv6"), "addressType")
    for i, e in enumerate(obj.get("endpoints") or ()):
        at = f"endpoints[{i}].addresses"
        if not e.get("addresses"):
            found.append(required(at, "must contain at least 1 address"))
        for j, a in enumerate(e.get("addresses") or ()):
            if kind == "FQDN":
                found += [invalid(f"{at}[{j}]", a, p) for p in subdomain_problems(a)]
                continue
            wrong = address(a, f"{at}[{j}]")
            if not wrong and (":" in a) != (kind == "IPv6"):
                wrong = [invalid(f"{at}[{j}]", a, f"must be an {kind} address")]
            found += wrong
    if old is not None and old.get("addressType") != kind:
        found.append(invalid("addressType", kind, IMMUTABLE))
    return found


def network_policy(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = selector(spec.get("podSelector"), "spec.podSelector")
    for kind, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(kind) or ()):
            for j, peer in enumerate(rule.get(peers) or ()):
                found += _peer(peer, f"spec.{kind}[{i}].{peers}[{j}]")
            for j, port in enumerate(rule.get("ports") or ()):
                found += _policy_port(port, f"spec.{kind}[{i}].ports[{j}]")
    for i, kind in enumerate(spec.get("policyTypes") or ()):
        if kind not in ("Egress", "Ingress"):
            found.append(not_supported(f"spec.policyTypes[{i}]", kind, ["Egress", "Ingress"]))
    return found


def _policy_port(port: Json, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    if port.get("protocol") not in (None, *_PROTOCOLS):
        found.append(not_supported(f"{at}.protocol", port["protocol"], list(_PROTOCOLS)))
    number = port.get("port")
    if isinstance(number, int) and (problem := port_problem(number)) is not None:
        found.append(invalid(f"{at}.port", number, problem))
    elif isinstance(number, str):
        found += [invalid(f"{at}.port", number, p) for p in port_name_problems(number)]
    end = port.get("endPort")
    if end is not None:
        if number is None:
            found.append(required(f"{at}.port", "must be specified when `endPort` is specified"))
        elif isinstance(number, str):
            found.append(forbidden(f"{at}.endPort", "may not be specified when `port` is non-numeric"))
        elif end < number:
            found.append(invalid(f"{at}.endPort", end, "must be greater than or equal to `port`"))
    return found


def _peer(peer: Json, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    block = peer.get("ipBlock")
    chosen = [k for k in ("podSelector", "namespaceSelector") if peer.get(k) is not None]
    if block is None and not chosen:
        found.append(required(at, "must specify a peer"))
    if block is not None and chosen:
        found.append(forbidden(at, "may not specify both ipBlock and another peer"))
    for key in chosen:
        found += selector(peer[key], f"{at}.{key}")
    if block is not None:
        if not block.get("cidr"):
            found.append(required(f"{at}.ipBlock.cidr"))
        else:
            found += _block(block, f"{at}.ipBlock")
    return found


_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _block(block: Json, at: str) -> list[FieldError]:
    try:
        outer = ipaddress.ip_network(block["cidr"], strict=False)
    except ValueError:
        return [invalid(f"{at}.cidr", block["cidr"], _CIDR)]
    found = []
    for i, text in enumerate(block.get("except") or ()):
        try:
            inner = ipaddress.ip_network(text, strict=False)
        except ValueError:
            found.append(invalid(f"{at}.except[{i}]", text, _CIDR))
            continue
        if inner == outer or not inside(inner, outer):
            found.append(invalid(f"{at}.except[{i}]", text, "must be a strict subset of `cidr`"))
    return found


def _backend(backend: Json, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    target = backend.get("service")
    if target is None and backend.get("resource") is None:
        return [invalid(at, "", "resource or service backend is required")]
    if target is not None:
        if not target.get("name"):
            found.append(required(f"{at}.service.name"))
        port = target.get("port") or {}
        if not port.get("name") and not port.get("number"):
            found.append(required(f"{at}.service.port", "port name or number is required"))
        if port.get("name") and port.get("number"):
            found.append(invalid(f"{at}.service.port", port, "cannot set both port name & port number"))
    return found


def ingress(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        found.append(invalid("spec", "", "either `defaultBackend` or `rules` must be specified"))
    if spec.get("defaultBackend") is not None:
        found += _backend(spec["defaultBackend"], "spec.defaultBackend")
    for i, rule in enumerate(spec.get("rules") or ()):
        at, host = f"spec.rules[{i}]", rule.get("host", "")
        if host:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                name = host.removeprefix("*.")
                found += [invalid(f"{at}.host", host, p) for p in subdomain_problems(name)]
            else:
                found.append(invalid(f"{at}.host", host, "must be a DNS name, not an IP address"))
        for j, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            here = f"{at}.http.paths[{j}]"
            kind = path.get("pathType")
            if kind is None:
                found.append(required(f"{here}.pathType", "pathType must be specified"))
            elif kind not in ("Exact", "ImplementationSpecific", "Prefix"):
                found.append(not_supported(f"{here}.pathType", kind, ["Exact", "ImplementationSpecific", "Prefix"]))
            elif kind != "ImplementationSpecific" and not path.get("path", "").startswith("/"):
                found.append(invalid(f"{here}.path", path.get("path", ""), "must be an absolute path"))
            found += _backend(path.get("backend") or {}, f"{here}.backend")
    return found
