"""Tools run inside a namespace: the thread enters, spawns, and is back before the tool has done its work.

Only the network namespace changes: the tool sees the machine's files, and /sys/class/net still shows the machine's own
devices (`ip netns exec` mounts a fresh /sys for that; nothing that netlab runs reads it).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple, NoReturn

from netlab.base.errors import InputError, KernelError, MachineError, NetlabError
from netlab.kernel import netns as namespaces
from netlab.kernel import syscalls
from netlab.kernel.processes import MACHINE, Identity, open_pidfd

#: which Debian or Ubuntu package brings a tool
PACKAGES = {
    "bridge": "iproute2", "dot": "graphviz", "ip": "iproute2", "ss": "iproute2", "tc": "iproute2",
    "iptables-legacy-save": "iptables", "iptables-legacy-restore": "iptables", "iptables-legacy": "iptables",
    "iptables-nft-save": "iptables", "iptables-nft-restore": "iptables", "iptables-nft": "iptables",
    "ip6tables-legacy-save": "iptables", "ip6tables-legacy-restore": "iptables", "ip6tables-legacy": "iptables",
    "ip6tables-nft-save": "iptables", "ip6tables-nft-restore": "iptables", "ip6tables-nft": "iptables",
    "conmon": "conmon", "ldd": "libc-bin", "runc": "runc", "skopeo": "skopeo",
    "etcd": "etcd-server",
    "conntrack": "conntrack", "ipset": "ipset", "ipvsadm": "ipvsadm", "nft": "nftables", "wg": "wireguard-tools",
    "arping": "iputils-arping", "curl": "curl", "dig": "bind9-dnsutils", "nc": "netcat-openbsd", "nginx": "nginx-light",
    "ping": "iputils-ping", "sysctl": "procps", "tcpdump": "tcpdump", "traceroute": "traceroute",
    "wireshark": "wireshark",
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
    env: Mapping[str, str] | None = None,
    timeout: float = 30,
    check: bool = False,
) -> Completed:
    """Run `argv` in a namespace (a name, an open descriptor, or None for where the thread is) and wait for it.

    env: added to ours; timeout: seconds. MachineError if the tool is missing; KernelError if the namespace is, if the
    tool is not done in time, or, with `check`, if it fails: then with the tool's own words.
    """
    where = contextlib.nullcontext() if netns is None else namespaces.entered(netns)
    # C: messages are parsed. No preexec_fn: subprocess can then vfork, which does not copy our page tables.
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        with _file_of(stdin) as given, where:
            process = subprocess.Popen(
                list(argv),
                stdin=given,
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
            stdout, stderr = process.communicate(timeout=timeout)
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


@contextlib.contextmanager
def _file_of(text: str | None) -> Iterator[int]:
    """What a tool reads, as a file in memory: a pipe is filled a page at a time, by two who wait for each other."""
    if text is None:
        yield subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("stdin"), "w+b") as file:
        file.write(text.encode(errors="surrogateescape"))
        file.seek(0)
        yield file.fileno()


def reported(argv: Sequence[str], *, variable: str, cwd: str, timeout: float) -> str:
    """Start a program that leaves a daemon behind, and return the first line that it writes to a pipe of ours.

    variable: the environment variable that tells it the pipe's number. MachineError if the tool is missing, KernelError
    if it says nothing in time.
    """
    read, write = os.pipe()
    try:
        try:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[write], cwd=cwd, env={**os.environ, "LC_ALL": "C", variable: str(write)},
            )  # fmt: skip
        except FileNotFoundError:
            raise missing(argv[0]) from None
        finally:
            os.close(write)
        deadline = time.monotonic() + timeout
        said = b""
        while not said.endswith(b"\n") and select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
            more = os.read(read, 65536)
            if not more:
                break
            said += more
        # what stays behind is no child of ours: what we have started ends at once
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        if not said:
            raise KernelError(f"{argv[0]} said nothing in {timeout:g} s", item=" ".join(argv))
        return said.decode(errors="replace")
    finally:
        os.close(read)


def enter_and_exec(
    netns: str, argv: Sequence[str], env: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> NoReturn:
    """Become `argv` in a namespace: same process, same terminal, its exit status is ours. env: added to ours; files: by
    a path of the machine, the file that is seen there instead (as `ip netns exec` does with those of /etc/netns).

    Returns only by an error, and then to where the thread was: KernelError without the namespace, MachineError if the
    command is not installed, InputError if it cannot be executed.
    """
    with namespaces.entered(netns):
        if files:
            _cover(files)
        become(argv, env)


def become(argv: Sequence[str], env: Mapping[str, str] | None = None) -> NoReturn:
    """The same where the thread is. MachineError, InputError."""
    # Python ignores SIGPIPE, and exec keeps that: `exec … yes | head` would complain
    ours = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), {**os.environ, **(env or {})})
    except FileNotFoundError:
        raise missing(argv[0]) from None
    except OSError as e:
        raise InputError(f"{argv[0]}: {e.strerror}") from e
    finally:
        signal.signal(signal.SIGPIPE, ours)


def run_inside(inside: Identity, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Run `argv` in all namespaces of a process, with this terminal, and wait. Its exit status, as a shell has it.

    This process is in them afterwards, but for the one of numbers, where only its child is. KernelError if the process
    has ended; MachineError, InputError as of `become`, in the child: it then ends with 127 or 126.
    """
    fd = open_pidfd(inside)
    if fd is None:
        raise KernelError(f"process {inside.pid}, whose namespaces are meant, has ended", errno_=errno.ESRCH)
    try:
        for kind in (syscalls.CLONE_NEWPID, MACHINE):
            syscalls.setns(fd, kind)
    except OSError as e:
        raise KernelError(f"namespaces of process {inside.pid}: {e.strerror}", errno_=e.errno or 0) from e
    finally:
        os.close(fd)
    os.chdir("/")
    # what is typed is for the command: Ctrl-C reaches both, and ends but one
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    pid = os.fork()
    if pid == 0:
        for number, handler in before.items():
            signal.signal(number, handler)
        try:
            become(argv, env)
        except NetlabError as e:
            os.write(2, f"error: {e}\n".encode())
            os._exit(127 if isinstance(e, MachineError) else 126)
    _, status = os.waitpid(pid, 0)
    for number, handler in before.items():
        signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _cover(files: Mapping[str, str]) -> None:
    """Have this process, and what it becomes, see other files at some paths; nobody else does. KernelError."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", syscalls.MS_PRIVATE | syscalls.MS_REC)
        for path, file in files.items():
            syscalls.mount(file, os.path.realpath(path), syscalls.MS_BIND)
    except OSError as e:
        raise KernelError(f"cannot show {', '.join(files)} of the lab: {e.strerror}", errno_=e.errno or 0) from e


@contextlib.contextmanager
def feeding(argv: Sequence[str]) -> Iterator[BinaryIO]:
    """Start a program and yield its standard input. Nobody waits for it: a window outlives its input.

    It leads a session of its own, so that Ctrl-C is not for it. MachineError if it is not installed.
    """
    read, write = os.pipe()
    with open(write, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
        try:
            null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
            actions = [(os.POSIX_SPAWN_DUP2, read, 0), null]
            os.posix_spawnp(argv[0], list(argv), os.environ, file_actions=actions, setsid=True)
        except FileNotFoundError:
            raise missing(argv[0]) from None
        finally:
            os.close(read)
        try:
            yield stream
        except BrokenPipeError:
            stream.raw.close()  # what is still buffered has no reader
            raise
