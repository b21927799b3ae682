"""loopback: `lo` of a container, up."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

from netlab.cni.machine import Machine
from netlab.cni.plugins.owned import Owned
from netlab.cni.protocol import Call
from netlab.cni.result import Interface, Ip, Result
from netlab.model import HostState, Link, Loopback

#: what the kernel gives to `lo` when it goes up
ADDRESSES = ("127.0.0.1/8", "::1/128")


class LoopbackPlugin(Owned):
    """Other plugins' results go through it as they are."""

    def add(self, call: Call, machine: Machine) -> Result:
        lo = Link(name="lo", kind=Loopback(), why=call.why)
        machine.apply(call.owner, {call.netns: HostState.of([lo])})
        if call.previous is not None:
            return call.previous
        ips = tuple(Ip(address=ip_interface(text), interface=0) for text in ADDRESSES)
        mine = Interface(name="lo", mac="00:00:00:00:00:00", sandbox=call.netns)
        return replace(Result(ips=ips), interfaces=(mine,))


PLUGIN = LoopbackPlugin()
