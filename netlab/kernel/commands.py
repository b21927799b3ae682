"""Tools run inside a namespace: the thread enters, spawns, and is back before the tool has done its work.

Only the network namespace changes: the tool sees the machine's files, and /sys/class/net still shows the machine's own
devices (`ip netns exec` mounts a fresh /sys for that; nothing that netlab runs reads it).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns as namespaces

#: which Debian or Ubuntu package brings a tool
PACKAGES = {
    "bridge": "iproute2", "ip": "iproute2", "ss": "iproute2", "tc": "iproute2",
    "iptables-legacy-save": "iptables", "iptables-legacy-restore": "iptables", "iptables-legacy": "iptables",
    "iptables-nft-save": "iptables", "iptables-nft-restore": "iptables", "iptables-nft": "iptables",
    "ip6tables-legacy-save": "iptables", "ip6tables-legacy-restore": "iptables", "ip6tables-legacy": "iptables",
    "ip6tables-nft-save": "iptables", "ip6tables-nft-restore": "iptables", "ip6tables-nft": "iptables",
    "conntrack": "conntrack", "ipset": "ipset", "ipvsadm": "ipvsadm", "nft": "nftables", "wg": "wireguard-tools",
    "arping": "iputils-arping", "curl": "curl", "dig": "bind9-dnsutils", "nc": "netcat-openbsd", "nginx": "nginx-light",
    "ping": "iputils-ping", "sysctl": "procps", "tcpdump": "tcpdump", "traceroute": "traceroute",
}  # fmt: skip


class Completed(NamedTuple):
    """What a tool said and how it ended. returncode: its exit status, or minus the signal that ended it."""

    stdout: str
    stderr: str
    returncode: int


def missing(tool: str) -> MachineError:
    """The error for a tool that is not installed, with the command that brings it."""
    name = tool.rpartition("/")[2]
    package = PACKAGES.get(name)
    return MachineError(f"{name} is not installed", hint=f"apt-get install {package}" if package else None)


def run_in(
    netns: str | int | None,
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 30,
    check: bool = False,
) -> Completed:
    """Run `argv` in a namespace (a name, an open descriptor, or None for where the thread is) and wait for it.

    timeout: seconds. MachineError if the tool is missing; KernelError if the namespace is, if the tool is not done in
    time, or, with `check`, if it fails: then with the tool's own words.
    """
    where = contextlib.nullcontext() if netns is None else namespaces.entered(netns)
    # C: messages are parsed. No preexec_fn: subprocess can then vfork, which does not copy our page tables.
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        with where:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="surrogateescape",
                env=environment,
            )
    except FileNotFoundError:
        raise missing(argv[0]) from None
    with process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise KernelError(f"{' '.join(argv)}: not done after {timeout:g} s") from None
        except BaseException:
            process.kill()
            raise
    done = Completed(stdout, stderr, process.returncode)
    if check and done.returncode != 0:
        said = stderr.strip() or stdout.strip() or f"exit status {done.returncode}"
        raise KernelError(f"{' '.join(argv)}: {said}", item=" ".join(argv))
    return done
