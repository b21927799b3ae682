"""The variables that tell of Services: HOSTNAMES_SERVICE_HOST …, and those that docker's links had.

Source: kubernetes pkg/kubelet/envvars, and the documentation of Services ("Discovering services").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netlab.api import Json

#: the Service that every pod is told of, wherever it is
_MASTER = ("default", "kubernetes")


def variables(namespace: str, services: Iterable[Json], master: Iterable[Json], *, linked: bool) -> dict[str, str]:
    """Of a pod's own namespace if `linked` (enableServiceLinks), and of the API server. master: those of `default`."""
    told: dict[str, Json] = {s["metadata"]["name"]: s for s in master if _is_master(s)}
    if linked:
        told |= {s["metadata"]["name"]: s for s in services if s["metadata"]["namespace"] == namespace}
    found: dict[str, str] = {}
    for _, service in sorted(told.items()):
        if service["spec"].get("clusterIP") not in (None, "", "None"):
            found |= _of(service)
    return found


def _is_master(service: Json) -> bool:
    return (service["metadata"]["namespace"], service["metadata"]["name"]) == _MASTER


def _of(service: Json) -> Mapping[str, str]:
    address, ports = service["spec"]["clusterIP"], service["spec"].get("ports") or []
    prefix = _name(service["metadata"]["name"])
    found = {f"{prefix}_SERVICE_HOST": address}
    if ports:  # the first has the plain names, as links had but one
        found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    found |= {f"{prefix}_SERVICE_PORT_{_name(p['name'])}": str(p["port"]) for p in ports if p.get("name")}
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol") or "TCP"
        host = f"[{address}]" if ":" in address else address
        url = f"{protocol.lower()}://{host}:{number}"
        link = f"{prefix}_PORT_{number}_{protocol.upper()}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        found |= {
            link: url, f"{link}_PROTO": protocol.lower(), f"{link}_PORT": number, f"{link}_ADDR": address,
        }  # fmt: skip
    return found


def _name(text: str) -> str:
    return text.upper().replace("-", "_")
