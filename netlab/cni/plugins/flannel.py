"""the bridge plugin, with the subnet, the MTU and the masquerading that flanneld has written to subnet.env.

    {"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}}

What the delegate was told is kept until its DEL, which is told the same: flanneld may have gone, or have another subnet
by then. Source: flannel-io/cni-plugin, its README.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from netlab.base import lockedfiles as files
from netlab.base.errors import NetlabError
from netlab.cni.config import decode
from netlab.cni.errors import CniError, Code
from netlab.cni.machine import Machine
from netlab.cni.protocol import Call
from netlab.cni.result import Result
from netlab.overlay import subnetenv
from netlab.overlay.subnetenv import SubnetEnv

DATA = Path("var/lib/cni/flannel")


class Flannel:
    """It makes nothing itself."""

    def add(self, call: Call, machine: Machine) -> Result:
        config = delegated(call, _environment(call, machine))
        files.put(_kept(call, machine), orjson.dumps(config))
        said = machine.call(config["type"], "ADD", config, call.environment)
        return Result.of(decode(said, f"the answer of {config['type']}"))

    def delete(self, call: Call, machine: Machine) -> None:
        kept = _kept(call, machine)
        try:
            config = orjson.loads(kept.read_bytes())
        except FileNotFoundError:
            files.remove(kept)
            return
        except ValueError as e:
            raise CniError(
                Code.DECODE, f"{kept} is not JSON: {e}", f"take the interface away by hand, and rm {kept}"
            ) from e
        machine.call(config["type"], "DEL", config | _previous(call), call.environment)
        files.remove(kept)

    def check(self, call: Call, machine: Machine) -> None:
        kept = _kept(call, machine)
        if not kept.exists():
            raise CniError(Code.CHECK, f"{call.container_id} was not attached to {call.network}")
        config = orjson.loads(kept.read_bytes())
        machine.call(config["type"], "CHECK", config | _previous(call), call.environment)

    def status(self, call: Call, machine: Machine) -> None:
        try:
            _environment(call, machine)
        except CniError as e:
            raise CniError(Code.NOT_AVAILABLE, e.message, e.details) from e

    def gc(self, call: Call, machine: Machine) -> None:
        try:
            config = delegated(call, _environment(call, machine))
        except CniError:
            return  # without a subnet there was no ADD, either
        valid = {"cni.dev/valid-attachments": call.config.data.get("cni.dev/valid-attachments", [])}
        machine.call(config["type"], "GC", config | valid, call.environment)
        keep = {f"{network_file(call.network, c, i)}" for c, i in call.valid()}
        directory = _directory(call, machine)
        for kept in directory.glob(f"{call.network}:*") if directory.is_dir() else ():
            if kept.name not in keep:
                kept.unlink(missing_ok=True)


def network_file(network: str, container_id: str, ifname: str) -> str:
    """The name of the file that keeps what the delegate was told."""
    return f"{network}:{container_id}:{ifname}"


def _directory(call: Call, machine: Machine) -> Path:
    given = call.config.text("dataDir")
    return Path(given) if given else machine.root / DATA


def _kept(call: Call, machine: Machine) -> Path:
    return _directory(call, machine) / network_file(call.network, call.container_id, call.ifname)


def _previous(call: Call) -> dict[str, Any]:
    previous = call.config.data.get("prevResult")
    return {} if previous is None else {"prevResult": previous}


def _environment(call: Call, machine: Machine) -> SubnetEnv:
    given = call.config.text("subnetFile")
    path = Path(given) if given else machine.root / subnetenv.DEFAULT_PATH.relative_to("/")
    try:
        found = subnetenv.read(path)
    except NetlabError as e:
        raise CniError(Code.CONFIG, e.message, e.hint or "") from e
    if found is None:
        # the runtime tries again: a node's flanneld and its first pods start at the same time
        raise CniError(Code.TRY_LATER, f"{path} is not there", "flanneld writes it once it has a subnet")
    return found


def delegated(call: Call, env: SubnetEnv) -> dict[str, Any]:
    """What the delegate is told. What stands in `delegate` wins, but for the name and the subnet's ranges."""
    given = call.config.inner("delegate").data
    for name in ("name", "ipam"):
        if name in given:
            raise CniError(Code.CONFIG, f"delegate has {name}", "flannel decides that; leave it out")
    kind = given.get("type", "bridge")
    pairs = ((env.network, env.gateway), (env.ipv6_network, env.ipv6_gateway))
    both = [(network, gateway) for network, gateway in pairs if network and gateway]
    ipam: Mapping[str, Any] = {
        "type": "host-local",
        "ranges": [[{"subnet": str(gateway.network)}] for _, gateway in both],
        "routes": [{"dst": str(network)} for network, _ in both],
    }
    config: dict[str, Any] = {"type": kind, "ipMasq": not env.masq, "mtu": env.mtu}
    if kind == "bridge":
        config["isGateway"] = True
    config |= given
    config["ipam"] = {**call.config.inner("ipam").data, **ipam}
    config |= {"name": call.network, "cniVersion": call.version}
    runtime = call.config.data.get("runtimeConfig")
    return config | ({"runtimeConfig": runtime} if runtime else {})


PLUGIN = Flannel()
