"""What a machine is and has, as its kernel and its files tell (proc(5), os-release(5), machine-id(5))."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Room(NamedTuple):
    """Bytes of a file system: all, and those that are free for everybody."""

    total: int
    available: int


def cpus() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> Room:
    """Of the whole machine."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return Room(found["MemTotal"], found.get("MemAvailable", found["MemFree"]))


def storage(path: Path) -> Room:
    """Of the file system that a path is on."""
    found = os.statvfs(path)
    return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def architecture() -> str:
    """As Go and Kubernetes name it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def info() -> dict[str, str]:
    """Of nodeInfo, as far as the machine tells it."""
    return {
        "machineID": _text("/etc/machine-id"), "systemUUID": _text("/sys/class/dmi/id/product_uuid"),
        "bootID": _text("/proc/sys/kernel/random/boot_id"), "kernelVersion": platform.release(),
        "osImage": _pretty(), "operatingSystem": "linux", "architecture": architecture(),
    }  # fmt: skip


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _pretty() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
