"""Every command of every exercise.md is typed, and answers what the text says. `...` there stands for anything."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import patience

from netlab.daemons.kubectl import environment
from netlab.lab.engine import missing_programs
from netlab.lab.labfile import Lab
from netlab.model.links import FALLBACK_TUNNELS

pytestmark = pytest.mark.not_in_vm(
    "texts tell what a machine of its own prints, times included; labs and their checks are run there"
)
LABS = Path(__file__).parents[2] / "labs"
TEXTS = sorted(path.parent.name for path in LABS.glob("*/exercise.md") if "```console" in path.read_text())
#: what a loaded tunnel module puts into every namespace, as `ip -br` shows it
_TUNNELS = re.compile(rf"^(?:{'|'.join(FALLBACK_TUNNELS)})@NONE .*\n", re.MULTILINE)
PATIENCE = patience(30)  # seconds until a command is given up
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^(?:(\$)|([a-z0-9-]+)#) (.+)$")


def commands(text: str) -> Iterator[tuple[str, str, str]]:
    """Where (a node, or $ for the machine), what, and the output below it."""
    for block in _BLOCK.findall(text):
        current: tuple[str, str] | None = None
        lines: list[str] = []
        for line in block.splitlines():
            prompt = _PROMPT.match(line)
            if not prompt:
                lines.append(line)
                continue
            if current:
                yield (*current, "\n".join(lines))
            current, lines = (prompt[1] or prompt[2], prompt[3]), []
        if current:
            yield (*current, "\n".join(lines))


def fits(expected: str, output: str) -> bool:
    """Equal but for white space, and for what stands in the place of `...`."""
    text = " ".join(output.split())
    first, *rest = [" ".join(part.split()) for part in expected.split("...")]
    if not rest:
        return text == first
    at = len(first)
    for part in rest[:-1]:  # the leftmost is as good as any, so nothing has to be tried twice
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.startswith(first) and text.endswith(rest[-1]) and len(text) - len(rest[-1]) >= at


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_true(name: str, lab_copy: Callable[..., Lab], tmp_path: Path) -> None:
    text = (LABS / name / "exercise.md").read_text()
    missing = [program for program, _ in missing_programs(Lab(LABS / name / "lab.yaml").topology)]
    if Lab(LABS / name / "lab.yaml").on_cluster:
        missing += [program for program in ("runc", "conmon") if shutil.which(program) is None]
    if re.search(r"^\$ (?:netlab )?kubectl ", text, re.MULTILINE) and shutil.which("kubectl") is None:
        missing.append("kubectl")
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    store = re.search(rf"^\$ netlab lab up {name} --store (\w+)$", text, re.MULTILINE)
    lab = lab_copy(name, store=store[1] if store else None)
    # as `export KUBECONFIG=$(netlab cluster kubeconfig NAME)` has it, which ends with its own shell here
    admin = Path("/run/netlab") / lab.name
    environ = {**os.environ, **(environment(admin) if lab.on_cluster else {})}
    # what nodes and pods have to be waited for is told there with `wait`
    limit = 4 * PATIENCE if lab.on_cluster else PATIENCE
    waiting: list[subprocess.Popen[str]] = []
    for where, line, expected in commands(text):
        line = re.sub(
            rf"(\b(?:lab|exercise|cluster) \w+ |\bgrep -c |--lab |--cluster |/run/netlab/){name}\b",
            rf"\g<1>{lab.name}",
            line,
        )
        line = line.replace(f"lab up {lab.name}", f"lab up {lab.folder}")
        line = re.sub(r"\bnetlab ", f"{shlex.quote(sys.executable)} -m netlab.cli.main ", line)
        assert where == "$" or where in lab.topology.by_name, f"{where} is no place of {name}"
        enter = [] if where == "$" else ["ip", "netns", "exec", lab.topology.netns(where)]
        if f"files/{where}/resolv.conf" in {file.path for file in lab.topology.files}:
            enter = [sys.executable, "-m", "netlab.cli.main", "lab", "exec", lab.name, where]
        if line.endswith("&"):
            line = "exec " + line.removesuffix("&")
            waiting.append(subprocess.Popen(["sh", "-c", line], stderr=subprocess.PIPE, text=True, cwd=tmp_path))
            stderr = waiting[-1].stderr
            assert stderr and "listening" in stderr.readline()
            continue
        if where == "$":
            for process in waiting:
                process.send_signal(signal.SIGINT)  # the capture has its packets: no need to wait for its end
                process.communicate(timeout=PATIENCE)
            waiting = []
        done = subprocess.run(
            [*enter, "sh", "-c", line], capture_output=True, text=True, timeout=limit, cwd=tmp_path, env=environ
        )
        output = _TUNNELS.sub("", (done.stdout + done.stderr).replace(lab.name, name))
        assert fits(expected, output), f"{where} {line}\n--- expected\n{expected}\n--- got\n{output}"
