"""IPVS requests and answers as messages, without a kernel that has IPVS."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.ipvs import (
    IPVS_CMD_DEL_DEST,
    IPVS_CMD_DEL_SERVICE,
    IPVS_CMD_NEW_DEST,
    IPVS_CMD_NEW_SERVICE,
    IPVS_CMD_SET_DEST,
    IPVS_CMD_SET_SERVICE,
)

from netlab.kernel import generic, ipvs
from netlab.kernel.rtnl import wire
from netlab.model import IpvsDestination, IpvsService
from netlab.model.diff import Change, Create, Delete

WEB = IpvsService(
    protocol="tcp",
    address=ip_address("10.96.0.10"),
    port=80,
    scheduler="rr",
    destinations=(
        IpvsDestination(ip_address("10.244.1.5"), 8080),
        IpvsDestination(ip_address("10.244.2.7"), 8080, weight=0),
    ),
)
SIX = IpvsService(
    protocol="udp",
    address=ip_address("fd00:96::a"),
    port=53,
    scheduler="sh",
    persistence=10800,
    destinations=(IpvsDestination(ip_address("fd00:244::5"), 53, method="tunnel"),),
)


def sent(message: bytes) -> Any:
    """What pyroute2 makes of the bytes of a message."""
    received = ipvs.Message(wire.message(0x20, 0, 0, message))
    received.decode()
    return received


@pytest.mark.parametrize("service", [WEB, SIX])
def test_a_service_survives_the_wire(service: IpvsService) -> None:
    message = sent(ipvs.message(IPVS_CMD_NEW_SERVICE, service))
    assert message["cmd"] == IPVS_CMD_NEW_SERVICE
    assert ipvs.decode_service(message) == replace(service, destinations=())


@pytest.mark.parametrize("service", [WEB, SIX])
def test_a_destination_survives_the_wire(service: IpvsService) -> None:
    for destination in service.destinations:
        message = sent(ipvs.message(IPVS_CMD_NEW_DEST, service, destination))
        assert ipvs.decode_destination(message, 0) == destination
        names = [name for name, *_ in message.get_attr("IPVS_CMD_ATTR_SERVICE")["attrs"]]
        assert "IPVS_SVC_ATTR_SCHED_NAME" not in names, "naming a service must not change it"


def test_the_netmask_of_ipv6_is_a_prefix_length_in_host_order() -> None:
    message = sent(ipvs.message(IPVS_CMD_NEW_SERVICE, SIX))
    mask = message.get_attr("IPVS_CMD_ATTR_SERVICE").get_attr("IPVS_SVC_ATTR_NETMASK")
    assert int.from_bytes(ip_address(mask).packed, sys.byteorder) == 128


def test_a_service_by_firewall_mark_is_passed_over() -> None:
    message = ipvs.Message()
    message["cmd"] = IPVS_CMD_NEW_SERVICE
    message["attrs"] = [["IPVS_CMD_ATTR_SERVICE", {"attrs": [["IPVS_SVC_ATTR_AF", 2], ["IPVS_SVC_ATTR_FWMARK", 7]]}]]
    assert ipvs.decode_service(sent(generic.encoded(message))) is None


def commands(op: Create | Change | Delete) -> list[int]:
    return [sent(message)["cmd"] for message, _ in ipvs.requests(op)]


def test_operations_touch_only_what_differs() -> None:
    first, second = WEB.destinations
    third = IpvsDestination(ip_address("10.244.3.9"), 8080)
    assert commands(Create(WEB)) == [IPVS_CMD_NEW_SERVICE, IPVS_CMD_NEW_DEST, IPVS_CMD_NEW_DEST]
    assert commands(Delete(WEB)) == [IPVS_CMD_DEL_SERVICE]
    assert commands(Change(WEB, replace(WEB, destinations=(first, third)))) == [IPVS_CMD_NEW_DEST, IPVS_CMD_DEL_DEST]
    heavier = replace(WEB, destinations=(first, replace(second, weight=1)))
    assert commands(Change(WEB, heavier)) == [IPVS_CMD_SET_DEST]
    assert commands(Change(WEB, replace(WEB, scheduler="wrr"))) == [IPVS_CMD_SET_SERVICE]
    assert commands(Change(WEB, WEB)) == []


weights = st.dictionaries(st.integers(1, 4), st.integers(0, 2))


@given(weights, weights)
def test_a_service_that_has_somebody_to_serve_it_has_so_all_the_time(old: dict[int, int], new: dict[int, int]) -> None:
    """A moment without is a connection refused."""

    def service(found: dict[int, int]) -> IpvsService:
        ends = tuple(IpvsDestination(ip_address(f"10.0.0.{n}"), 80, weight=weight) for n, weight in found.items())
        return replace(WEB, destinations=ends)

    def serving() -> bool:
        return any(now.values())

    now = dict(old)
    always = serving() and any(new.values())
    for message, _ in ipvs.requests(Change(service(old), service(new))):
        got = sent(message)
        end = got.get_attr("IPVS_CMD_ATTR_DEST")
        number = ipvs._unpacked(end.get_attr("IPVS_DEST_ATTR_ADDR"), socket.AF_INET).packed[-1]
        if got["cmd"] == IPVS_CMD_DEL_DEST:
            del now[number]
        else:
            now[number] = end.get_attr("IPVS_DEST_ATTR_WEIGHT")
        assert serving() or not always, got
    assert now == new
