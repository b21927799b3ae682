"""What this machine can do, found out by trying: each kernel feature is used once in a namespace made for the trial.

The trials run in an anonymous network namespace that ends with them, so nothing of the machine's own is touched. A
kernel with modules loads the missing one by itself when asked; what is refused nevertheless is not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from netlab.base.errors import MachineError
from netlab.kernel import netns, syscalls

Variant = Literal["legacy", "nft"]

#: seconds until a trial counts as failed; each takes milliseconds
TRIAL_TIMEOUT = 10.0
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that labs use. detail: its version, or why it is missing; hint: the command that brings it."""

    name: str
    ok: bool
    required: bool
    detail: str
    hint: str | None = None

    @property
    def status(self) -> Literal["ok", "missing", "required"]:
        """`required`: missing, and nothing works without it."""
        return "ok" if self.ok else "required" if self.required else "missing"


class _Trial(NamedTuple):
    """A feature of the kernel and the command that shows it; `option` and `module` are what the kernel calls it."""

    name: str
    required: bool
    command: str
    option: str
    module: str


# In this order: later ones use the devices of earlier ones.
_TRIALS = (
    _Trial("veth", True, "ip link add name try0 type veth peer name try1", "VETH", "veth"),
    _Trial("bridge", True, "ip link add name br0 type bridge", "BRIDGE", "bridge"),
    _Trial("bridge-vlan", False, "ip link set dev br0 type bridge vlan_filtering 1", "BRIDGE_VLAN_FILTERING", "bridge"),
    _Trial("vxlan", False, "ip link add name vxlan1 type vxlan id 1 dstport 4789 dev try0", "VXLAN", "vxlan"),
    _Trial("dummy", False, "ip link add name dummy9 type dummy", "DUMMY", "dummy"),
    _Trial("ipip", False, "ip link add name ipip9 type ipip local 192.0.2.1 remote 192.0.2.2", "NET_IPIP", "ipip"),
    _Trial("wireguard", False, "ip link add name wg0 type wireguard", "WIREGUARD", "wireguard"),
    _Trial("macvlan", False, "ip link add name mac0 link try0 type macvlan mode bridge", "MACVLAN", "macvlan"),
    _Trial("tbf", False, "tc qdisc add dev try0 root tbf rate 1mbit burst 32kb latency 50ms", "NET_SCH_TBF", "sch_tbf"),
    _Trial("netem", False, "tc qdisc add dev try1 root netem delay 1ms", "NET_SCH_NETEM", "sch_netem"),
    _Trial("ipset", False, "ipset create probe hash:ip", "IP_SET_HASH_IP", "ip_set_hash_ip"),
    _Trial("ipvs", False, "genl ctrl get name IPVS", "IP_VS", "ip_vs"),
    _Trial("nftables", False, "nft add table inet probe", "NF_TABLES_INET", "nf_tables"),
)

#: the packages of the commands above, by Debian's names
_TRIAL_PACKAGES = {"ip": "iproute2", "tc": "iproute2", "genl": "iproute2", "ipset": "ipset", "nft": "nftables"}

#: tool: (Debian's package, required, what it is for)
_TOOLS = {
    "ip": ("iproute2", True, "the commands of the exercises"),
    "tcpdump": ("tcpdump", True, "compiles capture filters"),
    "ping": ("iputils-ping", True, "reach checks"),
    "dot": ("graphviz", False, "lab graph as SVG"),
    "wireshark": ("wireshark", False, "lab capture --wireshark"),
    "mn": ("mininet", False, "bench beside Mininet"),
    "nginx": ("nginx-light", False, "a web server in the containers"),
}

_LIBRARIES = ("click", "orjson", "pydantic", "pyroute2", "python-iptables", "PyYAML", "rich", "scapy")

# What Docker's rules and kube-proxy's need: matches that a variant may lack, and masquerading.
_NAT_RULES = """*nat
-A POSTROUTING -m comment --comment probe -m addrtype --dst-type UNICAST -m conntrack --ctstate NEW -j MASQUERADE
COMMIT
"""


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """Run the body with this thread in a new namespace without a name; it ends with the body. OSError if refused."""
    home = netns.own()
    syscalls.unshare(syscalls.CLONE_NEWNET)
    try:
        yield
    finally:
        syscalls.setns(home)


def iptables_variant() -> Variant:
    """The variant of iptables to use: the one that `iptables` points to if it works here, else the other.

    MachineError if neither does, or without root. Takes one process where the first works, some milliseconds.
    """
    netns.require_root()
    with scratch():
        return _working_variant()[0]


def need(name: str) -> None:
    """MachineError if the kernel lacks the feature of that name, as `netlab doctor` calls it."""
    netns.require_root()
    trial = next(trial for trial in _TRIALS if trial.name == name)
    with scratch():
        feature = _try(trial)
    if not feature.ok:
        there = "or run the same on a kernel that has it, in a VM: netlab vm run -- netlab …"
        raise MachineError(f"this kernel has no {name}", hint=f"{feature.hint}; {there}")


def _working_variant() -> tuple[Variant, str]:
    """The variant to use and a sentence that says why. To be called in a scratch namespace."""
    first, second = preferred = _preference()
    reason = _refusal("iptables", first)
    if reason is None:
        return first, f"{first}, which `iptables` is here"
    other_reason = _refusal("iptables", second)
    if other_reason is None:
        return second, f"{second}, because {first} fails: {reason}"
    tools = any(shutil.which(f"iptables-{variant}-restore") for variant in preferred)
    raise MachineError(
        f"no iptables works here: {first}: {reason}; {second}: {other_reason}",
        hint=_kernel_hint("NF_NAT", "nft_compat") if tools else _package_hint("iptables"),
    )


def _preference() -> tuple[Variant, Variant]:
    """Both variants, the machine's own first (Debian's alternatives are links to xtables-{nft,legacy}-multi)."""
    target = os.path.realpath(shutil.which("iptables") or "")
    return ("legacy", "nft") if "legacy" in target else ("nft", "legacy")


def _refusal(family: str, variant: Variant) -> str | None:
    """Why `family` (iptables, ip6tables) of this variant cannot do NAT as labs need it, or None if it can."""
    return _failure([f"{family}-{variant}-restore", "-w", "5"], _NAT_RULES)


def _failure(command: Sequence[str], stdin: str = "") -> str | None:
    """Run a trial in the caller's namespace: None if it succeeds, else the last line of what it said."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, errors="replace", timeout=TRIAL_TIMEOUT
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {TRIAL_TIMEOUT:g} s"
    if done.returncode == 0:
        return None
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # iproute2 puts the kernel's word first, and what it makes of it behind
    return said[0].removeprefix("Error: ").removeprefix("RTNETLINK answers: ") if said else f"status {done.returncode}"


def survey() -> tuple[Feature, ...]:
    """Everything that labs need or can use, in the order to be read. Never raises for what is missing."""
    return (*_machine(), *_kernel(), *_tools(), *_libraries())


def _machine() -> Iterator[Feature]:
    yield Feature("kernel", True, True, os.uname().release)
    root = os.geteuid() == 0
    yield Feature("root", root, True, "yes" if root else "not root", None if root else "run it with sudo")


def _kernel() -> Iterator[Feature]:
    """Each kernel feature, tried. Without namespaces no other can be tried, and each says so."""
    with contextlib.ExitStack() as stack:
        refused = None
        try:
            stack.enter_context(scratch())
        except OSError as e:
            refused = e.strerror
        if refused is not None:
            hint = "run it with sudo" if os.geteuid() else _kernel_hint("NET_NS", "none")
            yield Feature("namespaces", False, True, refused, hint)
            for name in (*(t.name for t in _TRIALS), "tun", "iptables", "ip6tables-nat"):
                yield Feature(name, False, False, "not tried: that takes a namespace of its own", hint)
            return
        # A list: a generator handed on from inside would leave the caller's thread in the scratch namespace.
        found = [Feature("namespaces", True, True, "network"), *map(_try, _TRIALS), _tun(), *_iptables()]
    yield from found


def _try(trial: _Trial) -> Feature:
    tool, _, _ = trial.command.partition(" ")
    reason = _failure(trial.command.split())
    if reason is None:
        return Feature(trial.name, True, trial.required, trial.command)
    installed = shutil.which(tool) is not None
    hint = _kernel_hint(trial.option, trial.module) if installed else _package_hint(_TRIAL_PACKAGES[tool])
    return Feature(trial.name, False, trial.required, reason, hint)


def _tun() -> Feature:
    """A TUN device made by the ioctl that flannel's UDP backend uses; it goes with its descriptor."""
    device = "/dev/net/tun"
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"probe", IFF_TUN | IFF_NO_PI))
        finally:
            os.close(fd)
    except OSError as e:
        return Feature("tun", False, False, f"{device}: {e.strerror}", _kernel_hint("TUN", "tun"))
    return Feature("tun", True, False, device)


def _iptables() -> Iterator[Feature]:
    try:
        variant, why = _working_variant()
    except MachineError as e:
        yield Feature("iptables", False, True, e.message, e.hint)
        yield Feature("ip6tables-nat", False, False, "not tried: no iptables works", e.hint)
        return
    yield Feature("iptables", True, True, f"labs use {why}")
    other: Variant = "nft" if variant == "legacy" else "legacy"
    reason = _refusal("iptables", other)
    hint = reason and _package_hint("iptables")
    yield Feature(f"iptables-{other}", reason is None, False, reason or "works too", hint)
    reason = _refusal("ip6tables", variant)
    option, module = ("IP6_NF_NAT", "ip6table_nat") if variant == "legacy" else ("NFT_COMPAT", "nft_compat")
    hint = reason and _kernel_hint(option, module)
    yield Feature("ip6tables-nat", reason is None, False, reason or f"{variant}, with MASQUERADE", hint)


def _tools() -> Iterator[Feature]:
    for tool, (package, required, purpose) in _TOOLS.items():
        place = shutil.which(tool)
        if place is None:
            yield Feature(tool, False, required, f"not installed ({purpose})", _package_hint(package))
        else:
            yield Feature(tool, True, required, f"{place} ({purpose})")
    reason = _failure(["tcpdump", "-y", "EN10MB", "-ddd", "icmp or arp"])
    yield Feature("pcap-filter", reason is None, True, reason or "tcpdump -ddd", reason and _package_hint("tcpdump"))


def _libraries() -> Iterator[Feature]:
    yield Feature("python", True, True, platform.python_version())
    for name in _LIBRARIES:
        try:
            yield Feature(name, True, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Feature(name, False, True, "not installed", f"pip install {name}")


def _package_hint(package: str) -> str:
    return f"apt-get install {package}"


def _kernel_hint(option: str, module: str) -> str:
    """What brings a feature of the kernel: its module, or a kernel with the option where there are no modules."""
    if not Path("/proc/modules").exists():
        return f"a kernel with CONFIG_{option}: this one takes no modules"
    extra = " or apt-get install linux-modules-extra-$(uname -r)" if "ubuntu" in _distribution() else ""
    return f"modprobe {module}{extra} (CONFIG_{option})"


def _distribution() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("ID", "")
    return ""
