"""Validation of what the server itself goes by: API services, certificate requests, flow schemas and priority levels.

Sources: kube-aggregator pkg/apis/apiregistration/validation, kubernetes pkg/apis/{certificates,flowcontrol}/validation.
"""

from __future__ import annotations

import base64
import binascii

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, not_supported, required
from netlab.api.names import label_1035_problems, subdomain_problems
from netlab.api.validation.common import one_of, port_problem

#: seconds that a certificate is valid at least
EXPIRATION_MIN = 600
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip


def api_service(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    group, version = spec.get("group", ""), spec.get("version", "")
    name, expected = obj["metadata"].get("name", ""), f"{version}.{group}"
    found: list[FieldError] = []
    if name != expected:
        found.append(invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{expected}"'))
    if not group:
        if version != "v1":
            found.append(required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
    else:
        found += [invalid("spec.group", group, p) for p in subdomain_problems(group)]
    found += [invalid("spec.version", version, p) for p in label_1035_problems(version)]
    for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        number = spec.get(field, 0)
        if not 0 < number <= most:
            found.append(invalid(f"spec.{field}", number, f"must be positive and less than {most}"))
    service, skip, bundle = spec.get("service"), spec.get("insecureSkipTLSVerify"), spec.get("caBundle")
    if service is None:
        if bundle:
            found.append(invalid("spec.caBundle", f"{len(bundle)} bytes", "local APIServices may not have a caBundle"))
        if skip:
            found.append(
                invalid("spec.insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify")
            )
        return found
    found += [required(f"spec.service.{n}") for n in ("namespace", "name") if not service.get(n)]
    port = service.get("port", 443)
    if port_problem(port) is not None:
        found.append(invalid("spec.service.port", port, "port is not valid: must be between 1 and 65535, inclusive"))
    if skip and bundle:
        found.append(invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))
    return found


def certificate_request(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _request(spec.get("request"))
    usages = spec.get("usages") or []
    if not usages:
        found.append(required("spec.usages"))
    for i, usage in enumerate(usages):
        if usage not in _USAGES:
            found.append(not_supported(f"spec.usages[{i}]", usage, list(_USAGES)))
        elif usage in usages[:i]:
            found.append(duplicate(f"spec.usages[{i}]", usage))
    signer = spec.get("signerName", "")
    if not signer:
        found.append(required("spec.signerName"))
    else:
        domain, slash, path = signer.partition("/")
        if not slash or not path or "." not in domain or subdomain_problems(domain) or "/" in path:
            found.append(invalid("spec.signerName", signer, "must be a fully qualified domain and path of the form "
                                 "'example.com/signer-name'"))  # fmt: skip
    seconds = spec.get("expirationSeconds")
    if isinstance(seconds, int) and seconds < EXPIRATION_MIN:
        detail = f"may not specify a duration less than {EXPIRATION_MIN} seconds (10 minutes)"
        found.append(invalid("spec.expirationSeconds", seconds, detail))
    return found + _conditions((obj.get("status") or {}).get("conditions") or [])


def _request(text: str | None) -> list[FieldError]:
    from cryptography import x509

    field = "spec.request"
    try:
        data = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in data:
        return [invalid(field, "", "PEM block type must be CERTIFICATE REQUEST")]
    try:
        request = x509.load_pem_x509_csr(data)
    except ValueError as e:
        return [invalid(field, "", str(e))]
    return [] if request.is_signature_valid else [invalid(field, "", "the signature of the request is not valid")]


def _conditions(conditions: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, c in enumerate(conditions):
        at, kind, status = f"status.conditions[{i}]", c.get("type", ""), c.get("status", "")
        if not kind:
            found.append(required(f"{at}.type"))
        if kind in ("Approved", "Denied", "Failed") and status != "True":
            found.append(not_supported(f"{at}.status", status, ["True"]) if status else required(f"{at}.status"))
        if kind in seen:
            found.append(duplicate(f"{at}.type", kind))
        seen.add(kind)
        if {"Approved", "Denied"} <= seen and kind in ("Approved", "Denied"):
            found.append(invalid(f"{at}.type", kind, "Approved and Denied conditions are mutually exclusive"))
    return found


def flow_schema(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    name, number = obj["metadata"].get("name", ""), spec.get("matchingPrecedence", 0)
    if not 1 <= number <= 10000:
        found.append(invalid("spec.matchingPrecedence", number, "must be a value between 1 and 10000"))
    elif number == 1 and name != "exempt":
        found.append(invalid("spec.matchingPrecedence", number, "only the schema named 'exempt' may have "
                             "matchingPrecedence 1"))  # fmt: skip
    method = spec.get("distinguisherMethod")
    if method is not None:
        found += one_of(method.get("type"), ("ByNamespace", "ByUser"), "spec.distinguisherMethod.type")
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    if not level:
        found.append(required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
    for i, rule in enumerate(spec.get("rules") or ()):
        found += _flow_rule(rule, f"spec.rules[{i}]")
    return found


def _flow_rule(rule: Json, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not rule.get("subjects"):
        found.append(required(f"{at}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        here, kind = f"{at}.subjects[{i}]", subject.get("kind", "")
        parts = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
        if kind not in parts:
            found.append(not_supported(f"{here}.kind", kind, list(parts)))
        elif subject.get(parts[kind]) is None:
            found.append(required(f"{here}.{parts[kind]}", f"{parts[kind]} is required when subject kind is '{kind}'"))
        found += [forbidden(f"{here}.{p}", f"{p} is forbidden when subject kind is not '{k}'")
                  for k, p in parts.items() if k != kind and subject.get(p) is not None]  # fmt: skip
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        found.append(required(at, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for i, inner in enumerate(rule.get("resourceRules") or ()):
        here = f"{at}.resourceRules[{i}]"
        found += [required(f"{here}.{n}") for n in ("verbs", "apiGroups", "resources") if not inner.get(n)]
        if not inner.get("namespaces") and not inner.get("clusterScope"):
            detail = "resource rules that are not cluster scoped must supply at least one namespace"
            found.append(required(f"{here}.namespaces", detail))
    for i, inner in enumerate(rule.get("nonResourceRules") or ()):
        found += [required(f"{at}.nonResourceRules[{i}].{n}") for n in ("verbs", "nonResourceURLs") if not inner.get(n)]
    return found


def priority_level(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    name = obj["metadata"].get("name", "")
    if kind == "Exempt":
        if name != "exempt":
            return [invalid("spec.type", kind, "must be 'Limited' if `name` is not 'exempt'")]
        return [forbidden("spec.limited", "must be nil if the type is not Limited")] if limited is not None else []
    found = one_of(kind, ("Exempt", "Limited"), "spec.type")
    if found:
        return found
    if exempt is not None:
        found.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
    if limited is None:
        return [*found, required("spec.limited", "must not be empty when type is Limited")]
    shares = limited.get("nominalConcurrencyShares")
    if isinstance(shares, int) and shares < 0:
        found.append(invalid("spec.limited.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    response, at = limited.get("limitResponse") or {}, "spec.limited.limitResponse"
    found += one_of(response.get("type"), ("Queue", "Reject"), f"{at}.type")
    queuing = response.get("queuing")
    if response.get("type") == "Reject" and queuing is not None:
        found.append(forbidden(f"{at}.queuing", "must be nil if limited.limitResponse.type is not Limited"))
    if response.get("type") == "Queue":
        if queuing is None:
            found.append(required(f"{at}.queuing", "must not be empty if limited.limitResponse.type is Limited"))
        for field in ("queueLengthLimit", "queues", "handSize"):
            value = (queuing or {}).get(field)
            if isinstance(value, int) and value <= 0:
                found.append(invalid(f"{at}.queuing.{field}", value, "must be positive"))
        hand, queues = (queuing or {}).get("handSize", 8), (queuing or {}).get("queues", 64)
        if hand > queues:
            found.append(invalid(f"{at}.queuing.handSize", hand, f"should not be greater than queues ({queues})"))
    return found
