"""Persistent TUN and TAP devices: the one kind of device that is made by ioctl, not by netlink (linux/if_tun.h)."""

from __future__ import annotations

import fcntl
import os
import struct

from netlab.base.errors import MachineError
from netlab.model.links import Tun

TUNSETIFF, TUNSETPERSIST, TUNSETIFINDEX = 0x400454CA, 0x400454CB, 0x400454DA
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x1, 0x2, 0x1000, 0x4000, 0x100
DEVICE = "/dev/net/tun"


def create(name: str, tun: Tun, index: int) -> None:
    """Make the device in the calling thread's namespace, to stay when nobody holds it open."""
    flags = IFF_TAP if tun.mode == "tap" else IFF_TUN
    flags |= 0 if tun.packet_info else IFF_NO_PI
    flags |= (IFF_VNET_HDR if tun.vnet_hdr else 0) | (IFF_MULTI_QUEUE if tun.multi_queue else 0)
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MachineError(f"there is no {DEVICE}", hint="modprobe tun") from None
    try:
        fcntl.ioctl(fd, TUNSETIFINDEX, struct.pack("=I", index))
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH14x", name.encode(), flags))
        fcntl.ioctl(fd, TUNSETPERSIST, 1)
    finally:
        os.close(fd)
