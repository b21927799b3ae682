"""What only the whole lab shows: subnets that overlap, gateways that nobody is."""

from __future__ import annotations

from netlab.base.addresses import Network
from netlab.base.errors import Problem
from netlab.base.yamlfile import Location
from netlab.lab.resolving.desk import Desk
from netlab.model import Bridge, Vxlan


def overlaps(desk: Desk) -> None:
    """No host may have one address range twice, and no two networks the same."""
    seen: list[tuple[Network, str, Location]] = []
    for name, network in desk.lab.networks.items():
        for i, subnet in enumerate(network.subnets):
            _overlap(desk, seen, subnet, f"network {name}", ("networks", name, "subnets", i))
    for name in desk.lab.nodes:
        draft = desk.drafts.get(name)
        here: list[tuple[Network, str, Location]] = []
        for device in draft.devices.values() if draft else ():
            if device.master or isinstance(device.kind, Vxlan):
                continue
            kind = "bridges" if isinstance(device.kind, Bridge) else "interfaces"
            for i, address in enumerate(device.addresses):
                path: Location = ("nodes", name, kind, device.name, "addresses", i)
                _overlap(desk, here, address.network, f"{device.name} of {name}", path)


def _overlap(desk: Desk, seen: list[tuple[Network, str, Location]], subnet: Network, what: str, path: Location) -> None:
    for other, whose, where in seen:
        if other.version == subnet.version and other.overlaps(subnet) and whose != what:
            text = f"subnet {subnet} of {what} overlaps {other} of {whose}, at {desk.document.place(where)}"
            desk.problem(path, text, "one host cannot tell two networks with the same addresses apart")
            return
    seen.append((subnet, what, path))


def gateways(desk: Desk) -> None:
    """A gateway must be in a subnet of the device that leads to it."""
    for name, draft in desk.drafts.items():
        section = "containers" if draft.role == "container" else "nodes"
        for route in draft.parts.get("routes", []):
            device = draft.devices.get(route.dev or "")
            if route.via is None or route.onlink or device is None or route.via.version != route.to.version:
                continue
            if route.via.version == 6 and route.via.is_link_local:
                continue
            subnets = [a.network for a in device.addresses if a.version == route.via.version]
            if not any(route.via in s for s in subnets):
                listed = ", ".join(map(str, subnets)) or "none of that family"
                text = f"gateway {route.via} is outside the subnets of {device.name} ({listed})"
                desk.problems.append(
                    Problem(route.why.rpartition(" (")[0], f"{section}.{name}: {text}", "a gateway must be a neighbour")
                )
