"""ReplicationControllers, which were before ReplicaSets: see `replicas`. Their selector is a map of labels.

Source: kubernetes pkg/controller/replication.
"""

from __future__ import annotations

from netlab.client.resources import Resource
from netlab.controllers.replicas import Replicas


class ReplicationControllers(Replicas):
    """Keys are those of ReplicationControllers."""

    NAME = "replication-controller"
    RESOURCE = Resource("v1", "replicationcontrollers")
    KIND = "ReplicationController"
