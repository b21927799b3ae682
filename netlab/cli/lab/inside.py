"""exec, shell, logs, impair: inside the nodes of a lab that is up."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import output
from netlab.cli.lab.common import engine, lab_argument, on_clusters, running_name
from netlab.lab.journal import on_cluster

if TYPE_CHECKING:
    from netlab.lab.journal import Record
    from netlab.lab.machine import States
    from netlab.lab.schema import Impair

#: files of a place (`files:` in lab.yaml) that commands in it see in /etc in place of the machine's
OWN_FILES = ("hosts", "resolv.conf")
#: seconds between two looks at logs that are followed
LOOK = 0.2


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=output.examples(
        "netlab lab exec docker0 nginx-1 ping -c 1 172.17.0.3",
        "netlab lab exec docker0 node1 iptables-save -t nat",
        "netlab lab exec docker0 node1 sh -c 'ip -br addr; bridge fdb'",
        "netlab lab exec pod-anatomy pod/default/two-containers ss -tln   # of a lab on a cluster",
    ),
)
@lab_argument
@click.argument("node", metavar="NODE")
@click.argument("command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(lab: str, node: str, command: tuple[str, ...]) -> None:
    """Run a command in the network namespace of a node or container, or of a cluster's pod.

    Only the network is the node's, and its resolv.conf and hosts if lab.yaml has such files of it: all else, users and
    /sys included, is the machine's. A node of a cluster has files and processes of its own. The exit status is the
    command's.
    """
    _become(lab, node, command[1:] if command[0] == "--" and len(command) > 1 else command, {})


@click.command(
    epilog=output.examples("netlab lab shell docker0 nginx-1", "SHELL=/bin/zsh netlab lab shell docker0 node1")
)
@lab_argument
@click.argument("node", metavar="NODE")
def shell(lab: str, node: str) -> None:
    """Open your shell in the network namespace of a node or container. Its prompt says where it is."""
    name = f"{running_name(lab)}.{node}"
    program = os.environ.get("SHELL") or "bash"
    # bash would set the prompt anew from its files, so it reads them, and then a line of ours; others keep PS1
    argv = [program, "--rcfile", _bash_file(name)] if Path(program).name == "bash" else [program]
    _become(lab, node, argv, {"PS1": f"{name}# "})


def _bash_file(name: str) -> str:
    """A file without a name that only the shell inherits."""
    fd = os.memfd_create("netlab-bashrc", 0)
    files = ("/etc/bash.bashrc", "~/.bashrc")
    lines = [*(f"[ -r {file} ] && . {file}" for file in files), f"PS1='\\[\\e[1m\\]{name}\\[\\e[0m\\]:\\w\\$ '"]
    os.write(fd, "\n".join([*lines, f"exec {fd}<&-", ""]).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return f"/dev/fd/{fd}"


def _become(lab: str, node: str, argv: Sequence[str], env: dict[str, str]) -> None:
    e = engine()
    e.machine.require_root()
    if on_cluster(running_name(lab)):
        on_clusters().enter(running_name(lab), node, argv, env)
    record = e.record(running_name(lab))
    netns = e.netns_of(record, node)
    own = e.journal(record.name).dir / "files" / node
    files = {f"/etc/{name}": str(own / name) for name in OWN_FILES if (own / name).is_file()}
    sys.stdout.flush()
    e.machine.become(netns, argv, {**env, "NETLAB_LAB": record.name, "NETLAB_NODE": node}, files)


# -- logs


@click.command(
    epilog=output.examples(
        "netlab lab logs docker0                 # of all processes",
        "netlab lab logs docker0 nginx-1 -f",
        "netlab lab logs docker0 nginx-1/web -n 20",
    )
)
@lab_argument
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written, until Ctrl-C or the lab's end.")
@click.option("-n", "--lines", "count", metavar="N", type=click.IntRange(0), help="Only the last N lines of each.")
@output.json_option
def logs(lab: str, names: tuple[str, ...], follow: bool, count: int | None, as_json: bool) -> None:
    """Print what processes have written. NAME is a node (all its processes) or NODE/PROCESS; by default all."""
    e = engine()
    name = running_name(lab)
    journal = e.journal(name)
    if not on_cluster(name):
        e.record(name)
    chosen = _processes(names, list(e.machine.processes(journal.dir)), journal.name)
    files = [_Log(name, journal.dir / "log" / f"{name.replace('/', '.')}.log") for name in chosen]
    width = max((len(name) for name in chosen), default=0) if len(files) > 1 else 0

    def show(log: _Log, lines: Sequence[str]) -> None:
        prefix = output.style(f"{log.name:{width}} | ", "cyan") if width else ""
        for line in lines:
            click.echo(_json_line(log=log.name, line=line) if as_json else prefix + line)

    for log in files:
        lines = log.new()
        show(log, lines if count is None else list(deque(lines, count)))
    while follow and any(log.open for log in files):
        time.sleep(LOOK)
        for log in files:
            show(log, log.new())


def _json_line(**value: str) -> str:
    import orjson

    return orjson.dumps(value).decode()


def _processes(wanted: Sequence[str], there: list[str], lab: str) -> list[str]:
    """The processes that are wanted. InputError with every name that is none."""
    from difflib import get_close_matches

    found: dict[str, None] = {}
    problems = []
    for name in wanted:
        of_it = [process for process in there if name in (process, process.partition("/")[0])]
        found.update(dict.fromkeys(of_it))
        if not of_it:
            near = get_close_matches(name, [*there, *(process.partition("/")[0] for process in there)], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(there) or 'none'}"
            problems.append(Problem(name, f"nothing of that name runs in lab {lab!r}", hint))
    if problems:
        raise InputError(problems)
    return list(found) if wanted else there


class _Log:
    """A log that is read as it grows. open: somebody can still write to it (the lab has not been taken down)."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.open = name, True
        self._path = path
        self._file: TextIO | None = None
        self._begun = ""  # a line whose end was not written yet

    def new(self) -> list[str]:
        """The lines that were completed since the last call."""
        if self._file is None:
            try:
                self._file = self._path.open(encoding="utf-8", errors="replace")
            except FileNotFoundError:  # nothing was written yet
                self.open = self._path.parent.exists()
                return []
        self.open = os.fstat(self._file.fileno()).st_nlink > 0  # before reading, so that the last words are not lost
        *lines, self._begun = (self._begun + self._file.read()).split("\n")
        return lines


# -- impair


@click.command(
    epilog=output.examples(
        "netlab lab impair docker0 node1:eth0 --rate 10mbit",
        "netlab lab impair docker0 nginx-1:eth0 --delay 50ms --jitter 5ms --loss 1%   # needs netem in the kernel",
        "netlab lab impair docker0 node1:eth0          # what is set there?",
        "netlab lab impair docker0 node1:eth0 --clear",
    )
)
@lab_argument
@click.argument("place", metavar="[NODE:DEVICE]", required=False)
@click.option("--rate", metavar="RATE", help="At most so many bits per second (10mbit), by tbf.")
@click.option("--delay", metavar="TIME", help="Later by so much (50ms), by netem.")
@click.option("--jitter", metavar="TIME", help="The delay varies by so much.")
@click.option("--loss", metavar="PERCENT", help="So many packets are lost (1%).")
@click.option("--duplicate", metavar="PERCENT", help="So many are sent twice.")
@click.option("--reorder", metavar="PERCENT", help="So many overtake the delayed ones.")
@click.option("--corrupt", metavar="PERCENT", help="So many have a bit flipped.")
@click.option("--clear", is_flag=True, help="As if there were nothing.")
@output.json_option
def impair(lab: str, place: str | None, clear: bool, as_json: bool, **options: str | None) -> None:
    """Make what leaves through a device slow, late or lossy while the lab is up; without options, say what is set.

    What is given takes the place of all that was set there. `netlab lab up` goes back to what the lab's file says.
    """
    said = {name: value for name, value in options.items() if value is not None}
    if clear and said:
        raise click.UsageError(f"either --clear or --{next(iter(said))}")
    name = running_name(lab)
    if said or clear:
        if place is None:
            raise click.UsageError("say at which NODE:DEVICE")
        _impair(name, place, _spec(said))
    record = engine().record(name)
    listed = _set(record)
    if place:
        netns, dev = _device(record, place)
        listed = [row for row in listed if row["place"] == _called(record, netns, dev)]
    if as_json:
        output.emit_json(listed)
    elif listed:
        output.table(("place", "what leaves there", "why"), [tuple(row.values()) for row in listed])
    else:
        click.echo(f"{place or name} is not impaired")


def _spec(said: dict[str, str]) -> Impair:
    """The options as lab.yaml would have them. InputError with every one that makes no sense."""
    from pydantic import ValidationError

    from netlab.lab.schema import Impair

    try:
        return Impair.model_validate(said)
    except ValidationError as e:
        found = ((f"--{error['loc'][0]}", str(error["msg"]).removeprefix("Value error, ")) for error in e.errors())
        raise InputError([Problem(*each) for each in found]) from None


def _impair(name: str, place: str, spec: Impair) -> None:
    from dataclasses import replace

    from netlab.compile.machines import impaired
    from netlab.lab.engine import owner
    from netlab.lab.impairments import qdiscs
    from netlab.model import HostState, Qdisc

    try:
        kinds = qdiscs(spec)
    except ValueError as e:
        raise InputError(str(e)) from e

    def change(record: Record) -> tuple[Record, States]:
        netns, dev = _device(record, place)
        key = _called(record, netns, dev)
        others = record.claims[netns].where(lambda item: not (isinstance(item, Qdisc) and item.dev == dev))
        live = HostState.of(impaired(dev, kinds, why=f"netlab lab impair {name} {place}")).stamped(owner(name))
        remembered = {other: value for other, value in record.impairments.items() if other != key}
        if kinds:
            remembered[key] = spec.model_dump(exclude_none=True)
        return replace(record, impairments=remembered), {netns: others | live}

    engine().put(name, change)


def _device(record: Record, place: str) -> tuple[str, str]:
    """(namespace, device) of a place; InputError if the lab has made none of that name."""
    from netlab.lab.capture.places import select
    from netlab.model import Link

    node, colon, device = place.partition(":")
    if not colon:
        raise InputError([Problem(place, "a place is NODE:DEVICE", f"such as {place}:eth0")])
    netns = engine().netns_of(record, node)
    names = [link.name for link in record.claims[netns].all(Link)]
    if device not in names:
        select([place], {node: names})  # raises, with what there is and the nearest name
        raise InputError([Problem(place, "one device at a time, without wildcards")])
    return netns, device


def _called(record: Record, netns: str, dev: str) -> str:
    """The one name of a device: a guest's `eth0` is that of the namespace's owner."""
    return f"{netns.removeprefix(record.name + '.')}:{dev}"


def _set(record: Record) -> list[dict[str, Any]]:
    """What is set in a lab, by device."""
    from netlab.lab.impairments import words
    from netlab.model import Qdisc

    found: dict[str, list[Qdisc]] = {}
    for netns, state in record.claims.items():
        for qdisc in state.all(Qdisc):
            found.setdefault(_called(record, netns, qdisc.dev), []).append(qdisc)
    return [
        {"place": place, "impaired": words(q.kind for q in listed), "why": listed[0].why}
        for place, listed in found.items()
    ]
