"""A whole lab as one POSIX shell script that needs nothing but ip, bridge, sysctl, iptables and their like."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from netlab.model.explain.lab import Section, Step, sections
from netlab.model.state import HostState

#: namespace, words, why
Process = tuple[str, Sequence[str], str]

#: columns of a line with its reason behind it; what is longer has its reason above it
_WIDTH = 120
_INDENT = " " * 4

_HEAD = """\
#!/bin/sh
{header}
#
#   sh {name}.sh up      builds it
#   sh {name}.sh down    removes all of it
set -eu

run=/run/netlab-script-{name}
namespaces='{namespaces}'

die() { # STATUS MESSAGE
    echo "$0: $2" >&2
    exit "$1"
}
"""

_PROCESSES = """
start() { # NAME NAMESPACE COMMAND...: runs the command in the background and notes its process id
    name=$1 namespace=$2
    shift 2
    ip netns exec "$namespace" "$@" >"$run/$name.log" 2>&1 </dev/null &
    echo $! >"$run/$name.pid"
}

stop() { # NAME NAMESPACE: ends that process, unless its id has gone to a process of another namespace
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
    [ ! "/proc/$pid/ns/net" -ef "/run/netns/$2" ] || kill "$pid" 2>/dev/null || :
}
"""

_UP = """
up() {
    for namespace in $namespaces; do
        [ ! -e "/run/netns/$namespace" ] || die 2 "namespace $namespace exists already; remove what made it first"
    done
    mkdir "$run" || die 2 "$run exists already; run '$0 down' first"
    trap 'echo "$0: that failed; removing what was made" >&2; down' EXIT
"""

_UP_END = """
    trap - EXIT
}
"""

_DOWN = """
down() {
    [ -d "$run" ] || { echo "$0: nothing to remove"; return 0; }
"""

_DOWN_END = """\
    for namespace in $namespaces; do
        [ ! -e "/run/netns/$namespace" ] || ip netns del "$namespace"
    done
    rm -rf "$run"
}

[ "$(id -u)" = 0 ] || die 3 "this needs root: sudo sh $0 ${1:-up}"
case ${1:-} in
    up) up ;;
    down) down ;;
    *) die 2 "usage: sh $0 up|down" ;;
esac
"""


def script(
    states: Mapping[str, HostState],
    *,
    name: str,
    title: str,
    description: str,
    processes: Sequence[Process] = (),
) -> str:
    """The text of `NAME.sh`, which builds (`up`) and removes (`down`) all of `states`, keyed by namespace.

    processes: what runs beside the kernel, started in the background after everything else.
    The script exits with 2 if a namespace is taken or it is called wrongly, with 3 if it is not run by root.
    """
    names = _process_names(processes)
    head = {"{name}": name, "{header}": _header(title, description), "{namespaces}": " ".join(states)}
    text = _HEAD
    for mark, value in head.items():
        text = text.replace(mark, value)
    body = "".join(_section(section) for section in sections(states))
    if processes:
        starts = [(_start(n, p), p[2]) for n, p in zip(names, processes, strict=True)]
        body += _heading("processes") + _aligned(starts)
    stops = "".join(f"{_INDENT}stop {n} {p[0]}\n" for n, p in zip(names, processes, strict=True))
    return text + (_PROCESSES if processes else "") + _UP + body + _UP_END + _DOWN + stops + _DOWN_END


def _header(title: str, description: str) -> str:
    paragraphs = [textwrap.fill(p, _WIDTH - 2) for p in (title, *description.strip().split("\n\n")) if p.strip()]
    return "\n".join(f"# {line}".rstrip() for line in "\n\n".join(paragraphs).splitlines())


def _section(section: Section) -> str:
    return _heading(section.title) + _aligned([(_shell(step), step[1].why) for step in section.steps])


def _shell(step: Step) -> str:
    netns, line = step
    return line.shell(netns)


def _heading(title: str) -> str:
    return f"\n{_INDENT}# --- {title}\n"


def _aligned(lines: Iterable[tuple[str, str]]) -> str:
    """Commands with their reasons behind them in one column, or above them where that would be too wide."""
    known = [(shell, " ".join(why.split())) for shell, why in lines]
    fits = [shell for shell, why in known if "\n" not in shell and len(_INDENT + shell + why) + 4 <= _WIDTH]
    column = max((len(shell) for shell in fits), default=0)
    out = []
    for shell, why in known:
        trailing = f"{_INDENT}{shell.ljust(column)}  # {why}"
        if not why:
            out.append(_INDENT + shell)
        elif "\n" not in shell and len(trailing) <= _WIDTH:
            out.append(trailing)
        else:
            out += [f"{_INDENT}# {why}", _INDENT + shell]
    return "".join(line + "\n" for line in out)


def _start(name: str, process: Process) -> str:
    netns, argv, _ = process
    return f"start {name} {netns} {shlex.join(argv)}"


def _process_names(processes: Sequence[Process]) -> list[str]:
    """File names: a number and the program, so that no two are the same."""
    return [shlex.quote(f"{i}-{argv[0].rpartition('/')[2]}") for i, (_, argv, _) in enumerate(processes, 1)]
