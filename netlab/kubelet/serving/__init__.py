"""The kubelet's own HTTPS: logs, exec, attach, port-forward, and what the node and its containers use.

`server` answers on port 10250 whoever has a client certificate of the cluster's CA and may reach the node; `spdy` and
`channels` are the two wire protocols of streams, without I/O; `sessions` puts a socket below and a container behind
them. This package refuses to decide anything about pods: what it knows of them it asks of `Pods`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from netlab.api import Json
from netlab.kernel.cgroups import Usage
from netlab.runtime.containers import Runtime


class Pods(Protocol):
    """What the server asks of the kubelet. All but `usage` is called in the event loop, and answers from memory."""

    @property
    def node(self) -> str:
        """The node's name."""

    @property
    def runtime(self) -> Runtime:
        """Where the containers are."""

    def all(self) -> Sequence[Json]:
        """The pods of this node, static ones among them, each with its status as the kubelet knows it now."""

    def get(self, namespace: str, name: str) -> Json | None:
        """One of them. None if this node has no such pod."""

    def container_id(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str | None:
        """The runtime's name of the newest attempt at a container (regular, init or ephemeral), running or ended;
        `previous`: of the attempt before. None if there is none."""

    def netns(self, namespace: str, pod: str) -> str | None:
        """The path of the pod's network namespace (`netns.HERE` of one in the node's own); None if it has no sandbox
        that runs."""

    def usage(self) -> Usage:
        """What the whole node uses. Reads files: called in a thread."""
