"""subnet.env: what flanneld tells the CNI plugin and the container engine of its node, and its own successor.

    FLANNEL_NETWORK=100.96.0.0/16
    FLANNEL_SUBNET=100.96.1.1/24
    FLANNEL_MTU=1450
    FLANNEL_IPMASQ=true

Source: flannel pkg/subnet/subnet.go, WriteSubnetFile (v0.28).
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import TypeVar

from netlab.base.addresses import Interface, Network
from netlab.base.errors import InputError, MachineError, Problem
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Subnet

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFAULT_PATH = Path("/run/flannel/subnet.env")

_MTU_MAX = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetEnv:
    """The file's content. gateway: the first address of the subnet with the subnet's length, where cni0 will be.

    Each family has both of its values or none. mtu: bytes; masq: whether flanneld masquerades, so that the bridge
    must not.
    """

    network: IPv4Network | None
    gateway: IPv4Interface | None
    ipv6_network: IPv6Network | None = None
    ipv6_gateway: IPv6Interface | None = None
    mtu: int
    masq: bool

    @classmethod
    def of(cls, config: NetworkConfig, subnet: Subnet, *, mtu: int, masq: bool) -> SubnetEnv:
        """What a node with this subnet of this network writes."""
        ipv4, ipv6 = config.ipv4 and config.ipv4.network, config.ipv6 and config.ipv6.network
        assert ipv4 is None or isinstance(ipv4, IPv4Network)
        assert ipv6 is None or isinstance(ipv6, IPv6Network)
        own4, own6 = subnet.ipv4 if ipv4 else None, subnet.ipv6 if ipv6 else None
        return cls(
            network=ipv4 if own4 else None,
            gateway=IPv4Interface((own4.network_address + 1, own4.prefixlen)) if own4 else None,
            ipv6_network=ipv6 if own6 else None,
            ipv6_gateway=IPv6Interface((own6.network_address + 1, own6.prefixlen)) if own6 else None,
            mtu=mtu,
            masq=masq,
        )

    @property
    def subnet(self) -> Subnet:
        """The subnet that the gateway is of."""
        return Subnet(
            self.gateway.network if self.gateway else None, self.ipv6_gateway.network if self.ipv6_gateway else None
        )

    def render(self) -> str:
        """The file's text, lines in the original's order."""
        pairs = [
            ("FLANNEL_NETWORK", self.network),
            ("FLANNEL_SUBNET", self.gateway),
            ("FLANNEL_IPV6_NETWORK", self.ipv6_network),
            ("FLANNEL_IPV6_SUBNET", self.ipv6_gateway),
            ("FLANNEL_MTU", self.mtu),
            ("FLANNEL_IPMASQ", str(self.masq).lower()),
        ]
        return "".join(f"{name}={value}\n" for name, value in pairs if value is not None)

    @classmethod
    def parse(cls, text: str, *, place: str) -> SubnetEnv:
        """The inverse of `render`; comments, blank lines and unknown names are left out of account.

        InputError with every problem found; place: the file's name, for the messages.
        """
        reading = _Reading(text, place)
        env = reading.env()
        if env is None:
            raise InputError(reading.problems)
        return env


class _Reading:
    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self.problems: list[Problem] = []
        self.values: dict[str, tuple[int, str]] = {}
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            name, equals, value = line.partition("=")
            if equals:
                self.values[name.strip()] = (number, value.strip().strip("\"'"))
            else:
                self.problems.append(Problem(f"{place}:{number}", f"{line[:60]!r} is not NAME=VALUE"))

    def env(self) -> SubnetEnv | None:
        network = self.read("FLANNEL_NETWORK", IPv4Network, "a network such as 100.96.0.0/16")
        gateway = self.read("FLANNEL_SUBNET", _gateway4, "an address with a length such as 100.96.1.1/24")
        network6 = self.read("FLANNEL_IPV6_NETWORK", IPv6Network, "a network such as fd00:10::/48")
        gateway6 = self.read("FLANNEL_IPV6_SUBNET", _gateway6, "an address with a length such as fd00:10:0:1::1/64")
        mtu = self.read("FLANNEL_MTU", _mtu, f"a number from 1 to {_MTU_MAX}")
        ipmasq = self.read("FLANNEL_IPMASQ", _flag, "true or false")
        self.together("FLANNEL_NETWORK", network, "FLANNEL_SUBNET", gateway)
        self.together("FLANNEL_IPV6_NETWORK", network6, "FLANNEL_IPV6_SUBNET", gateway6)
        if not {"FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"} & self.values.keys():
            self.problems.append(Problem(self.place, "neither FLANNEL_SUBNET nor FLANNEL_IPV6_SUBNET is there"))
        for name in ("FLANNEL_MTU", "FLANNEL_IPMASQ"):
            if name not in self.values:
                self.problems.append(Problem(self.place, f"{name} is missing"))
        if self.problems or mtu is None or ipmasq is None:
            return None
        return SubnetEnv(
            network=network, gateway=gateway, ipv6_network=network6, ipv6_gateway=gateway6, mtu=mtu, masq=ipmasq
        )

    def read(self, name: str, kind: Callable[[str], T], expected: str) -> T | None:
        if name not in self.values:
            return None
        number, value = self.values[name]
        try:
            return kind(value)
        except ValueError:
            self.problems.append(Problem(f"{self.place}:{number}", f"{name} is {value[:60]!r}, expected {expected}"))
            return None

    def together(self, name: str, network: Network | None, other: str, gateway: Interface | None) -> None:
        here = {name, other} & self.values.keys()
        if len(here) == 1:
            self.problems.append(Problem(self.place, f"{here.pop()} is there without its other half"))
        elif network is not None and gateway is not None and gateway.ip not in network:
            self.problems.append(Problem(self.place, f"{other} {gateway} is not in {name} {network}"))


def _gateway4(text: str) -> IPv4Interface:
    if "/" not in text:
        raise ValueError(text)
    return IPv4Interface(text)


def _gateway6(text: str) -> IPv6Interface:
    if "/" not in text or "%" in text:
        raise ValueError(text)
    return IPv6Interface(text)


def _mtu(text: str) -> int:
    mtu = int(text)
    if not 0 < mtu <= _MTU_MAX:
        raise ValueError(text)
    return mtu


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def read(path: Path) -> SubnetEnv | None:
    """The file's content, None if there is no file. InputError if it makes no sense, MachineError."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as e:
        raise InputError([Problem(str(path), f"is not a text: {e}")]) from e
    except OSError as e:
        raise MachineError(f"{path} cannot be read: {e.strerror}") from e
    return SubnetEnv.parse(text, place=str(path))


def previous(path: Path, *, report: Callable[[str], None] = log.warning) -> Subnet | None:
    """The subnet that this node had before it was restarted, None if that is not known.

    A file that makes no sense is reported and no reason to stop: it is only a wish, and will be written anew.
    """
    try:
        found = read(path)
    except (InputError, MachineError) as e:
        report(f"the previous subnet is not known: {e}")
        return None
    return found.subnet if found else None


def write(path: Path, env: SubnetEnv) -> None:
    """Put the file in place as a whole, readable for all: a reader sees the old one or the new one. MachineError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 (a descriptor, not a path)
                file.write(env.render())
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as e:
        raise MachineError(f"{path} cannot be written: {e.strerror}") from e
