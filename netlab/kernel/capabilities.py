"""What root may do here: the capabilities that this process can hand on (capabilities(7), linux/capability.h)."""

from __future__ import annotations

from pathlib import Path

#: by their numbers
NAMES = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    )
)  # fmt: skip


def bounding(status: Path = Path("/proc/self/status")) -> tuple[str, ...]:
    """Those that a child of this process can have, by name. The kernel's newer ones have no name here, and are left."""
    for line in status.read_text().splitlines():
        key, _, mask = line.partition(":")
        if key == "CapBnd":
            return tuple(name for number, name in enumerate(NAMES) if int(mask, 16) >> number & 1)
    return ()
