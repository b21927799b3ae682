"""What a Service has because it is to be reached from outside, and gives back when it is not any more. Pure.

Sources: kubernetes pkg/registry/core/service (strategy.go, dropTypeDependentFields) and pkg/apis/core/validation
(validateServiceExternalTrafficPolicy).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netlab.api import Json


def needs_node_ports(spec: Mapping[str, Any]) -> bool:
    """Whether its ports are given node ports unasked."""
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and bool(spec.get("allocateLoadBalancerNodePorts", True)))


def needs_health_port(spec: Mapping[str, Any]) -> bool:
    """Whether a load balancer asks each node if it has endpoints of this Service."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def give_back(spec: Json, was: Mapping[str, Any]) -> None:
    """Leave out what came with a type that the Service had before, unless somebody asks for another value of it."""
    if was.get("type") in ("NodePort", "LoadBalancer") and spec.get("type") not in ("NodePort", "LoadBalancer"):
        before = [p.get("nodePort") for p in was.get("ports") or ()]
        for port in spec.get("ports") or ():
            if port.get("nodePort") in before:
                port.pop("nodePort", None)
        if spec.get("externalTrafficPolicy") == was.get("externalTrafficPolicy") and not spec.get("externalIPs"):
            spec.pop("externalTrafficPolicy", None)
    if was.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(name) == was.get(name):
                spec.pop(name, None)
    same = spec.get("healthCheckNodePort") == was.get("healthCheckNodePort")
    if needs_health_port(was) and not needs_health_port(spec) and same:
        spec.pop("healthCheckNodePort", None)
    elif needs_health_port(was) and needs_health_port(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = was.get("healthCheckNodePort", 0)
