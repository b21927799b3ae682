"""Rows of Services and of what stands around them."""

from __future__ import annotations

from typing import Any

from netlab.api import Json
from netlab.api.columns.ages import age
from netlab.api.selectors import as_text


def _age(obj: Json, now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _external(spec: Json, status: Json) -> str:
    addresses = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "LoadBalancer":
            given = (status.get("loadBalancer") or {}).get("ingress") or ()
            found = [i.get("ip") or i.get("hostname", "") for i in given]
            return ",".join(found + addresses) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case _:
            return ",".join(addresses) or "<none>"


def service(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ports = []
    for p in spec.get("ports") or ():
        text = f"{p.get('port')}:{p['nodePort']}" if p.get("nodePort") else str(p.get("port"))
        ports.append(f"{text}/{p.get('protocol', 'TCP')}")
    chosen = spec.get("selector") or {}
    return [
        obj["metadata"]["name"], spec.get("type", ""), spec.get("clusterIP") or "<none>", _external(spec, status),
        ",".join(ports) or "<none>", _age(obj, now),
        ",".join(f"{k}={v}" for k, v in sorted(chosen.items())) or "<none>",
    ]  # fmt: skip


def _host_port(ip: str, port: Any) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def endpoints(obj: Json, now: float) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        for address in subset.get("addresses") or ():
            ports = subset.get("ports") or ()
            found += [_host_port(address.get("ip", ""), p.get("port")) for p in ports] or [address.get("ip", "")]
    text = ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")
    return [obj["metadata"]["name"], text or "<none>", _age(obj, now)]


def _few(values: list[str], limit: int = 3) -> str:
    return ",".join(values[:limit]) + (f" + {len(values) - limit} more..." if len(values) > limit else "")


def endpoint_slice(obj: Json, now: float) -> list[Any]:
    if obj.get("ports") is None:
        ports = "*"
    else:
        ports = _few([str(p["port"]) if p.get("port") else "*" for p in obj["ports"]]) or "<unset>"
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        obj["metadata"]["name"], obj.get("addressType", ""), ports, _few(addresses) or "<unset>", _age(obj, now),
    ]  # fmt: skip


def ingress(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    hosts = [r["host"] for r in spec.get("rules") or () if r.get("host")]
    text = ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")
    given = (status.get("loadBalancer") or {}).get("ingress") or ()
    return [
        obj["metadata"]["name"], spec.get("ingressClassName") or "<none>", text or "*",
        ",".join(i.get("ip") or i.get("hostname", "") for i in given), "80, 443" if spec.get("tls") else "80",
        _age(obj, now),
    ]  # fmt: skip


def ingress_class(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    p = spec.get("parameters")
    parameters = "<none>"
    if p:
        group = f".{p['apiGroup']}" if p.get("apiGroup") else ""
        parameters = f"{p.get('kind')}{group}/{p.get('name')}"
    return [obj["metadata"]["name"], spec.get("controller", ""), parameters, _age(obj, now)]


def network_policy(obj: Json, now: float) -> list[Any]:
    text = as_text((obj.get("spec") or {}).get("podSelector")) or "<none>"
    return [obj["metadata"]["name"], text, _age(obj, now)]


def service_cidr(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], ",".join((obj.get("spec") or {}).get("cidrs") or ()), _age(obj, now)]


def ip_address(obj: Json, _now: float) -> list[Any]:
    ref = (obj.get("spec") or {}).get("parentRef") or {}
    parts = [ref.get(k) for k in ("group", "resource", "namespace", "name")]
    parent = f"{parts[1]}{f'.{parts[0]}' if parts[0] else ''}" + "".join(f"/{p}" for p in parts[2:] if p)
    return [obj["metadata"]["name"], parent]
