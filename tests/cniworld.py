"""A node without a kernel: netlab's plugins on the fake backend, with their files in a directory of the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from netlab.cni.config import Attachment, NetworkList, parse
from netlab.cni.machine import HOST
from netlab.cni.runner import Runner
from netlab.daemons.cni import KernelMachine
from netlab.kernel.fake import FakeBackend
from netlab.model import HostState, Link


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.backend = FakeBackend()
        self.backend.create(HOST)
        self.machine = KernelMachine(root=root, search=(), backend=lambda _: self.backend)
        self.runner = Runner(self.machine, root)

    def pod(self, name: str, **more: Any) -> Attachment:
        path = f"/run/netns/{name}"
        if path not in self.backend.names():
            self.backend.create(path)
        return Attachment(container_id=name, netns=path, **more)

    def host(self) -> HostState:
        return self.backend.read({HOST: HostState()})[HOST]

    def devices(self) -> set[str]:
        return {link.name for link in self.host().all(Link)} - {"lo"}

    def call(self, kind: str, command: str, config: dict[str, Any], *, container: str = "c1", **more: str) -> Any:
        env = {"CNI_CONTAINERID": container, "CNI_IFNAME": "eth0", "CNI_NETNS": f"/run/netns/{container}", **more}
        said = self.machine.call(kind, command, config, env)
        return orjson.loads(said) if said else None


def network(*plugins: dict[str, Any], version: str = "1.1.0", name: str = "lan", **more: Any) -> NetworkList:
    return parse({"cniVersion": version, "name": name, "plugins": list(plugins), **more})


def bridge(**more: Any) -> dict[str, Any]:
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]]}
    return {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipam": ipam, **more}
