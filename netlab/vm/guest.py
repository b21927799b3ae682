"""The guest's half of a run: a shell script that virtme-ng's init starts as root. Pure.

It lays an overlay whose upper side is memory over this machine's files and makes that the root, puts the directories
that are to be written to for good in their places, loads modules, and runs the command. Bytes and signals come and go
by virtio ports, which are found by the names in /sys: a root without udev has no /dev/virtio-ports.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: where QEMU's shares appear in the guest
SHARE, LOWER, WRITABLE = "/run/netlab-vm/share", "/run/netlab-vm/lower", "/run/netlab-vm/write"
#: the virtio ports that are sockets: output, error; and the host's voice: names of signals, and its end is the guest's
PORTS = ("out", "err", "ctl")

#: what labs and tests use; a kernel may have some built in and some not at all
MODULES = (
    "bridge", "br_netfilter", "8021q", "veth", "dummy", "tun", "macvlan", "vxlan", "ipip", "wireguard",
    "sch_netem", "sch_tbf", "sch_htb", "sch_ingress", "cls_u32", "af_packet", "inet_diag", "tcp_diag",
    "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_sh", "nf_conntrack", "nf_nat", "nf_tables", "nft_compat",
    "nft_chain_nat", "iptable_filter", "iptable_nat", "iptable_mangle", "iptable_raw", "ip6table_filter",
    "ip6table_nat", "ip6table_mangle", "ip6table_raw", "xt_MASQUERADE", "xt_conntrack", "xt_comment", "xt_addrtype",
    "xt_mark", "xt_set", "xt_multiport", "xt_statistic", "xt_nat", "xt_ipvs", "ip_set", "ip_set_hash_ip",
    "ip_set_hash_net", "ip_set_hash_ipport", "ip_set_hash_ipportip", "ip_set_hash_ipportnet", "ip_set_bitmap_port",
)  # fmt: skip


class Task(NamedTuple):
    """What is to run. writable: directories, in the order of their shares; size: rows and columns of a terminal."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    writable: Sequence[str] = ()
    modules: str | None = None
    size: tuple[int, int] | None = None


_MOUNTS = r"""
cd /
share=/run/netlab-vm/share lower=/run/netlab-vm/lower root=/run/netlab-vm/root
fail() { echo "$*" >"$share/failure"; exit 125; }
# virtme mounts without a cache, and Python opens thousands of files: 9p keeps pages only if nobody else may write
while read -r tag where _; do [ "$where" = "$lower" ] && break; done </proc/mounts
options=ro,version=9p2000.L,trans=virtio,access=any,msize=512000,cache=loose
umount "$lower" && mount -t 9p -o "$options" "$tag" "$lower" || fail "cannot mount the machine's files"
modprobe -q -d "$lower$tree" overlay
mkdir -p /run/netlab-vm/memory "$root"
mount -t tmpfs -o size=80% memory /run/netlab-vm/memory && mkdir /run/netlab-vm/memory/upper /run/netlab-vm/memory/work
mount -t overlay -o "lowerdir=$lower,upperdir=/run/netlab-vm/memory/upper,workdir=/run/netlab-vm/memory/work" \
    overlay "$root" || fail "cannot lay the overlay"
for name in dev proc sys; do mkdir -p "$root/$name" && mount --rbind "/$name" "$root/$name"; done
mount -t tmpfs -o mode=0755 run "$root/run" && mkdir -p "$root/run/lock" "$root$share"
mount --bind "$share" "$root$share"
"""

_START = r"""
mkdir -p "$root/run/old" && cd "$root" && pivot_root . run/old && cd / || fail "cannot change the root"
umount -l /run/old
ln -snf /proc/self/fd /dev/fd; ln -snf fd/0 /dev/stdin; ln -snf fd/1 /dev/stdout; ln -snf fd/2 /dev/stderr
mount -t tmpfs -o mode=1777 shm /dev/shm 2>/dev/null
# a word to the kernel log is for the kernel's console, not for the command's terminal
hostname netlab-vm
ip link set lo up

port() {
    for known in /sys/class/virtio-ports/*; do
        read -r name <"$known/name" && [ "$name" = "netlab.$1" ] && echo "/dev/${known##*/}"
    done
}
# by pipes: a port is opened once, and a command may open its own /dev/stdout
mkfifo /run/netlab-vm/out /run/netlab-vm/err
cat /run/netlab-vm/out >"$(port out)" & out=$!
cat /run/netlab-vm/err >"$(port err)" & err=$!
exec 3<"$(port in)" 5<"$(port ctl)" 6>/run/netlab-vm/out 7>/run/netlab-vm/err
"""

_WAIT = r"""
{
    # again and again at first: until setsid has been there is no such group
    while read -r name; do
        until kill -s "$name" -- "-$command"; do kill -0 "$command" || break; sleep 0.05; done
    done
    echo o >/proc/sysrq-trigger # the host is gone
} <&5 6>&- 7>&- 2>/dev/null &
exec 6>&- 7>&-
wait "$command"; status=$?
# what it left running may hold its output open: what has been said by now is what counts
tries=0
while [ $tries -lt 20 ] && { kill -0 $out || kill -0 $err; } 2>/dev/null; do sleep 0.1; tries=$((tries + 1)); done
echo "$status" >"$share/status"
sync
exit "$status"
"""


def script(task: Task) -> str:
    """The script for one task."""
    quoted = shlex.quote
    lines = ["export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    # what `modprobe -d` wants: the directory that has lib/modules
    tree, _, _ = (task.modules or "").rpartition("/lib/modules/")
    lines += [f"tree={quoted(tree)}", _MOUNTS]
    for number, directory in enumerate(task.writable):
        where = quoted(directory)
        lines.append(f'mkdir -p "$root"{where} && mount --bind {WRITABLE}{number} "$root"{where} || fail {where}')
    if task.modules:
        tree = quoted(task.modules)
        lines.append(f'mkdir -p "$root/lib/modules" && ln -snf {tree} "$root/lib/modules/$(uname -r)"')
    lines += [_START, f"modprobe -qa {' '.join(MODULES)} 2>/dev/null"]
    lines.append(f"cd {quoted(task.cwd)} || fail {quoted(f'there is no {task.cwd} in the guest')}")
    lines.append('echo started >"$share/started"')
    settings = " ".join(quoted(f"{name}={value}") for name, value in task.env.items())
    words = shlex.join(task.argv)
    if task.size:
        rows, columns = task.size
        # the pseudo-terminal is script's; nothing is recorded
        words = f"script -qfec {quoted(f'stty rows {rows} cols {columns}; exec {words}')} /dev/null"
    # a shell without job control starts what is in its background deaf to these two, and deaf they would stay
    reset = "env --default-signal=INT,QUIT -i"
    lines.append(f"setsid {reset} {settings} {words} <&3 >&6 2>&7 3<&- 5<&- 6>&- 7>&- & command=$!")
    lines.append(_WAIT)
    return "\n".join(lines)
