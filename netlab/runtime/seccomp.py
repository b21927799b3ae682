"""Which system calls a container may make: the filter of a container engine, and filters from files.

The default lets everything through but what reaches beyond a container: what Docker's documentation lists as refused
("Significant syscalls blocked by the default profile"), as far as the container has not the capability for it. A file
is in the format of the engines' own profiles, or in that of the OCI runtime specification. Pure.
Source: docs.docker.com/engine/security/seccomp, OCI runtime specification config-linux.md, syscalls(2), clone(2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from netlab.base.errors import InputError

_EPERM, _ENOSYS = 1, 38
#: refused whatever the container may do: of no use in one, or of the whole kernel
_NEVER = (
    "add_key", "create_module", "get_kernel_syms", "get_mempolicy", "ioperm", "iopl", "keyctl", "mbind",
    "move_pages", "nfsservctl", "query_module", "request_key", "set_mempolicy", "set_mempolicy_home_node", "sysfs",
    "_sysctl", "uselib", "userfaultfd", "ustat", "vm86", "vm86old",
)  # fmt: skip
#: refused without a capability
_GATED: Mapping[str, tuple[str, ...]] = {
    "CAP_SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname",
        "setns", "umount", "umount2", "unshare",
    ),
    "CAP_SYS_BOOT": ("kexec_file_load", "kexec_load", "reboot"),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
}  # fmt: skip
#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h)
_NEW_NAMESPACES = 0x7E020000
#: of the address families of socket(2): that of virtual machines reaches the host
_AF_VSOCK = 40


def default(capabilities: Collection[str]) -> dict[str, Any]:
    """As a container engine has it by default, for a container with these capabilities."""
    freed = {name for capability, names in _GATED.items() if capability in capabilities for name in names}
    refused = sorted({*_NEVER, *(name for names in _GATED.values() for name in names)} - freed)
    rules: list[dict[str, Any]] = [{"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM}]
    rules.append(_refused("socket", [{"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_EQ"}]))
    if "CAP_SYS_ADMIN" not in capabilities:
        # one rule for each flag: a rule's comparison is for equality, and any of them is too much
        rules += [
            _refused("clone", [{"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}])
            for flag in (1 << bit for bit in range(32))
            if flag & _NEW_NAMESPACES
        ]
        # its flags are in memory, where a filter cannot look; who is told that there is none takes clone
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


def _refused(name: str, args: list[dict[str, Any]]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM, "args": args}


def from_file(document: Any, capabilities: Collection[str], architecture: str) -> dict[str, Any]:
    """A filter as the runtime takes it. architecture: as Go names it. InputError for what is no filter."""
    if not isinstance(document, dict) or not isinstance(document.get("defaultAction"), str):
        raise InputError("a seccomp profile is a JSON object with a defaultAction")
    found = {key: document[key] for key in ("defaultAction", "defaultErrnoRet", "architectures", "flags",
                                            "listenerPath", "listenerMetadata") if key in document}  # fmt: skip
    names = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}
    for entry in document.get("archMap") or ():
        if entry.get("architecture") == names.get(architecture):
            found["architectures"] = [entry["architecture"], *(entry.get("subArchitectures") or ())]
    found["syscalls"] = [
        {key: rule[key] for key in ("names", "action", "errnoRet", "args") if rule.get(key) is not None}
        | ({"names": [rule["name"]]} if rule.get("name") else {})
        for rule in document.get("syscalls") or ()
        if _applies(rule, capabilities, architecture)
    ]
    return found


def _applies(rule: Mapping[str, Any], capabilities: Collection[str], architecture: str) -> bool:
    """Whether a rule holds here; of several conditions all, of several values of one any."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    held, barred = set(includes.get("caps") or ()), set(excludes.get("caps") or ())
    if held - set(capabilities) or barred & set(capabilities):
        return False
    wanted = includes.get("arches") or ()
    return (not wanted or architecture in wanted) and architecture not in (excludes.get("arches") or ())
