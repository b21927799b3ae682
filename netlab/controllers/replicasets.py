"""ReplicaSets: see `replicas`. Source: kubernetes pkg/controller/replicaset."""

from __future__ import annotations

from netlab.controllers.replicas import Replicas
from netlab.controllers.shape import REPLICA_SETS


class ReplicaSets(Replicas):
    """Keys are those of ReplicaSets."""

    NAME = "replicaset-controller"
    RESOURCE = REPLICA_SETS
    KIND = "ReplicaSet"
