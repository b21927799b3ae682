"""What runc is told: a container as a value, and the OCI runtime configuration that it comes to. Pure.

Limits are told in the specification's own words, which runc turns into files of either cgroup version.
Source: OCI runtime specification 1.0.2, config.md and config-linux.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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


#: how mounts that come later are told to the other side (mount_namespaces(7))
Propagation = Literal["rprivate", "rslave", "rshared"]


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the host in a container. recursive: what is mounted below it is read-only as well."""

    source: str
    target: str
    read_only: bool = False
    propagation: Propagation = "rprivate"
    recursive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device file; kind: c or b."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of the machine a container can be given. capabilities: all there are; devices: for a privileged one;
    unified: cgroups are of version 2; apparmor: the kernel has it; oom_least: the lowest oom_score that may be asked
    for."""

    capabilities: tuple[str, ...] = CAPABILITIES
    devices: tuple[Device, ...] = ()
    unified: bool = False
    apparmor: bool = False
    oom_least: int = -1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None stands for no limit. cpu, cpu_request: millicores; memory: bytes; pids: processes and threads."""

    cpu: int | None = None
    cpu_request: int | None = None
    memory: int | None = None
    pids: int | None = None

    def as_numbers(self) -> dict[str, int]:
        """What is limited, in the kernel's units: shares, quota and period (microseconds), memory, pids."""
        found: dict[str, int] = {}
        if self.cpu_request is not None:
            found["shares"] = max(SHARES_MIN, self.cpu_request * SHARES_PER_CORE // 1000)
        if self.cpu is not None:
            found |= {"quota": max(CPU_QUOTA_MIN, self.cpu * CPU_PERIOD // 1000), "period": CPU_PERIOD}
        if self.memory is not None:
            found["memory"] = self.memory
        if self.pids is not None:
            found["pids"] = self.pids
        return found

    def as_resources(self) -> dict[str, Any]:
        """As the specification's linux.resources, without devices."""
        numbers = self.as_numbers()
        found: dict[str, Any] = {}
        if cpu := {key: numbers[key] for key in ("shares", "quota", "period") if key in numbers}:
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
class Security:
    """group: None for the user's own; groups: beside those that the image's files give the user, if `merged`; add,
    drop: capabilities by their names without CAP_, or ALL; privileged: all of them, all devices, nothing hidden;
    unmasked: nothing of /proc hidden; seccomp: as the specification has it, None for no filter; apparmor: a profile;
    oom_score: added to what the kernel reckons (proc(5), oom_score_adj), None for the caller's own."""

    group: int | None = None
    groups: tuple[int, ...] = ()
    merged: bool = True
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    unmasked: bool = False
    seccomp: Mapping[str, Any] | None = None
    apparmor: str = ""
    oom_score: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """command, args: None for the image's own; user: "" for the image's; namespaces: by the specification's type, paths
    that are joined, or HOST, where others are fresh; sysctls: of those; labels: kept for whoever asks; tty: a terminal
    of its own; stdin: held open for whoever attaches, until the first has left if `stdin_once`; cgroup: the group that
    its own is in, below the runtime's: `kubepods/pod7`."""

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
    security: Security = field(default_factory=Security)
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    cgroup: str = ""


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


def identity(container: Container, process: Mapping[str, Any], passwd: str, group: str) -> User:
    """Who a container runs as: by itself, or by its image. InputError."""
    text, security = container.user or str(process.get("User") or ""), container.security
    found = user(text, passwd, group)
    groups = user(text.partition(":")[0], passwd, group).groups if security.merged else ()
    gid = found.gid if security.group is None else security.group
    return User(found.uid, gid, tuple(dict.fromkeys((*groups, *security.groups))))


def capabilities(security: Security, machine: Machine) -> tuple[str, ...]:
    """What a container may do, of what the machine has: Docker's list, more and less as it is said, `drop` last."""
    if security.privileged:
        return machine.capabilities
    add, drop = ([f"CAP_{c.upper().removeprefix('CAP_')}" for c in names] for names in (security.add, security.drop))
    held = () if "CAP_ALL" in drop else machine.capabilities if "CAP_ALL" in add else CAPABILITIES
    wanted = {*held, *add} - set(drop)
    return tuple(name for name in machine.capabilities if name in wanted)


def environment(process: Mapping[str, Any], container: Container) -> list[str]:
    """The image's variables, with the container's in their place or behind."""
    given = dict(entry.partition("=")[::2] for entry in process.get("Env") or ())
    if container.hostname:
        given["HOSTNAME"] = container.hostname
    if container.tty:
        given.setdefault("TERM", "xterm")
    return [f"{key}={value}" for key, value in {**given, **container.env}.items()]


def document(
    container: Container, process: Mapping[str, Any], *, who: User, rootfs: str, cgroup: str, machine: Machine
) -> dict[str, Any]:
    """config.json. process: the image's `config`; rootfs: a directory that is mounted; cgroup: a path from the root."""
    security = container.security
    allowed = list(capabilities(security, machine))
    held = allowed if who.uid == 0 else []
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": container.tty, "args": list(command(process, container)),
            "env": environment(process, container), "cwd": container.cwd or process.get("WorkingDir") or "/",
            "user": {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)},
            "capabilities": {"bounding": allowed, "effective": held, "permitted": held},
            "noNewPrivileges": security.no_new_privileges,
        },
        "root": {"path": rootfs, "readonly": container.read_only},
        "mounts": _mounts(container, machine),
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": _namespaces(container.namespaces, machine),
            "resources": {
                "devices": [{"allow": security.privileged, "access": "rwm"}], **container.limits.as_resources(),
            },
        },
    }  # fmt: skip
    linux = spec["linux"]
    if not security.privileged and not security.unmasked:
        linux |= {"maskedPaths": list(_MASKED), "readonlyPaths": list(_READ_ONLY)}
    if security.privileged:
        linux["devices"] = list(map(_device, machine.devices))
    elif security.seccomp is not None:
        linux["seccomp"] = dict(security.seccomp)
    if security.apparmor and machine.apparmor and not security.privileged:
        spec["process"]["apparmorProfile"] = security.apparmor
    if security.oom_score is not None:
        spec["process"]["oomScoreAdj"] = max(security.oom_score, machine.oom_least)
    if container.sysctls:
        linux["sysctl"] = dict(container.sysctls)
    if container.hostname and not container.namespaces.get("uts"):
        spec["hostname"] = container.hostname
    return spec


def _device(device: Device) -> dict[str, Any]:
    return {
        "path": device.path, "type": device.kind, "major": device.major, "minor": device.minor,
        "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
    }  # fmt: skip


def _namespaces(joined: Mapping[str, str], machine: Machine) -> list[dict[str, str]]:
    # of version 1, every hierarchy would show its own path
    kinds: Sequence[str] = ("pid", "network", "ipc", "uts", "mount", *(("cgroup",) if machine.unified else ()))
    wanted = [kind for kind in kinds if joined.get(kind) != HOST]
    return [{"type": kind, **({"path": joined[kind]} if joined.get(kind) else {})} for kind in wanted]


def _mounts(container: Container, machine: Machine) -> list[dict[str, Any]]:
    """The system's, but for those in whose place there is one of the container's; then its own, the higher first."""
    own = sorted(container.mounts, key=lambda mount: mount.target.rstrip("/").count("/"))
    taken = {mount.target.rstrip("/") for mount in own}
    system = [m for m in _system_mounts(container.security, machine) if m["destination"] not in taken]
    return [*system, *map(_bind, own)]


def _system_mounts(security: Security, machine: Machine) -> Iterable[dict[str, Any]]:
    writable = "rw" if security.privileged else "ro"
    for target, kind, options in (
        ("/proc", "proc", ("nosuid", "noexec", "nodev")),
        ("/dev", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        ("/dev/pts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        ("/dev/shm", "tmpfs", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
        ("/dev/mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
        ("/sys", "sysfs", ("nosuid", "noexec", "nodev", writable)),
        # its limits as it sees them; of version 1 it would be a mount for each controller
        *((("/sys/fs/cgroup", "cgroup", ("nosuid", "noexec", "nodev", writable)),) if machine.unified else ()),
    ):
        yield {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(mount: Mount) -> dict[str, Any]:
    access = "rw" if not mount.read_only else "rro" if mount.recursive else "ro"
    options = ["rbind", mount.propagation, access]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}
