"""A lease: the subnet that a node has, under a key and with a value that are flannel's, byte for byte.

    /coreos.com/network/subnets/100.96.1.0-24                     {"PublicIP":"10.168.0.2",…}
    /coreos.com/network/subnets/100.96.1.0-24&fc00:0:0:1::-64     dual-stack

Source: flannel pkg/subnet and pkg/lease (v0.12 to v0.28).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from netlab.base.addresses import Network
from netlab.base.errors import NetlabError

_KEY = re.compile(r"^([\d.]+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$")
_NONE4 = IPv4Network("0.0.0.0/0")


class SubnetError(NetlabError):
    """Something about leases that a person has to know of; not every one of them ends the daemon."""


class LeaseLost(SubnetError):
    """The subnet is somebody else's now, or its key was removed: the pods on it can no longer be reached."""


class NoSubnetLeft(SubnetError):
    """All subnets between SubnetMin and SubnetMax are taken."""


class ConfigMissing(SubnetError):
    """The store has no network configuration yet."""


class StoreUnavailable(SubnetError):
    """The store does not answer. The data path goes on; new leases have to wait."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """What one node has: an IPv4 network, an IPv6 network, or both."""

    ipv4: IPv4Network | None
    ipv6: IPv6Network | None = None

    @property
    def key(self) -> str:
        """The last part of the lease's key. An IPv6-only subnet has 0.0.0.0-0 for its IPv4 part, as the original's."""
        first = self.ipv4 or _NONE4
        text = f"{first.network_address}-{first.prefixlen}"
        return text if self.ipv6 is None else f"{text}&{self.ipv6.network_address}-{self.ipv6.prefixlen}"

    @classmethod
    def parse(cls, key: str) -> Subnet:
        """The inverse of `key`; a path in front of it is left out of account. ValueError if it is none."""
        found = _KEY.match(key.rpartition("/")[2])
        if not found:
            raise ValueError(f"{key!r} is not the key of a lease (such as 100.96.1.0-24)")
        ipv4 = IPv4Network(f"{found.group(1)}/{found.group(2)}")
        ipv6 = IPv6Network(f"{found.group(3)}/{found.group(4)}") if found.group(3) else None
        return cls(None if ipv6 and ipv4 == _NONE4 else ipv4, ipv6)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The one or two networks of it."""
        return tuple(network for network in (self.ipv4, self.ipv6) if network)

    def __str__(self) -> str:
        return " and ".join(map(str, self.networks))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseAttrs:
    """Where the node of a lease is and how packets get there: the value under the key.

    backend_data, backend_v6_data: what the backend publishes, JSON objects such as {"VNI": 1, "VtepMAC": "…"}.
    """

    public_ip: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None
    backend_type: str = ""
    backend_data: dict[str, Any] | None = field(default=None, hash=False)
    backend_v6_data: dict[str, Any] | None = field(default=None, hash=False)

    def to_json(self) -> str:
        """As flannel writes it: no blanks, PublicIPv6 null if there is none, empty fields left out."""
        data: dict[str, Any] = {
            "PublicIP": str(self.public_ip or "0.0.0.0"),
            "PublicIPv6": str(self.public_ipv6) if self.public_ipv6 else None,
        }
        if self.backend_type:
            data["BackendType"] = self.backend_type
        if self.backend_data is not None:
            data["BackendData"] = self.backend_data
        if self.backend_v6_data is not None:
            data["BackendV6Data"] = self.backend_v6_data
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | bytes) -> LeaseAttrs:
        """The inverse of `to_json`, also of what older versions write ({"PublicIP":"…"}). ValueError if it is none."""
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError(f"a lease's value is a JSON object, not {data!r}")
        ip, ipv6 = data.get("PublicIP"), data.get("PublicIPv6")
        kind = data.get("BackendType") or ""
        for name, value, wanted in (("PublicIP", ip, str), ("PublicIPv6", ipv6, str), ("BackendType", kind, str)):
            if value is not None and not isinstance(value, wanted):
                raise ValueError(f"{name} is {value!r}, expected a text")
        extra = {}
        for name in ("BackendData", "BackendV6Data"):
            value = data.get(name)
            if value is not None and not isinstance(value, dict):
                raise ValueError(f"{name} is {value!r}, expected an object")
            extra[name] = value
        return cls(
            public_ip=IPv4Address(ip) if ip and ip != "0.0.0.0" else None,
            public_ipv6=IPv6Address(ipv6) if ipv6 and ipv6 != "::" else None,
            backend_type=kind,
            backend_data=extra["BackendData"],
            backend_v6_data=extra["BackendV6Data"],
        )

    def same_node(self, other: LeaseAttrs) -> bool:
        """Whether both are of one node: a node is known by its public address."""
        if self.public_ip or other.public_ip:
            return self.public_ip == other.public_ip
        return self.public_ipv6 is not None and self.public_ipv6 == other.public_ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A subnet of a node.

    expires: seconds since the epoch, None for a reservation, which never expires; revision: the store's own mark of
    the key's last write, opaque to all others.
    """

    subnet: Subnet
    attrs: LeaseAttrs
    expires: float | None = None
    revision: int = field(default=0, compare=False)
