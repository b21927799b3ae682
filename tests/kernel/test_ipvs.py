"""IPVS in a namespace, where the kernel has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import ipvs, netns
from netlab.kernel.commands import run_in
from netlab.model import IpvsDestination, IpvsService
from netlab.model.diff import Change, Create, Delete, Op

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@pytest.fixture
def where() -> Iterator[str]:
    name = f"kfw.ipvs-{os.getpid()}"
    os.close(netns.create(name))
    # with lo comes the table of local addresses, without which the kernel refuses every real server
    run_in(name, ["ip", "link", "set", "lo", "up"], check=True)
    yield name
    netns.delete(name)


@pytest.fixture
def able(where: str) -> str:
    try:
        ipvs.read(where)
    except MachineError as e:
        pytest.skip(str(e))
    return where


def test_a_kernel_without_ipvs_is_said(where: str) -> None:
    try:
        assert ipvs.read(where) == []
    except MachineError as e:
        assert "IPVS" in e.message and e.hint and "modprobe ip_vs" in e.hint


def perform(netns: str, *ops: Op) -> None:
    assert tuple(ipvs.perform(netns, ops)) == ops


@pytest.mark.parametrize(("vip", "backend"), [("10.96.0.10", "10.244.1."), ("fd00:96::a", "fd00:244::")])
def test_operations_are_read_back(able: str, vip: str, backend: str) -> None:
    one, two, three = (IpvsDestination(ip_address(f"{backend}{n}"), 8080) for n in (1, 2, 3))
    first = IpvsService(protocol="tcp", address=ip_address(vip), port=80, destinations=(one, two))
    second = replace(first, scheduler="wrr", destinations=(replace(one, weight=0), three))
    third = replace(second, persistence=10800)
    for op in (Create(first), Change(first, second), Change(second, third)):
        perform(able, op)
        assert ipvs.read(able) == [op.item]
    with pytest.raises(KernelError, match="File exists"):
        perform(able, Create(third))
    perform(able, Delete(third), Delete(third))
    assert ipvs.read(able) == []
