"""The frame of the command line: lazy commands, and how each kind of failure is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from netlab.base.errors import InputError, KernelError, MachineError, NetlabError, Problem
from netlab.cli import completing, output
from netlab.cli.lazy import Entry, LazyGroup
from netlab.cli.main import COMMANDS, cli

#: what `--help` must not wait for
HEAVY = {
    "rich",
    "pydantic",
    "pyroute2",
    "scapy",
    "yaml",
    "orjson",
    "iptc",
    "netlab.kernel",
    "netlab.lab",
    "netlab.model",
}


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a verb that raises what it is told to, under the real root group."""

    def run(error: BaseException, *arguments: str) -> Result:
        @click.command(epilog=output.examples("netlab fail"))
        @output.json_option
        def fail(as_json: bool) -> None:
            raise error

        module = ModuleType("failing_verb")
        module.__dict__["fail"] = fail
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(COMMANDS, "fail", Entry("failing_verb:fail", "Fail."))
        return CliRunner().invoke(cli, ["fail", *arguments], prog_name="netlab")

    return run


def test_help_lists_every_command_and_imports_no_room() -> None:
    done = run_python(
        "import sys; from netlab.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print('modules:', *sys.modules)"
    )
    text, _, modules = done.stdout.partition("modules:")
    assert done.returncode == 0, done.stderr
    assert all(name in text and entry.help.split()[0] in text for name, entry in COMMANDS.items())
    assert "Examples:" in text
    assert not HEAVY & set(modules.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_verb_has_examples(name: str) -> None:
    ctx = click.Context(cli, info_name="netlab")
    command = cli.get_command(ctx, name)
    assert command is not None
    assert [c.name for c in verbs(ctx, command) if "Examples:" not in (c.epilog or "")] == []


def verbs(ctx: click.Context, command: click.Command) -> Iterator[click.Command]:
    if not isinstance(command, click.Group):
        yield command
        return
    for name in command.list_commands(ctx):
        inner = command.get_command(ctx, name)
        assert inner is not None
        yield from verbs(ctx, inner)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NetlabError("172.17.0.3 does not answer"), 1),
        (InputError([Problem("lab.yaml:3", "unknown key 'nods'", "did you mean nodes?")]), 2),
        (MachineError("this needs root", hint="run it with sudo"), 3),
        (KernelError("refused", errno_=1), 1),
    ],
)
def test_an_error_is_told_on_stderr_or_as_json(failing: Callable[..., Result], error: Exception, status: int) -> None:
    told = failing(error)
    assert (told.exit_code, told.stdout) == (status, "")
    assert told.stderr == f"error: {error}\n"
    as_json = failing(error, "--json")
    assert (as_json.exit_code, as_json.stderr) == (status, "")
    assert json.loads(as_json.stdout)["exit_status"] == status


def test_a_usage_error_is_status_2(failing: Callable[..., Result]) -> None:
    result = failing(AssertionError("never reached"), "--jsn")
    assert result.exit_code == 2
    assert "--jsn" in result.stderr


def test_an_unknown_command_suggests_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["doctr"], prog_name="netlab")
    assert result.exit_code == 2
    assert "No such command 'doctr'. Did you mean 'doctor'?" in result.stderr


def test_an_unexpected_exception_is_one_sentence(
    failing: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NETLAB_DEBUG", raising=False)
    result = failing(ZeroDivisionError("oops"))
    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError: oops" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("NETLAB_DEBUG", "1")
    assert "Traceback" in failing(ZeroDivisionError("oops")).stderr


def test_an_interrupt_is_quiet(failing: Callable[..., Result]) -> None:
    result = failing(KeyboardInterrupt())
    assert (result.exit_code, result.output) == (130, "")


def test_a_broken_pipe_inside_a_verb_is_a_fault_like_every_fault(failing: Callable[..., Result]) -> None:
    result = failing(BrokenPipeError("a daemon's socket"))
    assert result.exit_code == 1
    assert "BrokenPipeError" in result.stderr


def test_a_reader_who_goes_away_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    code = "import sys; sys.argv = ['netlab', 'completion', 'fish']; from netlab.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], stdout=write_end, stderr=subprocess.PIPE, timeout=60)
    os.close(write_end)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"], prog_name="netlab").output.startswith("netlab, version ")


def test_a_target_that_is_no_command_is_refused() -> None:
    group = LazyGroup("group", table={"bad": Entry("netlab.cli.lazy:Entry", "Bad.")})
    with pytest.raises(TypeError, match="is not a click command"):
        group.get_command(click.Context(group), "bad")


def test_names_complete_from_the_table_alone() -> None:
    group = LazyGroup("group", table={"alpha": Entry("no.such:module", "First."), "beta": Entry("no.such:module", "")})
    assert [(c.value, c.help) for c in group.shell_complete(click.Context(group), "al")] == [("alpha", "First.")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell], prog_name="netlab")
    assert result.exit_code == 0
    assert "_NETLAB_COMPLETE" in result.output


def test_lab_names_complete(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    here, state = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("state")
    for name in ("docker0", "demo", "flannel-vxlan"):
        (here / "labs" / name).mkdir(parents=True)
        (here / "labs" / name / "lab.yaml").touch()
    (here / "labs" / "drafts").mkdir()
    (state / "daring").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(completing, "RUN_DIR", state)
    monkeypatch.setattr(completing, "lab_dirs", lambda: [here / "labs"])
    context = click.Context(cli)
    found = completing.complete_lab(context, click.Argument(["lab"]), "d")
    assert [item.value for item in found] == ["daring", "demo", "docker0"]
