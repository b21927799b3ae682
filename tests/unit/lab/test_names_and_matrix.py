"""The checks dns and matrix, on a machine that answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dnsworld import cluster
from pydantic import ValidationError

from netlab.compile.topology import File
from netlab.dns import message
from netlab.dns.message import Query
from netlab.dns.records import Records, ZoneConfig
from netlab.lab.checks import Context
from netlab.lab.checks.matrix import matrix
from netlab.lab.checks.names import dns
from netlab.lab.checks.result import CannotProbe, NotYet
from netlab.lab.checkspec import DnsCheck, MatrixCheck
from netlab.lab.machine import Answer

RECORDS = Records(cluster(), ZoneConfig())
CONF = "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local\noptions ndots:5\n"
ADDRESSES = {name: ip_address(f"10.0.0.{i}") for i, name in enumerate("abc", 1)}


class Machine:
    """open: pairs of namespace and target that are let through; silent: no name server answers."""

    def __init__(self, *, opens: set[tuple[str, str]] = frozenset(), silent: bool = False) -> None:  # type: ignore[assignment]
        self.opens, self.silent = opens, silent
        self.asked: list[str] = []

    def probes(self) -> Machine:
        return self

    async def tcp(self, netns: str, to: object, port: int, *, timeout: float) -> Answer:
        target = next(name for name, address in ADDRESSES.items() if address == to)
        return Answer("answered" if (netns, target) in self.opens else "silent")

    async def exchange(self, netns: str, to: object, port: int, data: bytes, *, timeout: float) -> bytes | None:
        if self.silent:
            return None
        query = message.read(data)
        assert isinstance(query, Query) and (str(to), port) == ("10.96.0.10", 53)
        self.asked.append(".".join(query.labels))
        answer = RECORDS.look(query.labels, query.kind)
        return message.reply(query, answer, stream=False) if answer else message.status(query, "REFUSED")


class Here(Context):
    """Namespaces are called as the places in them."""

    def netns(self, place: str) -> str:
        return place

    def addresses(self, place: str) -> list[Any]:
        return [ADDRESSES[place]]


def context(machine: Machine) -> Context:
    topology = SimpleNamespace(files=[File(path="files/a/resolv.conf", content=CONF, why="")])
    return Here(cast(Any, machine), cast(Any, None), cast(Any, topology))


def run(check: Coroutine[Any, Any, str]) -> str:
    return asyncio.run(check)


def look(machine: Machine | None = None, **said: Any) -> str:
    return run(dns(DnsCheck(**{"from": "a", **said}), context(machine or Machine())))


def test_a_name_is_looked_for_along_the_search_list() -> None:
    assert look(name="web-0.nginx", answers=["10.244.0.30"]) == "web-0.nginx.default.svc.cluster.local A: 10.244.0.30"
    assert look(name="10.96.0.5", answers=["hostnames.default.svc.cluster.local."])
    machine = Machine()
    look(machine, name="hostnames.default.svc.cluster.local.", answers=["10.96.0.5"])
    assert machine.asked == ["hostnames.default.svc.cluster.local"]


def test_no_record_of_this_type_is_more_than_what_the_last_name_says() -> None:
    machine = Machine()
    assert look(machine, name="hostnames", type="AAAA", answers=[]).endswith("AAAA: NOERROR")
    assert machine.asked[-1] == "hostnames", "all were tried"


def test_another_answer_is_told() -> None:
    with pytest.raises(NotYet, match=r"A: 10\.244\.0\.30, not 10\.9\.9\.9"):
        look(name="web-0.nginx", answers=["10.9.9.9"])
    with pytest.raises(NotYet, match=r"A: NXDOMAIN, not NOERROR"):
        look(name="gone.default.svc.cluster.local.")
    assert look(name="gone.default.svc.cluster.local.", status="NXDOMAIN")
    with pytest.raises(NotYet, match="no answer"):
        look(Machine(silent=True), name="nginx")
    with pytest.raises(CannotProbe, match=r"no file resolv\.conf"):
        look(name="nginx", **{"from": "b"})


HOME = {(name, name) for name in "abc"}


def pairs(machine: Machine, **allowed: list[str]) -> str:
    return run(matrix(MatrixCheck(among=list("abc"), tcp=80, allowed=allowed), context(machine)))


def test_every_pair_is_tried() -> None:
    machine = Machine(opens=HOME | {("a", "b"), ("b", "c")})
    assert pairs(machine, a=["b"], b=["c"]) == "tcp 80: 2 of 6 pairs, as asked for"
    with pytest.raises(NotYet, match=r"a → b must not; a → c must$"):
        pairs(machine, a=["c"], b=["c"])


def test_who_does_not_serve_proves_nothing() -> None:
    with pytest.raises(CannotProbe, match="b, c does not answer"):
        pairs(Machine(opens={("a", "a")}))
    with pytest.raises(ValidationError, match="not listed in among"):
        MatrixCheck(among=["a", "b"], tcp=80, allowed={"a": ["z"]})
