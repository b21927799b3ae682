"""Command lines: what virtme-ng is asked, and what is made of its answer. Pure.

virtme-run would start QEMU itself, between us and it: its death would leave QEMU behind. So it is asked for the command
line and the initramfs only, and QEMU becomes our own child.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from netlab.base.errors import InputError, KernelError, Problem
from netlab.vm import guest
from netlab.vm.kernels import Kernel

PROGRAM = "qemu-system-x86_64"


class Size(NamedTuple):
    """cpus: virtual processors; memory: MiB."""

    cpus: int
    memory: int


def memory(text: str) -> int:
    """`2048`, `2048M` or `2G` as MiB. InputError for anything else, and for less than a kernel and an overlay need."""
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].isalpha() else (text, "M")
    if not number.isdecimal() or unit not in ("M", "G"):
        raise InputError([Problem("--memory", f"{text!r} is no size", "MiB, or with a unit: 2048, 2048M, 2G")])
    size = int(number) * (1024 if unit == "G" else 1)
    if size < 512:
        raise InputError(
            [Problem("--memory", f"{size} MiB is not enough", "512 at least; what is written is in memory")]
        )
    return size


def virtme_command(
    virtme_run: str, kernel: Kernel, *, size: Size, kvm: bool, share: Path, writable: Sequence[str], initramfs: Path
) -> list[str]:
    """The question: how would virtme-run start QEMU?"""
    directories = {guest.LOWER: "/", guest.SHARE: str(share)}
    rw = {f"{guest.WRITABLE}{number}": directory for number, directory in enumerate(writable)}
    return [
        virtme_run,
        *("--kimg", str(kernel.image), "--mods", "auto" if kernel.modules else "none"),
        # 9p: QEMU has it built in; the virtiofsd that comes with Debian 12's QEMU is not one that virtme-ng can use
        *("--root", "/", "--force-9p", "--force-initramfs"),
        *([] if kvm else ["--disable-kvm"]),
        *("--cpus", str(size.cpus), "--memory", f"{size.memory}M"),
        *("--rodir", f"{guest.LOWER}={directories[guest.LOWER]}", "--rwdir", f"{guest.SHARE}={share}"),
        *(word for where, directory in rw.items() for word in ("--rwdir", f"{where}={directory}")),
        *("--script-sh", f"exec sh {guest.SHARE}/start"),
        *("--save-initramfs", str(initramfs), "--dry-run", "--show-command"),
    ]


def command(answer: str, *, console: Path, sockets: Mapping[str, Path], stdin: Path) -> list[str]:
    """virtme-run's answer, with the kernel's words going to `console` and our ports added (port name: socket).

    The guest's input is a FIFO that is QEMU's own: of a socket whose other end is closed it drops what it has not read.

    KernelError if it is not what virtme-run is known to answer.
    """
    words = next((shlex.split(line) for line in answer.splitlines() if "qemu-system-" in line), [])
    silent, theirs = "file,id=console,path=/dev/null", "stdio,id=stdin,signal=on,mux=off"
    if not {"-append", silent, theirs} <= set(words):
        raise KernelError(f"virtme-run answered something unknown: {answer.strip()[-500:]!r}")
    words[words.index(silent)] = f"file,id=console,path={console}"
    words[words.index(theirs)] = "null,id=stdin"
    # panics and errors, for the message in case that it does not boot; the last loglevel counts. no_timer_check: a
    # kernel looks whether its timer ticks, in a moment in which a busy machine may not run it, and panics if not
    at = words.index("-append") + 1
    head, separator, init = words[at].partition(" init=")
    words[at] = f"{head} loglevel=4 no_timer_check{separator}{init}"
    words += ["-device", "virtio-serial-pci,id=netlab"]
    sources = {"in": "stdio,id=netlab-in,signal=off,mux=off"}
    sources |= {name: f"socket,id=netlab-{name},path={path}" for name, path in sockets.items()}
    for name, source in sources.items():
        words += ["-chardev", source]
        words += ["-device", f"virtserialport,bus=netlab.0,name=netlab.{name},chardev=netlab-{name}"]
    # the shell becomes QEMU: its number, its death signal and its session are QEMU's
    return ["sh", "-c", 'exec "$0" "$@" <' + shlex.quote(str(stdin)), *words]


def kvm_probe(kernel: Kernel) -> list[str]:
    """A boot that ends by itself: without a root the kernel panics, and reboots as told, which is the end for QEMU."""
    return [
        PROGRAM,
        *("-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(kernel.image), "-append", "panic=-1 quiet"),
    ]
