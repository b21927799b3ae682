"""The variables of a container: out of ConfigMaps and Secrets, of the pod itself, of Services.

envFrom comes first, `env` in its order after it, each of which may speak of those before it; those that tell of
Services give way to either. Source: kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.kubelet.making import fields
from netlab.kubelet.making.expansion import expand, from_mappings
from netlab.kubelet.making.world import Missing, NodeFacts, Objects, containers


def variables(
    pod: Json, container: Json, objects: Objects, node: NodeFacts, *, ips: Sequence[Address], links: Mapping[str, str],
    tell: Callable[[str, str], None],
) -> dict[str, str]:  # fmt: skip
    """All of them, in order. links: of Services; tell: a warning's reason, message. Missing
    (CreateContainerConfigError)."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        found |= _from(pod, source, objects, tell)
    for entry in container.get("env") or ():
        said, reference = entry.get("value") or "", entry.get("valueFrom")
        if said:
            found[entry["name"]] = expand(said, from_mappings(found, links))
        elif reference is None:
            found[entry["name"]] = ""
        elif (known := _referred(pod, container, reference, objects, node, ips)) is not None:
            found[entry["name"]] = known
    return {**found, **{name: text for name, text in links.items() if name not in found}}


def _missing(message: str) -> Missing:
    return Missing("CreateContainerConfigError", message)


def _from(pod: Json, source: Json, objects: Objects, tell: Callable[[str, str], None]) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for kind in ("configMapRef", "secretRef"):
        reference = source.get(kind)
        if reference is None:
            continue
        namespace, name = pod["metadata"]["namespace"], reference.get("name", "")
        kind = kind.removesuffix("Ref")
        data = _data(kind, namespace, name, objects)
        if data is None:
            if reference.get("optional"):
                return {}
            raise _missing(f'{kind.lower()} "{name}" not found')
        if strange := sorted(key for key in data if not _is_name(f"{prefix}{key}")):
            tell(
                "InvalidEnvironmentVariableNames",
                f"Keys [{', '.join(strange)}] from the EnvFrom {kind} {namespace}/{name} were skipped since they are "
                "considered invalid environment variable names.",
            )
        return {f"{prefix}{key}": text for key, text in sorted(data.items()) if key not in strange}
    return {}


def _is_name(text: str) -> bool:
    """What can be a variable: visible ASCII, blanks as well, without the sign that ends a name."""
    return bool(text) and all(" " <= char <= "~" and char != "=" for char in text)


def _referred(
    pod: Json, container: Json, reference: Json, objects: Objects, node: NodeFacts, ips: Sequence[Address]
) -> str | None:
    """None: it is optional, and not there."""
    try:
        if (ref := reference.get("fieldRef")) is not None:
            return fields.field(pod, ref["fieldPath"], node=node.name, node_ips=node.ips, ips=ips)
        if (ref := reference.get("resourceFieldRef")) is not None:
            return fields.resource(_named(pod, ref.get("containerName"), container), ref, node.allocatable)
    except fields.Unsupported as e:
        raise _missing(str(e)) from e
    for kind, said in (("configMap", "ConfigMap"), ("secret", "Secret")):
        ref = reference.get(f"{kind}KeyRef")
        if ref is None:
            continue
        namespace, name, key = pod["metadata"]["namespace"], ref.get("name", ""), ref["key"]
        data = _data(kind, namespace, name, objects)
        if data is None and not ref.get("optional"):
            raise _missing(f'{kind.lower()} "{name}" not found')
        if data is not None and key not in data and not ref.get("optional"):
            raise _missing(f"couldn't find key {key} in {said} {namespace}/{name}")
        return None if data is None else data.get(key)
    return None


def _data(kind: str, namespace: str, name: str, objects: Objects) -> dict[str, str] | None:
    """The texts of an object; None if there is no such object. What is no text is replaced: no variable can have it."""
    found = objects.configmap(namespace, name) if kind == "configMap" else objects.secret(namespace, name)
    if found is None:
        return None
    data = found.get("data") or {}
    if kind == "configMap":
        return dict(data)
    return {key: base64.b64decode(text).decode(errors="replace") for key, text in data.items()}


def _named(pod: Json, name: str | None, own: Json) -> Json:
    if not name or name == own["name"]:
        return own
    return next((c for c in containers(pod) if c["name"] == name), own)
