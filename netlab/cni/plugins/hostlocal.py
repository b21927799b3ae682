"""addresses out of ranges, remembered in files on this host.

    {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]],
     "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/var/lib/cni/networks"}

One address may be asked for: by the capability `ips`, by args.cni.ips, or by IP= in CNI_ARGS.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from pathlib import Path

from netlab.base.addresses import Address
from netlab.cni import ranges
from netlab.cni.book import DIRECTORY, Book
from netlab.cni.errors import CniError, Code
from netlab.cni.machine import Machine
from netlab.cni.protocol import Call
from netlab.cni.result import Dns, Ip, Result


class HostLocal:
    """An address plugin: it is called by another plugin, with that one's configuration."""

    def add(self, call: Call, machine: Machine) -> Result:
        ipam = call.config.inner("ipam")
        sets = ranges.read(ipam)
        asked = _asked(call)
        strange = [str(a) for a in asked if not any(a in r for one in sets for r in one)]
        if strange:
            raise CniError(Code.NO_ADDRESS, f"{', '.join(strange)}: asked for, and in no range of {call.network}")
        got = _book(call, machine).reserve((call.container_id, call.ifname), sets, asked)
        gateways = [next(r.gateway for r in one if a.ip in r) for a, one in zip(got, sets, strict=True)]
        ips = tuple(Ip(address=a, gateway=g) for a, g in zip(got, gateways, strict=True))
        return Result(ips=ips, routes=Result.of({"routes": ipam.data.get("routes")}, ipam.place).routes, dns=_dns(call))

    def delete(self, call: Call, machine: Machine) -> None:
        _book(call, machine).release((call.container_id, call.ifname))

    def check(self, call: Call, machine: Machine) -> None:
        holder = (call.container_id, call.ifname)
        if not any(whose == holder for _, whose in _book(call, machine).entries()):
            raise CniError(Code.CHECK, f"{call.container_id} has no address of {call.network}")

    def status(self, call: Call, machine: Machine) -> None:
        ipam = call.config.inner("ipam")
        taken = {address for address, _ in _book(call, machine).entries()}
        for one in ranges.read(ipam):
            try:
                ranges.pick(one, taken, None)
            except CniError as e:
                raise CniError(Code.LIMITED, f"{e.message}: containers of {call.network} get none", e.details) from e

    def gc(self, call: Call, machine: Machine) -> None:
        _book(call, machine).keep(call.valid())


def _book(call: Call, machine: Machine) -> Book:
    given = call.config.inner("ipam").text("dataDir")
    return Book((Path(given) if given else machine.root / DIRECTORY) / call.network)


def _asked(call: Call) -> tuple[Address, ...]:
    texts = [*call.runtime.texts("ips"), *call.config.inner("args").inner("cni").texts("ips")]
    texts += [text for text in call.args.get("IP", "").split(",") if text]
    try:
        return tuple(ip_interface(text).ip if "/" in text else ip_address(text) for text in texts)
    except ValueError as e:
        raise CniError(Code.CONFIG, f"an address was asked for that is none: {e}") from e


def _dns(call: Call) -> Dns:
    """resolvConf is a file of resolv.conf(5), to be handed on as the result's dns."""
    path = call.config.inner("ipam").text("resolvConf")
    if not path:
        return Dns()
    try:
        lines = [line.split() for line in Path(path).read_text().splitlines() if not line.startswith(("#", ";"))]
    except OSError as e:
        raise CniError(Code.IO, f"resolvConf {path} cannot be read: {e.strerror}") from e

    def words(key: str) -> tuple[str, ...]:
        return tuple(word for line in lines if line[:1] == [key] for word in line[1:])

    return Dns(
        nameservers=words("nameserver"), domain=" ".join(words("domain")), search=words("search"),
        options=words("options"),
    )  # fmt: skip


PLUGIN = HostLocal()
