"""Persistent TUN and TAP devices: the one kind of device that is made by ioctl, not by netlink (linux/if_tun.h)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

from netlab.base.errors import KernelError, MachineError
from netlab.model.links import Tun

TUNSETIFF, TUNSETPERSIST, TUNSETIFINDEX = 0x400454CA, 0x400454CB, 0x400454DA
TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454D0, 0x400454D8
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x1, 0x2, 0x1000, 0x4000, 0x100
TUN_F_CSUM, TUN_F_TSO4, TUN_F_USO4, TUN_F_USO6 = 0x01, 0x02, 0x20, 0x40
VNET_HDR_LEN = 10  # struct virtio_net_hdr without num_buffers
DEVICE = "/dev/net/tun"


@dataclass(frozen=True, slots=True)
class Opened:
    """An open queue of a device, and what the kernel has agreed to.

    fd: non-blocking, the caller's to close; vnet_hdr: each packet is preceded by 10 bytes of struct virtio_net_hdr in
    the machine's byte order; tso4, uso4: TCP and UDP over IPv4 may come as super packets of up to 64 KiB.
    """

    fd: int
    vnet_hdr: bool = False
    tso4: bool = False
    uso4: bool = False


def _open() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MachineError(f"there is no {DEVICE}", hint="modprobe tun") from None


def create(name: str, tun: Tun, index: int) -> None:
    """Make the device in the calling thread's namespace, to stay when nobody holds it open."""
    flags = IFF_TAP if tun.mode == "tap" else IFF_TUN
    flags |= 0 if tun.packet_info else IFF_NO_PI
    flags |= (IFF_VNET_HDR if tun.vnet_hdr else 0) | (IFF_MULTI_QUEUE if tun.multi_queue else 0)
    fd = _open()
    try:
        fcntl.ioctl(fd, TUNSETIFINDEX, struct.pack("=I", index))
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH14x", name.encode(), flags))
        fcntl.ioctl(fd, TUNSETPERSIST, 1)
    finally:
        os.close(fd)


def open_device(name: str, *, offload: bool = True) -> Opened:
    """Open the persistent TUN device (mode tun, no packet information) in the calling thread's namespace.

    offload: ask for super packets, and take what the kernel gives; without it, and where the kernel gives nothing, one
    read is one packet without any header. The flags become those of the device, as `ip -d link` shows: a HostState
    that is to stay true says `Tun(vnet_hdr=True)` for the one and not for the other. KernelError if there is no such
    device, if it is of another kind, or if somebody holds it open.
    """
    try:
        socket.if_nametoindex(name)  # TUNSETIFF would make what it does not find
    except OSError as e:
        raise KernelError(f"there is no device {name}", errno_=errno.ENODEV) from e
    fd = _open()
    try:
        if offload:
            opened = _negotiate(fd, name)
            if opened:
                return opened
            os.close(fd)
            fd = _open()
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
        fcntl.ioctl(fd, TUNSETOFFLOAD, 0)  # the device remembers what a daemon before us has asked for
    except OSError as e:
        os.close(fd)
        hint = "another process holds it open" if e.errno == errno.EBUSY else None
        raise KernelError(f"open the TUN device {name}: {e.strerror}", errno_=e.errno or 0, hint=hint) from e
    return Opened(fd)


def _negotiate(fd: int, name: str) -> Opened | None:
    """The device with as much as the kernel can; None if it has no offloads at all."""
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH14x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
        return None
    # USO (Linux 6.2) is only taken for both families at once
    for wanted in (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_USO4 | TUN_F_USO6, TUN_F_CSUM | TUN_F_TSO4):
        try:
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("=i", VNET_HDR_LEN))
            fcntl.ioctl(fd, TUNSETOFFLOAD, wanted)
        except OSError as e:
            if e.errno != errno.EINVAL:
                raise
        else:
            return Opened(fd, vnet_hdr=True, tso4=True, uso4=bool(wanted & TUN_F_USO4))
    return None
