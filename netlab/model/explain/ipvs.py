"""IPVS virtual services: ipvsadm."""

from __future__ import annotations

from netlab.base.addresses import Address
from netlab.model.explain.command import Command, command, option
from netlab.model.ipvs import IpvsDestination, IpvsService, edits

_SERVICE = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_VERBS = {"add": "-a", "edit": "-e", "delete": "-d"}
_METHOD = {"masq": "-m", "tunnel": "-i", "route": "-g"}


def create(service: IpvsService) -> list[Command]:
    first = _command("-A", service, *_options(service))
    return [first, *(_destination("-a", service, destination) for destination in service.destinations)]


def change(old: IpvsService, new: IpvsService) -> list[Command]:
    head = [_command("-E", new, *_options(new))] if _options(old) != _options(new) else []
    return [*head, *(_destination(_VERBS[verb], new, destination) for verb, destination in edits(old, new))]


def delete(service: IpvsService) -> list[Command]:
    return [_command("-D", service)]


def _command(verb: str, service: IpvsService, *words: str) -> Command:
    name = (_SERVICE[service.protocol], _endpoint(service.address, service.port))
    return command("ipvsadm", verb, *name, *words, why=service.why)


def _options(service: IpvsService) -> tuple[str, ...]:
    return ("-s", service.scheduler, *option("-p", service.persistence))


def _destination(verb: str, service: IpvsService, real: IpvsDestination) -> Command:
    where = ("-r", _endpoint(real.address, real.port))
    if verb == "-d":
        return _command(verb, service, *where)
    weight = ("-w", str(real.weight)) if verb == "-e" or real.weight != 1 else ()
    return _command(verb, service, *where, _METHOD[real.method], *weight)


def _endpoint(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
