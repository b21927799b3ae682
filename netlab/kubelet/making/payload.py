"""What files a volume has that is made of API objects: configMap, secret, downwardAPI, projected. Pure.

Source: kubernetes pkg/volume/{configmap,secret,downwardapi,projected}, whose messages these are.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from netlab.api import Json
from netlab.kubelet.making import fields
from netlab.kubelet.making.security import context
from netlab.kubelet.making.world import Missing, NodeFacts, Objects, containers

DEFAULT_MODE = 0o644
#: a token that has an owner is nobody else's
_TOKEN_MODE = 0o600


class File(NamedTuple):
    """uid: None for root."""

    content: bytes
    mode: int
    uid: int | None = None


Payload = dict[str, File]


def _missing(message: str) -> Missing:
    return Missing("FailedMount", message)


def configmap(objects: Objects, namespace: str, source: Json, mode: int) -> Payload:
    """source: of a volume, or of a projected one. Missing."""
    name, optional = source.get("name", ""), bool(source.get("optional"))
    found = objects.configmap(namespace, name)
    if found is None:
        return _none("configmap", name, optional)
    data = {key: text.encode() for key, text in (found.get("data") or {}).items()}
    data |= {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
    return _chosen(data, source, mode, optional, "configmap references non-existent config key")


def secret(objects: Objects, namespace: str, source: Json, mode: int) -> Payload:
    """The same of a Secret; a volume calls its name secretName. Missing."""
    name, optional = source.get("secretName") or source.get("name", ""), bool(source.get("optional"))
    found = objects.secret(namespace, name)
    if found is None:
        return _none("secret", name, optional)
    data = {key: base64.b64decode(text) for key, text in (found.get("data") or {}).items()}
    return _chosen(data, source, mode, optional, "references non-existent secret key")


def _none(kind: str, name: str, optional: bool) -> Payload:
    if optional:
        return {}
    raise _missing(f'{kind} "{name}" not found')


def _chosen(data: Mapping[str, bytes], source: Json, mode: int, optional: bool, wrong: str) -> Payload:
    items = source.get("items") or ()
    if not items:
        return {key: File(content, mode) for key, content in data.items()}
    found = {}
    for item in items:
        if item["key"] in data:
            found[item["path"]] = File(data[item["key"]], _mode(item, mode))
        elif not optional:
            raise _missing(f"{wrong}: {item['key']}")
    return found


def _mode(item: Json, mode: int) -> int:
    own = item.get("mode")
    return mode if own is None else int(own)


def downward(pod: Json, source: Json, mode: int, node: NodeFacts) -> Payload:
    """What the pod tells of itself. Missing."""
    found, wrong = {}, []
    for item in source.get("items") or ():
        try:
            found[item["path"]] = File(_told(pod, item, node).encode(), _mode(item, mode))
        except fields.Unsupported as e:
            wrong.append(str(e))
    if wrong:
        raise _missing(_several(wrong))
    return found


def _told(pod: Json, item: Json, node: NodeFacts) -> str:
    if (ref := item.get("fieldRef")) is not None:
        return fields.file(pod, ref["fieldPath"])
    ref = item["resourceFieldRef"]
    container = next((c for c in containers(pod) if c["name"] == ref.get("containerName")), None)
    if container is None:
        raise fields.Unsupported(f"container {ref.get('containerName', '')} not found")
    return fields.resource(container, ref, node.allocatable)


def projected(
    pod: Json, source: Json, objects: Objects, node: NodeFacts, tokens: Mapping[int, str], *, mode: int
) -> Payload:
    """Of several sources; a later one goes before an earlier. tokens: by the number of their source. Missing."""
    found: Payload = {}
    wrong: list[str] = []
    namespace = pod["metadata"]["namespace"]
    for number, one in enumerate(source.get("sources") or ()):
        try:
            if (said := one.get("configMap")) is not None:
                found |= configmap(objects, namespace, said, mode)
            elif (said := one.get("secret")) is not None:
                found |= secret(objects, namespace, said, mode)
            elif (said := one.get("downwardAPI")) is not None:
                found |= downward(pod, said, mode, node)
            elif (said := one.get("serviceAccountToken")) is not None:
                found[said["path"]] = _token(pod, tokens[number], mode)
            else:
                wrong.append(f"projected sources of kind {next(iter(one), 'none')} are not supported here")
        except Missing as e:
            wrong.append(str(e))
    if wrong:
        raise _missing(_several(wrong))
    return found


def _several(wrong: list[str]) -> str:
    once = list(dict.fromkeys(wrong))
    return once[0] if len(once) == 1 else f"[{', '.join(once)}]"


def _token(pod: Json, token: str, mode: int) -> File:
    uid = owner(pod)
    grouped = (pod["spec"].get("securityContext") or {}).get("fsGroup") is not None
    return File(token.encode(), _TOKEN_MODE if uid is not None or grouped else mode, uid)


def owner(pod: Json) -> int | None:
    """Whom all containers of the pod run as, if it says so and is one user."""
    kinds = ("initContainers", "containers")
    users = {context(pod, c).get("runAsUser") for kind in kinds for c in pod["spec"].get(kind) or ()}
    return users.pop() if len(users) == 1 else None


def checked(paths: Iterable[str]) -> None:
    """That each leads into the volume, and is not in the way of `..data`. Missing."""
    for path in paths:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/"):
            raise _missing(f"invalid path: must be relative path: {path}")
        if ".." in parts or path.startswith(".."):
            raise _missing(f"invalid path: must not contain '..': {path}")
