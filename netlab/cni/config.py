"""Network configuration lists: what an administrator writes to /etc/cni/net.d, and what each plugin gets of it.

Both shapes are taken: a list (`.conflist`) and a single plugin (`.conf`), which is a list of one.
Source: CNI specification 1.1.0, sections 1 and 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from netlab.base.names import device_name_problem
from netlab.cni.errors import CniError, Code
from netlab.cni.fields import Fields
from netlab.cni.result import VERSIONS, Result, check_version

#: of a network's name and a container's id
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$")
_SUFFIXES = (".conf", ".conflist", ".json")


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A network: its plugins in their order, each as the object that it stands as."""

    name: str
    version: str
    plugins: tuple[Mapping[str, Any], ...]
    disable_check: bool = False
    disable_gc: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One interface of one container. netns: a path; args: CNI_ARGS; capabilities: what fills runtimeConfig."""

    container_id: str
    netns: str
    ifname: str = "eth0"
    args: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_container(self.container_id)
        check_ifname(self.ifname)


def check_container(container_id: str) -> str:
    """CniError (4) unless it is a container id that may stand in a file's name."""
    if not _NAME.match(container_id):
        raise CniError(
            Code.ENVIRONMENT,
            f"CNI_CONTAINERID {container_id!r} is no container id",
            "it starts with a letter or digit, and has letters, digits, '_', '.', '-'",
        )
    return container_id


def check_ifname(ifname: str) -> str:
    """CniError (4) unless the kernel would take it."""
    problem = device_name_problem(ifname)
    if problem:
        raise CniError(Code.ENVIRONMENT, f"CNI_IFNAME: {problem}")
    return ifname


def check_name(name: str, place: str) -> str:
    """CniError (7) unless it is a network's name."""
    if not _NAME.match(name):
        raise CniError(
            Code.CONFIG,
            f"{place}: name is {name!r}, expected a network's name",
            "it starts with a letter or digit, and has letters, digits, '_', '.', '-'",
        )
    return name


def decode(text: bytes | str, place: str) -> Any:
    """JSON, or CniError (6) with what is wrong and where."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise CniError(Code.DECODE, f"{place} is not JSON: {e}") from e


def parse(data: Any, place: str = "network configuration") -> NetworkList:
    """A list or a single plugin. CniError: 1 for the version, 7 for the rest."""
    whole = Fields(data, place)
    name = check_name(whole.text("name"), place)
    offered = [*whole.texts("cniVersions"), whole.text("cniVersion")]
    spoken = [v for v in offered if v in VERSIONS]
    version = max(spoken, key=VERSIONS.index) if spoken else check_version(whole.text("cniVersion"))
    listed = whole.objects("plugins") if "plugins" in whole.data else [whole]
    plugins = tuple(f.data for f in listed)
    if not plugins:
        raise whole.wrong("plugins", "at least one plugin")
    for i, plugin in enumerate(plugins):
        kind = plugin.get("type")
        if not isinstance(kind, str) or not kind or "/" in kind:
            raise CniError(Code.CONFIG, f"{place}: plugins[{i}] has no type", "the name of an executable in CNI_PATH")
    return NetworkList(name, version, plugins, whole.flag("disableCheck"), whole.flag("disableGC"))


def load(path: Path) -> NetworkList:
    """A network out of its file; out of a directory the first that has one, by name, as every runtime does."""
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in _SUFFIXES)
        if not files:
            raise CniError(Code.CONFIG, f"{path} has no network configuration", "expected *.conflist, *.conf or *.json")
        path = files[0]
    try:
        text = path.read_bytes()
    except OSError as e:
        raise CniError(Code.IO, f"{path} cannot be read: {e.strerror}") from e
    return parse(decode(text, str(path)), str(path))


def request(
    network: NetworkList,
    plugin: Mapping[str, Any],
    *,
    previous: Result | None = None,
    capabilities: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What one plugin of the list gets on its standard input."""
    declared = plugin.get("capabilities")
    wanted = {k for k, v in declared.items() if v} if isinstance(declared, Mapping) else set()
    runtime = {k: v for k, v in (capabilities or {}).items() if k in wanted}
    document = {k: v for k, v in plugin.items() if k not in ("capabilities", "runtimeConfig", "prevResult")}
    document |= {"name": network.name, "cniVersion": network.version, **(more or {})}
    if runtime:
        document["runtimeConfig"] = runtime
    if previous is not None:
        document["prevResult"] = previous.as_document(network.version)
    return document
