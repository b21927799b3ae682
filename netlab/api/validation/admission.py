"""Validation of webhook configurations, admission policies and their bindings.

Source: kubernetes pkg/apis/admissionregistration/validation.
"""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urlsplit

from netlab.api import Json, cel
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, not_supported, required
from netlab.api.names import label_1035_problems, qualified_name_problems, subdomain_problems
from netlab.api.validation.common import one_of, port_problem, selector

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_REVIEWS = ("v1", "v1beta1")
_FAILURE = ("Fail", "Ignore")
_MATCH = ("Equivalent", "Exact")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
#: seconds that a webhook may be given
TIMEOUT_MAX = 30
CONDITIONS_MAX = 64
_CEL_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_HOOK = ("object", "oldObject", "request")
_POLICY = (*_HOOK, "params", "namespaceObject", "variables")


def expression(text: str, field: str, *names: str, kinds: tuple[str, ...] = ("BOOL",)) -> list[FieldError]:
    """An expression that has to be there and to compile."""
    if not text.strip():
        return [required(field)]
    problem = cel.problem(text, *names, kinds=kinds)
    return [invalid(field, text, problem)] if problem is not None else []


def _conditions(conditions: list[Json], field: str, names: tuple[str, ...]) -> list[FieldError]:
    found: list[FieldError] = []
    if len(conditions) > CONDITIONS_MAX:
        detail = f"must have at most {CONDITIONS_MAX} items"
        found.append(FieldError("FieldValueTooMany", field, detail, len(conditions)))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, name = f"{field}[{i}]", condition.get("name", "")
        found += expression(condition.get("expression", ""), f"{at}.expression", *names)
        if not name:
            found.append(required(f"{at}.name"))
        else:
            found += [invalid(f"{at}.name", name, p) for p in qualified_name_problems(name)]
        if name in seen:
            found.append(duplicate(f"{at}.name", name))
        seen.add(name)
    return found


def _rules(rules: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, rule in enumerate(rules):
        at = f"{field}[{i}]"
        for name in ("apiGroups", "apiVersions"):
            values = rule.get(name) or []
            if not values:
                found.append(required(f"{at}.{name}"))
            elif len(values) > 1 and "*" in values:
                detail = "if '*' is present, must not specify other " + ("API groups" if name == "apiGroups" else
                                                                          "API versions")  # fmt: skip
                found.append(invalid(f"{at}.{name}", values, detail))
            elif name == "apiVersions":
                found += [required(f"{at}.{name}[{j}]") for j, v in enumerate(values) if not v]
        found += _resources(rule.get("resources") or [], f"{at}.resources")
        operations = rule.get("operations") or []
        if not operations:
            found.append(required(f"{at}.operations"))
        elif len(operations) > 1 and "*" in operations:
            found.append(invalid(f"{at}.operations", operations, "if '*' is present, must not specify other "
                                 "operations"))  # fmt: skip
        found += [not_supported(f"{at}.operations[{j}]", o, list(_OPERATIONS))
                  for j, o in enumerate(operations) if o not in _OPERATIONS]  # fmt: skip
        if rule.get("scope") and rule["scope"] not in _SCOPES:
            found.append(not_supported(f"{at}.scope", rule["scope"], list(_SCOPES)))
    return found


def _resources(resources: list[str], field: str) -> list[FieldError]:
    if not resources:
        return [required(field)]
    found: list[FieldError] = []
    if len(resources) > 1 and "*/*" in resources:
        found.append(invalid(field, resources, "if '*/*' is present, must not specify other resources"))
    elif len(resources) > 1 and "*" in resources and any("/" not in r for r in resources if r != "*"):
        found.append(invalid(field, resources, "if '*' is present, must not specify other resources without "
                             "subresources"))  # fmt: skip
    for i, resource in enumerate(resources):
        if not resource:
            found.append(required(f"{field}[{i}]"))
    return found


def client_config(config: Json, field: str) -> list[FieldError]:
    """How a webhook is reached: a URL or a Service."""
    url, service = config.get("url"), config.get("service")
    if url is not None and service is None:
        return _url(url, f"{field}.url")
    if url is not None or service is None:
        return [required(field, "exactly one of url or service is required")]
    found: list[FieldError] = []
    at = f"{field}.service"
    found += [required(f"{at}.{n}", f"service {n} is required") for n in ("name", "namespace") if not service.get(n)]
    port = service.get("port", 443)
    if port_problem(port) is not None:
        found.append(invalid(f"{at}.port", port, "port is not valid: must be between 1 and 65535, inclusive"))
    path = service.get("path")
    if path and not path.startswith("/"):
        found.append(invalid(f"{at}.path", path, "must start with a '/'"))
    elif path and "//" in path:
        found.append(invalid(f"{at}.path", path, "segment[0] may not be empty"))
    return found


def _url(url: str, field: str) -> list[FieldError]:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as e:
        return [required(field, f"url must be a valid URL: {e}{form}")]
    found: list[FieldError] = []
    if parts.scheme != "https":
        found.append(invalid(field, parts.scheme, f"'https' is the only allowed URL scheme{form}"))
    if not parts.netloc:
        found.append(invalid(field, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None:
        found.append(invalid(field, parts.username, "user information is not permitted in the URL"))
    if parts.fragment:
        found.append(invalid(field, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        found.append(invalid(field, parts.query, "query parameters are not permitted in the URL"))
    return found


def webhooks(obj: Json, _old: Json | None) -> list[FieldError]:
    """A MutatingWebhookConfiguration or a ValidatingWebhookConfiguration."""
    found: list[FieldError] = []
    names = Counter(h.get("name", "") for h in obj.get("webhooks") or ())
    mutating = obj["kind"] == "MutatingWebhookConfiguration"
    seen: set[str] = set()
    for i, hook in enumerate(obj.get("webhooks") or ()):
        at, name = f"webhooks[{i}]", hook.get("name", "")
        problems = subdomain_problems(name) if name else []
        if not name:
            found.append(required(f"{at}.name"))
        elif not problems and name.count(".") < 2:
            problems = ["should be a domain with at least three segments separated by dots"]
        found += [invalid(f"{at}.name", name, p) for p in problems]
        if names[name] > 1 and name in seen:
            found.append(duplicate(f"{at}.name", name))
        seen.add(name)
        found += _webhook(hook, at, mutating=mutating)
    return found


def _webhook(hook: Json, at: str, *, mutating: bool) -> list[FieldError]:
    found = _rules(hook.get("rules") or [], f"{at}.rules")
    found += one_of(hook.get("failurePolicy"), _FAILURE, f"{at}.failurePolicy")
    found += one_of(hook.get("matchPolicy"), _MATCH, f"{at}.matchPolicy")
    effects = hook.get("sideEffects")
    if effects is None:
        found.append(required(f"{at}.sideEffects", "must specify one of None, NoneOnDryRun"))
    elif effects not in ("None", "NoneOnDryRun"):
        found.append(not_supported(f"{at}.sideEffects", effects, ["None", "NoneOnDryRun"]))
    if mutating:
        found += one_of(hook.get("reinvocationPolicy"), ("IfNeeded", "Never"), f"{at}.reinvocationPolicy")
    seconds = hook.get("timeoutSeconds")
    if isinstance(seconds, int) and not 1 <= seconds <= TIMEOUT_MAX:
        detail = f"the timeout value must be between 1 and {TIMEOUT_MAX} seconds"
        found.append(invalid(f"{at}.timeoutSeconds", seconds, detail))
    found += selector(hook.get("namespaceSelector"), f"{at}.namespaceSelector")
    found += selector(hook.get("objectSelector"), f"{at}.objectSelector")
    found += client_config(hook.get("clientConfig") or {}, f"{at}.clientConfig")
    found += review_versions(hook.get("admissionReviewVersions") or [], f"{at}.admissionReviewVersions")
    return found + _conditions(hook.get("matchConditions") or [], f"{at}.matchConditions", _HOOK)


def review_versions(versions: list[str], field: str) -> list[FieldError]:
    """The versions of a review that a webhook knows: one of ours among them."""
    listed = ", ".join(_REVIEWS)
    if not versions:
        return [required(field, f"must specify one of {listed}")]
    found: list[FieldError] = []
    for i, version in enumerate(versions):
        if version in versions[:i]:
            found.append(invalid(f"{field}[{i}]", version, "duplicate version"))
        found += [invalid(f"{field}[{i}]", version, p) for p in label_1035_problems(version)]
    if not any(v in _REVIEWS for v in versions):
        found.append(invalid(field, versions, f"must include at least one of {listed}"))
    return found


def _match(match: Json, field: str) -> list[FieldError]:
    found = _rules(match.get("resourceRules") or [], f"{field}.resourceRules")
    found += _rules(match.get("excludeResourceRules") or [], f"{field}.excludeResourceRules")
    if match.get("matchPolicy"):
        found += one_of(match["matchPolicy"], _MATCH, f"{field}.matchPolicy")
    found += selector(match.get("namespaceSelector"), f"{field}.namespaceSelector")
    return found + selector(match.get("objectSelector"), f"{field}.objectSelector")


def policy(obj: Json, _old: Json | None) -> list[FieldError]:
    """A ValidatingAdmissionPolicy."""
    spec = obj.get("spec") or {}
    found = one_of(spec.get("failurePolicy"), _FAILURE, "spec.failurePolicy")
    kind = spec.get("paramKind")
    if kind is not None:
        found += [required(f"spec.paramKind.{n}") for n in ("apiVersion", "kind") if not kind.get(n)]
    match = spec.get("matchConstraints")
    if match is None:
        found.append(required("spec.matchConstraints"))
    else:
        if not match.get("resourceRules"):
            found.append(required("spec.matchConstraints.resourceRules"))
        found += _match(match, "spec.matchConstraints")
    found += _conditions(spec.get("matchConditions") or [], "spec.matchConditions", _HOOK)
    found += _variables(spec.get("variables") or [])
    validations, audits = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not audits:
        detail = "validations or auditAnnotations must contain at least one item"
        found += [required(f"spec.{n}", detail) for n in ("validations", "auditAnnotations")]
    for i, validation in enumerate(validations):
        found += _validation(validation, f"spec.validations[{i}]")
    for i, audit in enumerate(audits):
        at = f"spec.auditAnnotations[{i}]"
        if not audit.get("key"):
            found.append(required(f"{at}.key"))
        found += expression(audit.get("valueExpression", ""), f"{at}.valueExpression", *_POLICY,
                            kinds=("STRING", "NULL"))  # fmt: skip
    return found


def _variables(variables: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, variable in enumerate(variables):
        at, name = f"spec.variables[{i}]", variable.get("name", "")
        if not name:
            found.append(required(f"{at}.name"))
        elif not _CEL_NAME.fullmatch(name):
            found.append(invalid(f"{at}.name", name, "name is not a valid CEL identifier"))
        if name in seen:
            found.append(duplicate(f"{at}.name", name))
        seen.add(name)
        text = variable.get("expression", "")
        problem = cel.problem(text, *_POLICY, kinds=()) if text.strip() else None
        if not text.strip():
            found.append(required(f"{at}.expression", "expression is not specified"))
        elif problem is not None and problem.startswith("compilation failed"):
            found.append(invalid(f"{at}.expression", text, problem))
    return found


def _validation(validation: Json, at: str) -> list[FieldError]:
    found = expression(validation.get("expression", ""), f"{at}.expression", *_POLICY)
    if validation.get("messageExpression"):
        found += expression(validation["messageExpression"], f"{at}.messageExpression", *_POLICY, kinds=("STRING",))
    message = validation.get("message", "")
    if message and "\n" in message:
        found.append(invalid(f"{at}.message", message, "message must not contain line breaks"))
    if validation.get("reason") and validation["reason"] not in _REASONS:
        found.append(not_supported(f"{at}.reason", validation["reason"], list(_REASONS)))
    return found


def binding(obj: Json, old: Json | None) -> list[FieldError]:
    """A ValidatingAdmissionPolicyBinding."""
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    name = spec.get("policyName", "")
    if not name:
        found.append(required("spec.policyName"))
    else:
        found += [invalid("spec.policyName", name, p) for p in subdomain_problems(name)]
    if old is not None and (old.get("spec") or {}).get("policyName") != name:
        found.append(invalid("spec.policyName", name, "field is immutable"))
    ref = spec.get("paramRef")
    if ref is not None:
        if ref.get("name") and ref.get("selector") is not None:
            found.append(forbidden("spec.paramRef.name", "name and selector are mutually exclusive"))
        elif not ref.get("name") and ref.get("selector") is None:
            found.append(required("spec.paramRef", "one of name or selector must be specified"))
        found += selector(ref.get("selector"), "spec.paramRef.selector")
        found += one_of(ref.get("parameterNotFoundAction"), ("Allow", "Deny"), "spec.paramRef.parameterNotFoundAction")
    if spec.get("matchResources") is not None:
        found += _match(spec["matchResources"], "spec.matchResources")
    actions = spec.get("validationActions") or []
    if not actions:
        found.append(required("spec.validationActions", "at least one validation action is required"))
    for i, action in enumerate(actions):
        at = f"spec.validationActions[{i}]"
        if action not in _ACTIONS:
            found.append(not_supported(at, action, list(_ACTIONS)))
        elif action in actions[:i]:
            found.append(duplicate(at, action))
    if {"Deny", "Warn"} <= set(actions):
        detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API "
        detail += "response and headers serves no purpose)"
        found.append(invalid("spec.validationActions", actions, detail))
    return found
