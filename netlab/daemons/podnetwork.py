"""The network of a node's pods: a named namespace for each, wired by the CNI network that /etc/cni/net.d has.

    ROOT/networks/ID    what was asked for, written before anything is made: by it all is taken away again
    /var/lib/cni/results    what was made, in libcni's form: by it those outside of the node find a pod

Our plugins run in this process, one pod at a time: they take milliseconds, and two would wait for the same locks.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from netlab.api import Json
from netlab.base import lockedfiles
from netlab.base.addresses import Address
from netlab.base.errors import NetlabError
from netlab.cni.config import Attachment, NetworkList, load, parse
from netlab.cni.runner import Runner
from netlab.kernel import netns
from netlab.kubelet import pods
from netlab.kubelet.needs import NetworkError

if TYPE_CHECKING:
    from netlab.cluster.plan import Node

#: where a node's runtime keeps what plugins have made
_CNI = "/var/lib/cni"
_LOOPBACK = parse({"cniVersion": "1.0.0", "name": "cni-loopback", "plugins": [{"type": "loopback"}]})


class PodNetwork:
    """See `kubelet.needs.Network`. config: the directory of network configurations."""

    def __init__(self, root: Path, runner: Runner, config: Path) -> None:
        self._records, self._runner, self._config = root / "networks", runner, config
        self._lock = threading.Lock()
        for left in self._records.glob(".*"):
            left.unlink(missing_ok=True)  # a predecessor was killed while it wrote it

    def problem(self) -> str | None:
        """Why no pod can be wired."""
        try:
            load(self._config)
        except NetlabError as e:
            return (
                "cni plugin not initialized"
                if not self._config.is_dir() or "has no network" in e.message
                else e.message
            )
        return None

    def known(self) -> set[str]:
        """The sandboxes of which there may be something left."""
        if not self._records.is_dir():
            return set()
        return {path.name for path in self._records.iterdir() if not path.name.startswith(".")}

    def attach(self, pod: Json, id: str) -> tuple[str, Sequence[Address]]:
        """A namespace that is wired."""
        try:
            network = load(self._config)
            name = _name(id)
            document = {"cniVersion": network.version, "name": network.name, "plugins": list(network.plugins)}
            lockedfiles.put(self._records / id, orjson.dumps({"pod": pods.shown(pod), "network": document}))
            netns.prepare()
            os.close(netns.create(name))
            path = str(netns.path(name))
            with self._lock:
                self._runner.add(_LOOPBACK, Attachment(container_id=id, netns=path, ifname="lo"))
                result = self._runner.add(network, _attachment(pod, id, path))
        except NetlabError as e:
            raise NetworkError(e.message, hint=e.hint) from e
        except OSError as e:
            raise NetworkError(f"{e.filename}: {e.strerror}") from e
        return path, result.inside()

    def detach(self, id: str) -> None:
        """Nothing is left of it."""
        record = self._records / id
        network = self._recorded(record)
        if network is None:
            return
        name = _name(id)
        path = str(netns.path(name)) if netns.inode(name) is not None else ""
        try:
            with self._lock:
                self._runner.delete(network, Attachment(container_id=id, netns=path))
                self._runner.delete(_LOOPBACK, Attachment(container_id=id, netns=path, ifname="lo"))
            netns.delete(name)
        except NetlabError as e:
            raise NetworkError(e.message, hint=e.hint) from e
        except OSError as e:
            raise NetworkError(f"{e.filename}: {e.strerror}") from e
        lockedfiles.remove(record)

    def _recorded(self, record: Path) -> NetworkList | None:
        try:
            document: dict[str, Any] = orjson.loads(record.read_bytes())
        except FileNotFoundError:
            return None
        return parse(document["network"], str(record))


class Wired(NamedTuple):
    """netns: the path of a pod's namespace; veth: its node's end of the cable to it."""

    netns: str
    veth: str


def wired(node: Node, init: int, pod: Mapping[str, Any]) -> Wired | None:
    """Where on this machine a pod is that runs on a node made of namespaces; None if it has no network there.

    init: the node's first process.
    """
    for result in _results(node.own[_CNI], pod["metadata"]["uid"]):
        # a name in the node's own /run, which is seen through its first process
        path = f"/proc/{init}/root{result['netns']}"
        if Path(path).exists():
            there = [i["name"] for i in result["result"].get("interfaces", ()) if not i.get("sandbox")]
            # the bridge, if there is one, stands before the cable's end
            return Wired(path, there[-1] if there else "")
    return None


def _results(cni: Path, uid: str) -> list[Json]:
    """What plugins have made for a pod, the latest first, in libcni's form."""
    found: list[tuple[float, Json]] = []
    for file in (cni / "results").glob("*-eth0"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # written, or taken away, at this moment
            data = orjson.loads(file.read_bytes())
            if ["K8S_POD_UID", uid] in data.get("cniArgs", ()):
                found.append((file.stat().st_mtime, data))
    return [data for _, data in sorted(found, key=lambda pair: -pair[0])]


def _name(id: str) -> str:
    return f"cni-{id}"


def _attachment(pod: Json, id: str, path: str) -> Attachment:
    meta = pod["metadata"]
    args = {
        "IgnoreUnknown": "1", "K8S_POD_NAMESPACE": meta.get("namespace", ""), "K8S_POD_NAME": meta["name"],
        "K8S_POD_INFRA_CONTAINER_ID": id, "K8S_POD_UID": meta["uid"],
    }  # fmt: skip
    ports = [
        {
            "hostPort": port["hostPort"], "containerPort": port["containerPort"],
            "protocol": str(port.get("protocol") or "TCP").lower(),
            **({"hostIP": port["hostIP"]} if port.get("hostIP") else {}),
        }
        for spec in pods.specs(pod) for port in spec.container.get("ports") or () if port.get("hostPort")
    ]  # fmt: skip
    return Attachment(container_id=id, netns=path, args=args, capabilities={"portMappings": ports} if ports else {})
