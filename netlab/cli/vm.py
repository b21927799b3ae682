"""`netlab vm …`: a command on another kernel."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from netlab.base.errors import EXIT_MACHINE
from netlab.cli import output

#: results of a checkout go here, and stay
DEFAULT_WRITABLE = Path("build")


@click.group(
    epilog=output.examples(
        "sudo netlab vm run -- sh -c 'modprobe ip_vs && ipvsadm -Ln'",
        "sudo netlab vm shell",
        "netlab vm doctor",
    )
)
def vm() -> None:
    """Run a command on another kernel: in a VM that sees this machine's files and can change none of them."""


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--kernel, --cpus, --memory, --write."""
    options = (
        click.option("--kernel", metavar="debian|PATH", default="debian", show_default=True,
                     help="Debian's kernel package, fetched once into a cache; or an image, or an unpacked package."),
        click.option("--cpus", type=click.IntRange(1, 64), default=2, show_default=True, help="Virtual processors."),
        click.option("--memory", metavar="SIZE", default="2G", show_default=True,
                     help="MiB, or with a unit: 2048, 2048M, 2G. What the guest writes is in it, too."),
        click.option("--write", "writable", type=click.Path(path_type=Path), multiple=True,
                     help="A directory in which what the guest writes stays. Without one: ./build, if there is one."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@vm.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=output.examples(
        "sudo netlab vm run -- uname -r",
        "sudo netlab vm run --timeout 600 -- .venv/bin/python -m pytest tests/kernel",
        "sudo netlab vm run --kernel ./unpacked --memory 4G --write results -- ./measure.sh",
    ),
)
@machine_options
@click.option("--timeout", type=click.FloatRange(min=1), metavar="S", help="End the guest after so many seconds.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run_command(
    ctx: click.Context,
    kernel: str,
    cpus: int,
    memory: str,
    writable: tuple[Path, ...],
    timeout: float | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND as root in a VM, in the current directory, and exit with its status.

    The guest sees this machine's files under an overlay that is thrown away: only what is written below --write stays.
    Input, output, exit status and signals are passed on; a second signal, or ten seconds after the first, ends the VM.
    KVM is used if a trial boot with it works, else QEMU emulates.
    """
    ctx.exit(_run(command, kernel, cpus, memory, writable, timeout=timeout))


@vm.command("shell", epilog=output.examples("sudo netlab vm shell", "sudo netlab vm shell --cpus 1 --memory 1G"))
@machine_options
@click.pass_context
def shell(ctx: click.Context, kernel: str, cpus: int, memory: str, writable: tuple[Path, ...]) -> None:
    """A root shell in a VM; the machine ends with it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("a shell needs a terminal; `netlab vm run -- COMMAND` does not")
    columns, rows = shutil.get_terminal_size()
    with _raw_terminal():
        status = _run(("bash", "-i"), kernel, cpus, memory, writable, terminal=(rows, columns))
    ctx.exit(status)


def _run(
    argv: tuple[str, ...],
    kernel: str,
    cpus: int,
    memory: str,
    writable: tuple[Path, ...],
    *,
    timeout: float | None = None,
    terminal: tuple[int, int] | None = None,
) -> int:
    from netlab.vm import qemu, run

    if not writable and DEFAULT_WRITABLE.is_dir():
        writable = (DEFAULT_WRITABLE,)
    size = qemu.Size(cpus, qemu.memory(memory))
    request = run.Request(argv=argv, kernel=kernel, size=size, timeout=timeout, writable=writable, terminal=terminal)
    sys.stdout.flush()
    return run.run(request, say=output.note)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C included; the terminal is as it was afterwards."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@vm.command(epilog=output.examples("netlab vm doctor", "netlab vm doctor --json"))
@output.json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """What VM runs need, what is there, and what brings the rest. Fetches nothing; tries KVM if there is a kernel."""
    from netlab.vm import survey

    features = survey.survey()
    lacking = [f for f in features if f.status == "required"]
    if as_json:
        shown = [{"name": f.name, "status": f.status, "detail": f.detail, "hint": f.hint} for f in features]
        output.emit_json({"ok": not lacking, "features": shown})
    else:
        colours = {"ok": "green", "missing": "yellow", "required": "red"}
        rows = [(output.Styled(f.status, colours[f.status]), f.name, f.detail, f.hint) for f in features]
        output.table(("status", "feature", "detail", "what brings it"), rows)
    ctx.exit(EXIT_MACHINE if lacking else os.EX_OK)
