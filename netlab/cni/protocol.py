"""The plugin's side of the protocol: environment and standard input in, standard output and exit status out.

Source: CNI specification 1.1.0, sections 2 and 4. STATUS, GC and CHECK are refused to configurations of versions that
did not have them, as the specification asks. DEL never fails for what is gone: every plugin sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from netlab.base.errors import NetlabError
from netlab.cni.config import check_container, check_ifname, check_name, decode
from netlab.cni.errors import CniError, Code
from netlab.cni.fields import Fields
from netlab.cni.machine import Machine, Owner
from netlab.cni.result import NEWEST, VERSIONS, Result, check_version, knows

COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION")
#: the version of a configuration that says none; nobody speaks it any more
_UNSAID = "0.1.0"
#: commands about one interface of one container, and whether they need its namespace
_OF_CONTAINERS = {"ADD": True, "CHECK": True, "DEL": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one plugin, with everything that it was told. environment: as it came, for plugins called in turn."""

    command: str
    plugin: str
    network: str
    version: str
    config: Fields
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    previous: Result | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> Owner:
        """In whose name this plugin asks for networks."""
        return Owner(self.network, self.container_id, self.ifname, self.plugin)

    @property
    def why(self) -> str:
        """What every item that the call asks for is there for."""
        pod = self.args.get("K8S_POD_NAME")
        whom = f"pod {self.args.get('K8S_POD_NAMESPACE', '')}/{pod}" if pod else f"container {self.container_id[:13]}"
        return f"network {self.network}, {whom}"

    @property
    def runtime(self) -> Fields:
        """runtimeConfig: what the runtime says by capabilities."""
        return self.config.inner("runtimeConfig")

    def expected(self) -> Result:
        """prevResult, which a chained plugin and CHECK cannot do without. CniError (7)."""
        if self.previous is None:
            raise CniError(
                Code.CONFIG, f"{self.plugin} was given no prevResult", "it stands behind another plugin in a list"
            )
        return self.previous

    def valid(self) -> set[tuple[str, str]]:
        """The attachments that GC is to leave alone, as (container, interface)."""
        return {(f.text("containerID"), f.text("ifname")) for f in self.config.objects("cni.dev/valid-attachments")}

    def refuse(self, *names: str) -> None:
        """CniError (2) for the first of these fields that asks for something."""
        for name in names:
            if self.config.data.get(name):
                raise CniError(
                    Code.UNSUPPORTED_FIELD,
                    f"{name} {self.config.data[name]!r} is not supported",
                    "leave the field out, or use the reference plugin of that name",
                )


class Plugin(Protocol):
    """What a plugin is: one function for each command that has work in it."""

    def add(self, call: Call, machine: Machine) -> Result:
        """Make it so, and tell what was made (with what prevResult told)."""

    def delete(self, call: Call, machine: Machine) -> None:
        """Take it away; nothing to take away is success."""

    def check(self, call: Call, machine: Machine) -> None:
        """CniError if what ADD has made is not as it was."""

    def status(self, call: Call, machine: Machine) -> None:
        """CniError (50, 51) if an ADD would fail now."""

    def gc(self, call: Call, machine: Machine) -> None:
        """Take away what is of no attachment in `call.valid()`."""


def read(plugin: str, environment: Mapping[str, str], stdin: bytes) -> Call:
    """What the plugin is asked, or CniError."""
    command = environment.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        said = "is not set" if not command else f"is {command!r}"
        raise CniError(Code.ENVIRONMENT, f"CNI_COMMAND {said}", f"expected one of {', '.join(COMMANDS)}")
    config = Fields(decode(stdin or b"{}", "standard input"), "standard input")
    version = config.text("cniVersion") or _UNSAID
    if command == "VERSION":
        return Call(command=command, plugin=plugin, network="", version=version, config=config)
    check_version(version)
    if not knows(version, command):
        raise CniError(Code.VERSION, f"cniVersion {version} has no {command}", f"expected {NEWEST} or newer than it is")
    network = check_name(config.text("name"), "standard input")
    container_id, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    netns = environment.get("CNI_NETNS", "")
    if command in _OF_CONTAINERS:
        check_container(container_id)
        check_ifname(ifname)
        if _OF_CONTAINERS[command] and not netns.startswith("/"):
            raise CniError(Code.ENVIRONMENT, f"CNI_NETNS is {netns!r}", "expected the path of a network namespace")
    previous = config.data.get("prevResult")
    return Call(
        command=command, plugin=plugin, network=network, version=version, config=config, container_id=container_id,
        netns=netns, ifname=ifname, args=arguments(environment.get("CNI_ARGS", "")),
        previous=None if previous is None else Result.of(previous, "prevResult"), environment=environment,
    )  # fmt: skip


def arguments(text: str) -> dict[str, str]:
    """CNI_ARGS: `A=1;B=2`. CniError (4)."""
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    if any(not equals for _, equals, _ in pairs):
        raise CniError(Code.ENVIRONMENT, f"CNI_ARGS is {text!r}", "expected KEY=VALUE;KEY=VALUE")
    return {key: value for key, _, value in pairs}


def serve(
    name: str, plugin: Plugin, environment: Mapping[str, str], stdin: bytes, machine: Machine
) -> tuple[int, bytes]:
    """Answer one call: exit status and standard output."""
    version = NEWEST
    try:
        call = read(name, environment, stdin)
        version = call.version if call.version in VERSIONS else NEWEST
        return 0, answer(plugin, call, machine)
    except NetlabError as e:
        return 1, _printed(CniError.of(e).as_document(version))
    except OSError as e:
        return 1, _printed(CniError(Code.IO, f"{name}: {e}").as_document(version))


def answer(plugin: Plugin, call: Call, machine: Machine) -> bytes:
    """Do what is asked. What is printed; nothing, for most commands."""
    match call.command:
        case "VERSION":
            return _printed({"cniVersion": NEWEST, "supportedVersions": list(VERSIONS)})
        case "ADD":
            return _printed(plugin.add(call, machine).as_document(call.version))
        case "DEL":
            plugin.delete(call, machine)
        case "CHECK":
            call.expected()
            plugin.check(call, machine)
        case "STATUS":
            plugin.status(call, machine)
        case _:
            plugin.gc(call, machine)
    return b""


def _printed(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
