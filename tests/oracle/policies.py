"""NetworkPolicy, evaluated straight from the facts (the specification's points N1 to N20) and from no compiler's idea.

Works on the API objects as they are written: plain dicts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

Obj = Mapping[str, Any]


def selects(selector: Obj | None, labels: Mapping[str, str]) -> bool:
    selector = selector or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if key not in labels or labels[key] != value:
            return False
    for term in selector.get("matchExpressions") or ():
        key, operator = term["key"], term["operator"]
        if operator == "In" and not (key in labels and labels[key] in term["values"]):
            return False
        if operator == "NotIn" and key in labels and labels[key] in term["values"]:  # N6: lacking it is fine
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True


def pod_like(pod: Obj | None) -> bool:
    """N15, N18: a pod of the node's network is the node; one that has finished is nobody."""
    if pod is None or pod["spec"].get("hostNetwork"):
        return False
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


class Cluster:
    def __init__(self, objects: Sequence[Obj]) -> None:
        self.pods = [o for o in objects if o["kind"] == "Pod"]
        self.policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
        self.spaces = {
            o["metadata"]["name"]: o["metadata"].get("labels") or {} for o in objects if o["kind"] == "Namespace"
        }

    def space_labels(self, name: str) -> dict[str, str]:
        return {"kubernetes.io/metadata.name": name, **self.spaces.get(name, {})}

    def pod_at(self, ip: str) -> Obj | None:
        for pod in self.pods:
            ips = [p["ip"] for p in pod["status"].get("podIPs", ())] or [pod["status"].get("podIP")]
            if ip in ips and pod_like(pod):
                return pod
        return None

    def types(self, policy: Obj) -> list[str]:
        spec = policy["spec"]
        if spec.get("policyTypes"):
            return list(spec["policyTypes"])
        return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]  # N1

    def peer(self, policy: Obj, peer: Obj, ip: str) -> bool:
        pod = self.pod_at(ip)
        block = peer.get("ipBlock")
        if block is not None:
            address = ipaddress.ip_address(ip)
            inside = address in ipaddress.ip_network(block["cidr"], strict=False)
            return inside and not any(address in ipaddress.ip_network(e) for e in block.get("except") or ())  # N11
        if pod is None:
            return False
        own = policy["metadata"]["namespace"]
        space = pod["metadata"]["namespace"]
        if peer.get("namespaceSelector") is None:
            if space != own:  # N4
                return False
        elif not selects(peer["namespaceSelector"], self.space_labels(space)):
            return False
        return peer.get("podSelector") is None or selects(peer["podSelector"], pod["metadata"].get("labels") or {})

    def port(self, port: Obj, protocol: str, number: int, target: str) -> bool:
        if (port.get("protocol") or "TCP").lower() != protocol:  # N7
            return False
        wanted = port.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, int):
            return wanted <= number <= (port.get("endPort") or wanted)  # N9
        pod = self.pod_at(target)  # N8: of the destination, whichever side the policy is for
        for container in pod["spec"].get("containers") or () if pod else ():
            for declared in container.get("ports") or ():
                same = (declared.get("protocol") or "TCP").lower() == protocol
                if same and declared.get("name") == wanted and declared["containerPort"] == number:
                    return True
        return False

    def half(self, pod: Obj, other: str, target: str, protocol: str, number: int, direction: str) -> bool:
        key = "from" if direction == "Ingress" else "to"
        isolated = False
        for policy in self.policies:
            if policy["metadata"]["namespace"] != pod["metadata"]["namespace"] or direction not in self.types(policy):
                continue
            if not selects(policy["spec"].get("podSelector"), pod["metadata"].get("labels") or {}):
                continue
            isolated = True
            for rule in policy["spec"].get(direction.lower()) or ():
                peers, ports = rule.get(key) or (), rule.get("ports") or ()
                fits = not peers or any(self.peer(policy, p, other) for p in peers)  # N3
                if fits and (not ports or any(self.port(p, protocol, number, target) for p in ports)):  # N10
                    return True
        return not isolated

    def allowed(self, source: str, target: str, protocol: str, number: int, nodes: Mapping[str, str]) -> bool:
        """nodes: each node's name to its address."""
        if source == target:
            return True  # N14
        a, b = self.pod_at(source), self.pod_at(target)
        if b is not None and nodes.get(b["spec"].get("nodeName", "")) == source:
            return True  # N14
        if a is not None and nodes.get(a["spec"].get("nodeName", "")) == target:
            return True
        egress = a is None or self.half(a, target, target, protocol, number, "Egress")
        ingress = b is None or self.half(b, source, target, protocol, number, "Ingress")
        return egress and ingress  # N12
