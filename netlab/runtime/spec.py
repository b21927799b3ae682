"""What runc is told: a container as a value, and the OCI runtime configuration that it comes to. Pure.

Limits are told in the specification's own words, which runc turns into files of either cgroup version.
Source: OCI runtime specification 1.0.2, config.md and config-linux.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netlab.base.errors import InputError

#: what a container may do that is not privileged: Docker's list
CAPABILITIES = (
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
#: as a namespace: that of whoever calls
HOST = "host"
#: microseconds in which a CPU quota is counted, and the kernel's least quota
CPU_PERIOD, CPU_QUOTA_MIN = 100_000, 1_000
#: of cpu.shares: what 1,000 millicores stand for, and the kernel's least
SHARES_PER_CORE, SHARES_MIN = 1024, 2


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the host in a container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None stands for no limit. cpu, cpu_request: millicores; memory: bytes; pids: processes and threads."""

    cpu: int | None = None
    cpu_request: int | None = None
    memory: int | None = None
    pids: int | None = None

    def as_resources(self) -> dict[str, Any]:
        """As the specification's linux.resources, without devices."""
        found: dict[str, Any] = {}
        cpu: dict[str, int] = {}
        if self.cpu_request is not None:
            cpu["shares"] = max(SHARES_MIN, self.cpu_request * SHARES_PER_CORE // 1000)
        if self.cpu is not None:
            cpu |= {"quota": max(CPU_QUOTA_MIN, self.cpu * CPU_PERIOD // 1000), "period": CPU_PERIOD}
        if cpu:
            found["cpu"] = cpu
        if self.memory is not None:
            # memory with swap, which is no more: a limit is a limit
            found["memory"] = {"limit": self.memory, "swap": self.memory}
        if self.pids is not None:
            found["pids"] = {"limit": self.pids}
        return found


@dataclass(frozen=True, slots=True)
class User:
    """Numbers, as the kernel knows them."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """command, args: None for the image's own; user: "" for the image's; namespaces: by the specification's type, paths
    that are joined, or HOST, where others are fresh; sysctls: of those; labels: kept for whoever asks; tty: whether it
    has a terminal; stdin: whether those who attach give it something to read, with stdin_once until the first has gone.
    """

    image: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    user: str = ""
    hostname: str = ""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    read_only: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False


def command(process: Mapping[str, Any], container: Container) -> tuple[str, ...]:
    """What is run: a command of one's own takes the place of the image's Entrypoint and Cmd, arguments of its Cmd."""
    if container.command is not None:
        found = (*container.command, *(container.args or ()))
    else:
        given = container.args if container.args is not None else process.get("Cmd") or ()
        found = (*(process.get("Entrypoint") or ()), *given)
    if not found:
        raise InputError(f"{container.image} says no command, and the container has none", hint="give it a command")
    return found


def user(text: str, passwd: str, group: str) -> User:
    """`www-data`, `33`, `33:33` or `www-data:adm`, by an image's own /etc/passwd and /etc/group. InputError."""
    name, _, group_name = text.partition(":")
    people = [line.split(":") for line in passwd.splitlines() if line.count(":") >= 6]
    groups = [line.split(":") for line in group.splitlines() if line.count(":") >= 3]
    found = next((p for p in people if name in (p[0], p[2])), None)
    if not name:
        uid, gid, login = 0, 0, "root"
    elif found:
        uid, gid, login = int(found[2]), int(found[3]), found[0]
    elif name.isdecimal():
        uid, gid, login = int(name), 0, ""
    else:
        raise InputError(f"unable to find user {name}: no matching entries in passwd file")
    if group_name:
        named = next((g for g in groups if group_name in (g[0], g[2])), None)
        if named is None and not group_name.isdecimal():
            raise InputError(f"unable to find group {group_name}: no matching entries in group file")
        gid = int(named[2]) if named else int(group_name)
    more = tuple(int(g[2]) for g in groups if login and login in g[3].split(",") and int(g[2]) != gid)
    return User(uid, gid, () if group_name else more)


def environment(process: Mapping[str, Any], container: Container) -> list[str]:
    """The image's variables, with the container's in their place or behind."""
    given = dict(entry.partition("=")[::2] for entry in process.get("Env") or ())
    if container.hostname:
        given["HOSTNAME"] = container.hostname
    if container.tty:
        given.setdefault("TERM", "xterm")
    return [f"{key}={value}" for key, value in {**given, **container.env}.items()]


def document(
    container: Container, process: Mapping[str, Any], *, who: User, rootfs: str, cgroup: str
) -> dict[str, Any]:
    """config.json. process: the image's `config`; rootfs: a directory that is mounted; cgroup: a path from the root."""
    capabilities = list(CAPABILITIES)
    held = capabilities if who.uid == 0 else []
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": container.tty,
            "args": list(command(process, container)), "env": environment(process, container),
            "cwd": container.cwd or process.get("WorkingDir") or "/",
            "user": {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)},
            "capabilities": {"bounding": capabilities, "effective": held, "permitted": held},
            "noNewPrivileges": False,
        },
        "root": {"path": rootfs, "readonly": container.read_only},
        "mounts": [*_system_mounts(), *map(_bind, container.mounts)],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": _namespaces(container.namespaces),
            "resources": {"devices": [{"allow": False, "access": "rwm"}], **container.limits.as_resources()},
            "maskedPaths": list(_MASKED), "readonlyPaths": list(_READ_ONLY),
        },
    }  # fmt: skip
    if container.sysctls:
        spec["linux"]["sysctl"] = dict(container.sysctls)
    if container.hostname and not container.namespaces.get("uts"):
        spec["hostname"] = container.hostname
    return spec


def _namespaces(joined: Mapping[str, str]) -> list[dict[str, str]]:
    kinds: Sequence[str] = ("pid", "network", "ipc", "uts", "mount")
    wanted = [kind for kind in kinds if joined.get(kind) != HOST]
    return [{"type": kind, **({"path": joined[kind]} if joined.get(kind) else {})} for kind in wanted]


def _system_mounts() -> Iterable[dict[str, Any]]:
    for target, kind, options in (
        ("/proc", "proc", ("nosuid", "noexec", "nodev")),
        ("/dev", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        ("/dev/pts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        ("/dev/shm", "tmpfs", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
        ("/dev/mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
        ("/sys", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ):
        yield {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(mount: Mount) -> dict[str, Any]:
    options = ["rbind", "rprivate", "ro" if mount.read_only else "rw"]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}
