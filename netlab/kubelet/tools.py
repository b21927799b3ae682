"""What the workers of a node share."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.client.rest import RestClient
from netlab.kubelet.engine import Engine
from netlab.kubelet.handlers import Asker, Target
from netlab.kubelet.imaging import Images
from netlab.kubelet.needs import Clock, Making, Network, Says


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """host_ips: the node's; logs: below which the containers write; follow: see to it that what a pod refers to is
    known."""

    client: RestClient
    engine: Engine
    making: Making
    images: Images
    network: Network
    asker: Asker
    says: Says
    host_ips: Sequence[Address]
    logs: Path
    clock: Clock
    follow: Callable[[Json], Awaitable[None]]

    def log_directory(self, pod: Json) -> Path:
        """Where all containers of a pod write."""
        meta = pod["metadata"]
        return self.logs / f"{meta.get('namespace', '')}_{meta['name']}_{meta['uid']}"

    def forget_logs(self, pod: Json) -> None:
        """Nobody will read them."""
        shutil.rmtree(self.log_directory(pod), ignore_errors=True)

    def forget_other_logs(self, known: Container[str]) -> None:
        """Nor those of pods that nobody knows any more. known: uids."""
        for directory in sorted(self.logs.iterdir()) if self.logs.is_dir() else ():
            if directory.name.count("_") == 2 and directory.name.rpartition("_")[2] not in known:
                shutil.rmtree(directory, ignore_errors=True)

    def teller(self, pod: Json, container: str) -> Callable[[str, str, bool], None]:
        """Says things about one container."""

        def tell(reason: str, message: str, warning: bool) -> None:
            self.says(pod, reason, message, container=container, warning=warning)

        return tell

    def target(self, id: str, container: Json, ips: Sequence[str]) -> Target:
        """Whom probes and hooks ask."""
        return Target(id=id, ip=ips[0] if ips else "", container=container)
