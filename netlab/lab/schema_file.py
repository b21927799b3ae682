"""The whole of lab.yaml: the parts of `schema` and the checks of `checkspec` under one roof."""

from __future__ import annotations

from pydantic import Field

from netlab.lab.checkspec import Check
from netlab.lab.schema import Agents, Bgp, Calico, Cluster, Container, Flannel, Label, Network, Node, Strict


class LabFile(Strict):
    """A lab: its parts, and the checks that say whether it is as it should be."""

    name: Label
    title: str = ""
    description: str = ""
    networks: dict[Label, Network] = Field(default_factory=dict)
    nodes: dict[Label, Node] = Field(default_factory=dict)
    containers: dict[Label, Container] = Field(default_factory=dict)
    flannel: Flannel | None = None
    bgp: Bgp | None = None
    calico: Calico | None = None
    agents: Agents | None = None
    cluster: Cluster | None = Field(None, description="instead of all of these: a Kubernetes cluster")
    checks: list[Check] = Field(default_factory=list)
