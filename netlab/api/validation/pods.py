"""Validation of pods and of all that has a pod in it. Source: kubernetes pkg/apis/core/validation/validation.go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, not_found, not_supported, required
from netlab.api.names import (
    env_name_problems,
    label_problems,
    port_name_problems,
    qualified_name_problems,
    subdomain_problems,
)
from netlab.api.quantity import QuantityError
from netlab.api.quantity import value as amount
from netlab.api.validation.common import not_negative, one_of, port_problem
from netlab.api.validation.meta import labels

_PULL = ("Always", "IfNotPresent", "Never")
_RESTART = ("Always", "Never", "OnFailure")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket", "sleep")


def pod_spec(spec: Json, field: str, *, template: bool = False, claims: Iterable[str] = ()) -> list[FieldError]:
    """A PodSpec. claims: volumes that a StatefulSet adds from its claim templates."""
    volumes, found = _volumes(spec.get("volumes") or [], f"{field}.volumes")
    volumes |= set(claims)
    containers = spec.get("containers") or []
    if not containers:
        found.append(required(f"{field}.containers"))
    names: set[str] = set()
    ports: set[tuple[Any, ...]] = set()
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for i, c in enumerate(spec.get(key) or ()):
            at = f"{field}.{key}[{i}]"
            found += container(c, at, volumes, init=key == "initContainers")
            name = c.get("name", "")
            if name in names:
                found.append(duplicate(f"{at}.name", name))
            names.add(name)
            if key == "containers":
                found += _host_ports(c, at, ports)
    found += one_of(spec.get("restartPolicy"), _RESTART, f"{field}.restartPolicy")
    found += one_of(spec.get("dnsPolicy"), _DNS, f"{field}.dnsPolicy")
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        found.append(required(f"{field}.dnsConfig.nameservers", "must provide at least one DNS nameserver when "
                              "`dnsPolicy` is None"))  # fmt: skip
    found += labels(spec.get("nodeSelector") or {}, f"{field}.nodeSelector")
    found += _sysctls((spec.get("securityContext") or {}).get("sysctls") or [], f"{field}.securityContext.sysctls")
    if spec.get("runtimeClassName"):
        name = spec["runtimeClassName"]
        found += [invalid(f"{field}.runtimeClassName", name, p) for p in subdomain_problems(name)]
    if spec.get("serviceAccountName"):
        name = spec["serviceAccountName"]
        found += [invalid(f"{field}.serviceAccountName", name, p) for p in subdomain_problems(name)]
    if spec.get("nodeName"):
        found += [invalid(f"{field}.nodeName", spec["nodeName"], p) for p in subdomain_problems(spec["nodeName"])]
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            found += [invalid(f"{field}.{name}", spec[name], p) for p in label_problems(spec[name])]
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and deadline < 1:
        found.append(invalid(f"{field}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"))
    found += not_negative(spec, "terminationGracePeriodSeconds", field=field)
    found += _tolerations(spec.get("tolerations") or [], f"{field}.tolerations")
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        import ipaddress

        try:
            ipaddress.ip_address(alias.get("ip", ""))
        except ValueError:
            detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            found.append(invalid(f"{field}.hostAliases[{i}].ip", alias.get("ip", ""), detail))
    if template and spec.get("ephemeralContainers"):
        found.append(forbidden(f"{field}.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    return found


_SYSCTL = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?([\\./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*"
_SYSCTL_FORM = re.compile(_SYSCTL)
SYSCTL_MAX = 253


def _sysctls(sysctls: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, entry in enumerate(sysctls):
        at, name = f"{field}[{i}].name", entry.get("name", "")
        if not name:
            found.append(required(at))
        elif len(name) > SYSCTL_MAX or not _SYSCTL_FORM.fullmatch(name):
            detail = f"must have at most {SYSCTL_MAX} characters and match regex ^{_SYSCTL}$"
            found.append(invalid(at, name, detail))
        elif name.replace("/", ".") in seen:
            found.append(duplicate(at, name))
        seen.add(name.replace("/", "."))
    return found


def _tolerations(tolerations: list[Json], field: str) -> list[FieldError]:
    found = []
    for i, t in enumerate(tolerations):
        at, operator = f"{field}[{i}]", t.get("operator") or "Equal"
        if t.get("key"):
            found += [invalid(f"{at}.key", t["key"], p) for p in qualified_name_problems(t["key"])]
        elif operator != "Exists":
            found.append(invalid(f"{at}.operator", t.get("operator", ""), "operator must be Exists when `key` is "
                                 "empty, which means \"match all values and all keys\""))  # fmt: skip
        if operator not in ("Equal", "Exists"):
            found.append(not_supported(f"{at}.operator", operator, ["Equal", "Exists"]))
        if operator == "Exists" and t.get("value"):
            found.append(invalid(f"{at}.operator", t, "value must be empty when `operator` is 'Exists'"))
        if t.get("effect") and t["effect"] not in _EFFECTS:
            found.append(not_supported(f"{at}.effect", t["effect"], list(_EFFECTS)))
        if "tolerationSeconds" in t and t.get("effect") != "NoExecute":
            found.append(invalid(f"{at}.effect", t.get("effect", ""), "effect must be 'NoExecute' when "
                                 "`tolerationSeconds` is set"))  # fmt: skip
    return found


_SOURCES = (
    "hostPath", "emptyDir", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "secret", "nfs", "iscsi",
    "glusterfs", "persistentVolumeClaim", "rbd", "flexVolume", "cinder", "cephfs", "flocker", "downwardAPI", "fc",
    "azureFile", "configMap", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "projected",
    "portworxVolume", "scaleIO", "storageos", "csi", "ephemeral", "image",
)  # fmt: skip
_NEEDED = {
    "hostPath": "path", "secret": "secretName", "persistentVolumeClaim": "claimName", "configMap": "name",
}  # fmt: skip


def _volumes(volumes: list[Json], field: str) -> tuple[set[str], list[FieldError]]:
    names: set[str] = set()
    found: list[FieldError] = []
    for i, v in enumerate(volumes):
        at, name = f"{field}[{i}]", v.get("name", "")
        if not name:
            found.append(required(f"{at}.name"))
        else:
            found += [invalid(f"{at}.name", name, p) for p in label_problems(name)]
        if name in names:
            found.append(duplicate(f"{at}.name", name))
        names.add(name)
        sources = [s for s in _SOURCES if v.get(s) is not None]
        if not sources:
            found.append(required(at, "must specify a volume type"))
        for extra in sources[1:]:
            found.append(forbidden(f"{at}.{extra}", "may not specify more than 1 volume type"))
        for source in sources[:1]:
            needed = _NEEDED.get(source)
            if needed and not v[source].get(needed):
                found.append(required(f"{at}.{source}.{needed}"))
            if source == "hostPath" and ".." in v[source].get("path", "").split("/"):
                found.append(invalid(f"{at}.hostPath.path", v[source]["path"], "must not contain '..'"))
    return names, found


def container(c: Json, at: str, volumes: set[str], *, init: bool) -> list[FieldError]:
    """A container of any sort."""
    found: list[FieldError] = []
    name = c.get("name", "")
    if not name:
        found.append(required(f"{at}.name"))
    else:
        found += [invalid(f"{at}.name", name, p) for p in label_problems(name)]
    image = c.get("image", "")
    if not image:
        found.append(required(f"{at}.image"))
    elif image != image.strip():
        found.append(invalid(f"{at}.image", image, "must not have leading or trailing whitespace"))
    found += one_of(c.get("imagePullPolicy"), _PULL, f"{at}.imagePullPolicy")
    if c.get("terminationMessagePolicy"):
        found += one_of(c["terminationMessagePolicy"], ("FallbackToLogsOnError", "File"),
                        f"{at}.terminationMessagePolicy")  # fmt: skip
    found += _ports(c.get("ports") or [], f"{at}.ports")
    found += _env(c.get("env") or [], f"{at}.env")
    paths: set[str] = set()
    for i, m in enumerate(c.get("volumeMounts") or ()):
        here = f"{at}.volumeMounts[{i}]"
        if not m.get("name"):
            found.append(required(f"{here}.name"))
        elif m["name"] not in volumes:
            found.append(not_found(f"{here}.name", m["name"]))
        path = m.get("mountPath", "")
        if not path:
            found.append(required(f"{here}.mountPath"))
        elif path in paths:
            found.append(invalid(f"{here}.mountPath", path, "must be unique"))
        paths.add(path)
        if ".." in m.get("subPath", "").split("/"):
            found.append(invalid(f"{here}.subPath", m["subPath"], "must not contain '..'"))
    restart = c.get("restartPolicy")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if c.get(probe) is not None:
            if init and restart != "Always":
                found.append(forbidden(f"{at}.{probe}", "may not be set for init containers without "
                                       "restartPolicy=Always"))  # fmt: skip
            else:
                found += _probe(c[probe], f"{at}.{probe}", one=probe != "readinessProbe")
    for hook in ("postStart", "preStop"):
        handler = (c.get("lifecycle") or {}).get(hook)
        if handler is not None:
            found += _handler(handler, f"{at}.lifecycle.{hook}")
    return found + resources(c.get("resources") or {}, f"{at}.resources")


def _ports(ports: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    names: set[str] = set()
    for i, p in enumerate(ports):
        at = f"{field}[{i}]"
        name = p.get("name", "")
        if name:
            problems = port_name_problems(name)
            found += [invalid(f"{at}.name", name, x) for x in problems]
            if not problems and name in names:
                found.append(duplicate(f"{at}.name", name))
            names.add(name)
        number = p.get("containerPort", 0)
        if number == 0:
            found.append(required(f"{at}.containerPort"))
        elif (problem := port_problem(number)) is not None:
            found.append(invalid(f"{at}.containerPort", number, problem))
        if p.get("hostPort") and (problem := port_problem(p["hostPort"])) is not None:
            found.append(invalid(f"{at}.hostPort", p["hostPort"], problem))
        found += one_of(p.get("protocol"), _PROTOCOLS, f"{at}.protocol")
    return found


def _host_ports(c: Json, at: str, seen: set[tuple[Any, ...]]) -> list[FieldError]:
    found = []
    for i, p in enumerate(c.get("ports") or ()):
        if p.get("hostPort"):
            key = (p.get("protocol"), p.get("hostIP", ""), p["hostPort"])
            if key in seen:
                text = f"{key[0]}/{key[1]}/{key[2]}"
                found.append(duplicate(f"{at}.ports[{i}].hostPort", text))
            seen.add(key)
    return found


def _env(env: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, e in enumerate(env):
        at, name = f"{field}[{i}]", e.get("name", "")
        if not name:
            found.append(required(f"{at}.name"))
        else:
            found += [invalid(f"{at}.name", name, p) for p in env_name_problems(name)]
        source = e.get("valueFrom")
        if source is not None:
            kinds = [k for k in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef") if source.get(k)]
            where = f"{at}.valueFrom"
            if not kinds:
                found.append(invalid(where, "", "must specify one of: `fieldRef`, `resourceFieldRef`, "
                                     "`configMapKeyRef` or `secretKeyRef`"))  # fmt: skip
            if e.get("value"):
                found.append(invalid(where, "", "may not be specified when `value` is not empty"))
            if len(kinds) > 1:
                found.append(invalid(where, "", "may not have more than one field specified at a time"))
    return found


def _handler(handler: Json, field: str) -> list[FieldError]:
    kinds = [k for k in _HANDLERS if handler.get(k) is not None]
    found: list[FieldError] = []
    if not kinds:
        found.append(required(field, "must specify a handler type"))
    found += [forbidden(f"{field}.{k}", "may not specify more than 1 handler type") for k in kinds[1:]]
    if kinds and kinds[0] == "exec" and not handler["exec"].get("command"):
        found.append(required(f"{field}.exec.command"))
    for kind in ("httpGet", "tcpSocket"):
        if kind in kinds[:1]:
            port = handler[kind].get("port", 0)
            where = f"{field}.{kind}.port"
            if isinstance(port, str):
                found += [invalid(where, port, p) for p in port_name_problems(port)]
            elif (problem := port_problem(port)) is not None:
                found.append(invalid(where, port, problem))
    return found


def _probe(probe: Json, field: str, *, one: bool) -> list[FieldError]:
    found = _handler(probe, field)
    found += not_negative(
        probe, "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
        field=field,
    )  # fmt: skip
    if one and probe.get("successThreshold", 1) != 1:
        found.append(invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1"))
    return found


def resources(given: Json, field: str) -> list[FieldError]:
    """Requests and limits."""
    found: list[FieldError] = []
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    for kind, values in (("limits", limits), ("requests", requests)):
        for name, text in values.items():
            at = f"{field}.{kind}[{name}]"
            if (
                "/" not in name
                and name not in ("cpu", "memory", "ephemeral-storage")
                and not name.startswith("hugepages-")
            ):
                found.append(invalid(at, name, "must be a standard resource type or fully qualified"))
                found.append(invalid(at, name, "must be a standard resource for containers"))
            try:
                if amount(str(text)) < 0:
                    found.append(invalid(at, text, "must be greater than or equal to 0"))
            except QuantityError:
                continue
    for name, text in requests.items():
        if name in limits:
            over = amount(str(text)) > amount(str(limits[name]))
            if over:
                where = f"{field}.requests"
                found.append(invalid(where, text, f"must be less than or equal to {name} limit of {limits[name]}"))
    return found
