"""What VM runs need on this machine, and what is there. Fetches and installs nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from netlab.base.errors import MachineError
from netlab.kernel.probe import Feature
from netlab.vm import kernels, qemu, run

_KVM = Path("/dev/kvm")


def survey(cache: Path | None = None) -> tuple[Feature, ...]:
    """Tools, kernel and KVM, in the order to be read. Never raises for what is missing."""
    cache = cache or kernels.cache_dir()
    found = []
    for tool, package in run.TOOLS.items():
        path = shutil.which(tool)
        found.append(Feature(tool, path is not None, True, path or "not installed", _unless(path, package)))
    try:
        found.append(Feature("virtme-ng", True, True, run.virtme_run()))
    except MachineError as e:
        found.append(Feature("virtme-ng", False, True, e.message, e.hint))
    root = os.geteuid() == 0
    said = "yes" if root else "not root: the guest sees only the files that you may read"
    found.append(Feature("root", root, False, said, None if root else "run it with sudo"))
    kernel = kernels.cached(cache)
    detail = f"{kernel.release} in {cache}" if kernel else f"none in {cache} yet"
    found.append(Feature("kernel", kernel is not None, False, detail, None if kernel else "the first run fetches it"))
    works = kernel is not None and shutil.which(qemu.PROGRAM) is not None and run.kvm_works(kernel, cache=cache)
    said = "a trial boot works" if works else "not usable: QEMU emulates, about ten times slower"
    said = said if works or kernel else "not tried: that takes a kernel to boot"
    hint = None if works or _KVM.exists() else "modprobe kvm_intel or kvm_amd, with virtualization on in the firmware"
    found.append(Feature("kvm", works, False, said, hint))
    return tuple(found)


def _unless(path: str | None, package: str) -> str | None:
    return None if path else f"apt-get install {package}"
