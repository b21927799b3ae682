"""What a pod uses of its node just now, in bytes, by container. Reads files: call it in a thread."""

from __future__ import annotations

import os
from pathlib import Path

from netlab.api import Json
from netlab.kubelet.seen import Seen
from netlab.kubelet.tools import Tools
from netlab.runtime.containers import NoContainer, Runtime


def memory(tools: Tools, runtime: Runtime, pod: Json, seen: Seen) -> dict[str, int]:
    """Memory."""
    found = {}
    for instance in seen.running():
        try:
            found[instance.name] = runtime.usage(instance.id).memory
        except NoContainer:  # it has gone meanwhile
            pass
    return found


def storage(tools: Tools, runtime: Runtime, pod: Json, seen: Seen) -> dict[str, int]:
    """What its containers have written, and their logs."""
    logs = tools.log_directory(pod)
    found: dict[str, int] = {}
    for instance in seen.all():
        written = _size(runtime.root / "containers" / instance.id / "upper")
        found[instance.name] = found.get(instance.name, 0) + written
    return {name: size + _size(logs / name) for name, size in found.items()}


def _size(directory: Path) -> int:
    """Of all files below; what goes meanwhile is passed over."""
    total = 0
    for path, _, files in os.walk(directory):
        for file in files:
            try:
                total += os.lstat(os.path.join(path, file)).st_blocks * 512  # noqa: PTH118 - a hundred thousand
            except FileNotFoundError:
                pass
    return total
