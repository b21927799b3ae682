"""The runtime's side: the plugins of a network called in their order, and what they said kept for CHECK and DEL.

Results are cached where libcni caches them and in its form, so that a container that one runtime has attached can be
detached by another. ADD calls them from the first to the last, DEL from the last to the first. An ADD that fails is
left to its DEL, which the runtime owes for every ADD. Source: CNI specification 1.1.0, section 3; libcni api.go.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from netlab.base import lockedfiles as files
from netlab.cni.config import Attachment, NetworkList, decode, parse, request
from netlab.cni.errors import CniError, Code
from netlab.cni.result import Result, knows

CACHE = Path("var/lib/cni")
_KIND = "cniCacheV1"


class Caller(Protocol):
    """Calls a plugin, wherever it is: in this process, or an executable of a search path."""

    def call(self, kind: str, command: str, config: Mapping[str, Any], environment: Mapping[str, str]) -> bytes:
        """Its standard output. CniError: the plugin's own, or 103 if there is none of that name."""


class Runner:
    """Attaches containers to networks. root: below which the cache is."""

    def __init__(self, caller: Caller, root: Path) -> None:
        self._caller = caller
        self._results = root / CACHE / "results"

    def add(self, network: NetworkList, attachment: Attachment) -> Result:
        """Attach. What the last plugin said. CniError of the first that refused."""
        previous: Result | None = None
        for plugin in network.plugins:
            config = request(network, plugin, previous=previous, capabilities=attachment.capabilities)
            said = self._call(plugin, "ADD", config, attachment)
            previous = Result.of(decode(said, f"the answer of {plugin['type']}"), f"the answer of {plugin['type']}")
        assert previous is not None
        self._remember(network, attachment, previous)
        return previous

    def delete(self, network: NetworkList, attachment: Attachment) -> None:
        """Detach. Success if there is nothing left of it."""
        previous, known = self._cached(network.name, attachment)
        for plugin in reversed(network.plugins):
            config = request(
                network, plugin, previous=previous if knows(network.version, "CHECK") else None,
                capabilities=known.capabilities,
            )  # fmt: skip
            self._call(plugin, "DEL", config, known)
        files.remove(self._file(network.name, attachment))

    def check(self, network: NetworkList, attachment: Attachment) -> None:
        """CniError if the attachment is not as it was made."""
        if network.disable_check:
            return
        if not knows(network.version, "CHECK"):
            raise CniError(Code.VERSION, f"network {network.name} is of {network.version}, which has no CHECK")
        previous, known = self._cached(network.name, attachment)
        if previous is None:
            raise CniError(Code.UNKNOWN_CONTAINER, f"{attachment.container_id} is not attached to {network.name}")
        for plugin in network.plugins:
            config = request(network, plugin, previous=previous, capabilities=known.capabilities)
            self._call(plugin, "CHECK", config, known)

    def status(self, network: NetworkList) -> None:
        """CniError if the network takes no containers now. Versions before 1.1.0 cannot tell."""
        if knows(network.version, "STATUS"):
            for plugin in network.plugins:
                self._call(plugin, "STATUS", request(network, plugin), None)

    def gc(self, network: NetworkList, valid: Collection[tuple[str, str]]) -> None:
        """Take away what is of no attachment in `valid`, pairs of container and interface.

        What the cache knows of is deleted; of what it does not know, plugins are told what may stay.
        """
        if network.disable_gc:
            return
        for known in self.attachments(network.name):
            if (known.container_id, known.ifname) not in valid:
                self.delete(network, known)
        if knows(network.version, "GC"):
            keep = [{"containerID": container, "ifname": ifname} for container, ifname in sorted(valid)]
            for plugin in network.plugins:
                config = request(network, plugin, more={"cni.dev/valid-attachments": keep})
                self._call(plugin, "GC", config, None)

    def attachments(self, network: str | None = None) -> list[Attachment]:
        """What the cache knows of: of one network, or of all."""
        return [known for name, known, _ in self.cached() if network in (None, name)]

    def cached(self) -> list[tuple[str, Attachment, Result | None]]:
        """All that the cache holds: network, attachment, result."""
        if not self._results.is_dir():
            return []
        found = (self._entry(path) for path in sorted(self._results.iterdir()))
        return [entry for entry in found if entry]

    # -- the parts of it

    def _call(
        self, plugin: Mapping[str, Any], command: str, config: Mapping[str, Any], attachment: Attachment | None
    ) -> bytes:
        environment = {"CNI_COMMAND": command}
        if attachment is not None:
            environment |= {
                "CNI_CONTAINERID": attachment.container_id,
                "CNI_NETNS": attachment.netns,
                "CNI_IFNAME": attachment.ifname,
                "CNI_ARGS": ";".join(f"{key}={value}" for key, value in attachment.args.items()),
            }
        return self._caller.call(str(plugin["type"]), command, config, environment)

    def _file(self, network: str, attachment: Attachment) -> Path:
        return self._results / f"{network}-{attachment.container_id}-{attachment.ifname}"

    def _remember(self, network: NetworkList, attachment: Attachment, result: Result) -> None:
        config = {"name": network.name, "cniVersion": network.version, "plugins": list(network.plugins)}
        document = {
            "kind": _KIND,
            "containerId": attachment.container_id,
            "config": base64.b64encode(orjson.dumps(config)).decode(),
            "ifName": attachment.ifname,
            "networkName": network.name,
            "netns": attachment.netns,
            "cniArgs": [[key, value] for key, value in attachment.args.items()],
            "capabilityArgs": dict(attachment.capabilities),
            "result": result.as_document(network.version),
        }
        files.put(self._file(network.name, attachment), orjson.dumps(document))

    def _cached(self, network: str, attachment: Attachment) -> tuple[Result | None, Attachment]:
        """What was said at ADD, and with what: DEL and CHECK are told the same."""
        entry = self._entry(self._file(network, attachment))
        if entry is None:
            return None, attachment
        _, known, result = entry
        return result, Attachment(
            container_id=known.container_id, netns=attachment.netns or known.netns, ifname=known.ifname,
            args=attachment.args or known.args, capabilities=attachment.capabilities or known.capabilities,
        )  # fmt: skip

    def _entry(self, path: Path) -> tuple[str, Attachment, Result | None] | None:
        """A cached attachment; None for a file that is gone, or makes no sense: DEL does without it."""
        try:
            data = orjson.loads(path.read_bytes())
            network = parse(orjson.loads(base64.b64decode(data["config"])))
            attachment = Attachment(
                container_id=data["containerId"], netns=data.get("netns", ""), ifname=data["ifName"],
                args=dict(data.get("cniArgs") or []), capabilities=data.get("capabilityArgs") or {},
            )  # fmt: skip
            return network.name, attachment, Result.of(data["result"])
        except (OSError, ValueError, KeyError, TypeError, CniError):
            return None


def said(output: bytes, status: int, kind: str, stderr: str = "") -> bytes:
    """An executable's answer, or the CniError that it printed."""
    if status == 0:
        return output
    with contextlib.suppress(ValueError, TypeError, KeyError):
        data = orjson.loads(output)
        raise CniError(int(data["code"]), f"{kind}: {data['msg']}", str(data.get("details", "")))
    tail = os.linesep.join((stderr or output.decode(errors="replace")).splitlines()[-3:])
    raise CniError(Code.CRASHED, f"{kind} ended with status {status} and without a reason", tail)
