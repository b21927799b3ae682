"""PodPreset (settings.k8s.io/v1alpha1): variables and volumes for pods whose labels it selects.

A pod says that it was given them by an annotation; one whose own fields clash with a preset's gets none of it. Source:
the original's plugin/pkg/admission/podpreset, removed in 1.20.
"""

from __future__ import annotations

import copy

from netlab.api import Json
from netlab.api.selectors import SelectorError, from_object
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister

_EXCLUDE = "podpreset.admission.kubernetes.io/exclude"
_MARK = "podpreset.admission.kubernetes.io/podpreset-"


class PodPresets(Plugin):
    """presets: their cache."""

    def __init__(self, presets: Lister) -> None:
        self.presets = presets

    async def mutate(self, a: Attributes) -> None:
        """Merge every preset that selects the pod."""
        if a.group_kind != ("", "Pod") or a.operation != "CREATE" or a.subresource or a.obj is None:
            return
        if not len(self.presets):
            return
        meta = a.obj["metadata"]
        if (meta.get("annotations") or {}).get(_EXCLUDE) == "true":
            return
        chosen = [p for p in self.presets.all(a.namespace) if _selects(p, meta.get("labels"))]
        spec = a.obj["spec"]
        merged = _merged(spec, chosen)
        if merged is None or not chosen:
            return
        spec.update(merged)
        notes = meta.setdefault("annotations", {})
        for preset in chosen:
            notes[_MARK + preset["metadata"]["name"]] = preset["metadata"]["resourceVersion"]


def _selects(preset: Json, labels: dict[str, str] | None) -> bool:
    try:
        selector = from_object((preset.get("spec") or {}).get("selector") or {})
    except SelectorError:
        return False
    return selector is not None and selector.matches(labels)


def _join(there: list[Json], more: list[Json], key: str) -> list[Json] | None:
    """Both lists by a key; None if they say different things of one."""
    found = {e.get(key): e for e in there}
    result = list(there)
    for entry in more:
        known = found.get(entry.get(key))
        if known is None:
            result.append(copy.deepcopy(entry))
            found[entry.get(key)] = entry
        elif known != entry:
            return None
    return result


def _merged(spec: Json, presets: list[Json]) -> Json | None:
    """Containers and volumes with what the presets add; None if anything clashes."""
    containers = copy.deepcopy(spec.get("containers") or [])
    volumes: list[Json] | None = copy.deepcopy(spec.get("volumes") or [])
    for preset in presets:
        more = preset.get("spec") or {}
        for container in containers:
            for name, key in (("env", "name"), ("volumeMounts", "mountPath")):
                joined = _join(container.get(name) or [], more.get(name) or [], key)
                if joined is None:
                    return None
                if joined:
                    container[name] = joined
            if more.get("envFrom"):
                container["envFrom"] = [*(container.get("envFrom") or []), *copy.deepcopy(more["envFrom"])]
        volumes = _join(volumes or [], more.get("volumes") or [], "name")
        if volumes is None:
            return None
    return {"containers": containers, **({"volumes": volumes} if volumes else {})}
