"""A tour with kubectl: every command's output, compared as a whole with tests/golden/kubectl-tour.txt.

What differs from run to run is replaced: times and ages, uids, given addresses, ports, names and tokens. The other
versions of kubectl that are installed run the same tour; of them the exit statuses are compared, for their texts differ.

In a line of the tour `@uid(rs/web)@` stands for what kubectl tells of that object, and `@token(bob)@` for a new token.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from clients import kubectls
from touring import changing

HERE = Path(__file__).parent
#: seconds for one command
PATIENCE = 60.0


def told(words: Sequence[str], text: str) -> str:
    """What a command says, but for what differs from run to run."""
    if "--for=delete" in words:  # what is gone already has nothing to be told of
        text = re.sub(r"(?m)^\S+ condition met\n", "", text)
    return changing(text)


def commands() -> list[list[str]]:
    """The tour; `_` in a schedule or a template stands for a blank."""
    lines = (HERE / "tour.txt").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if line and not line.startswith("#")]
    return [
        [w.replace("_", " ") if w.startswith(("--schedule", "go-template")) else w for w in line.split(" ")]
        for line in asked
    ]


def run(kubectl: Path, words: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of one command."""

    def asked(match: re.Match[str]) -> str:
        of, name = match.groups()
        first = ["get", name, "-o", "jsonpath={.metadata.uid}"] if of == "uid" else ["create", "token", name]
        return run(kubectl, first, environment)[1].strip()

    filled = [re.sub(r"@(uid|token)\(([^)]*)\)@", asked, word) for word in words]
    done = subprocess.run(
        [kubectl, *filled], cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.fixture
def options() -> tuple[str, ...]:
    """Nobody makes pods of workloads or places them: the tour looks at objects as they were written."""
    idle = ("deployment", "replicaset", "daemonset", "job", "node", "disruption")
    return ("--no-scheduler", "--controllers", ",".join(["*", *(f"-{name}-controller" for name in idle)]))


needs_kubectl = pytest.mark.skipif(not kubectls(), reason="kubectl is not installed")


@needs_kubectl
def test_a_tour(environment: dict[str, str], golden: Callable[[str, str], None]) -> None:
    whole = []
    for words in commands():
        status, text = run(kubectls()[0], words, environment)
        whole.append(f"$ kubectl {' '.join(words)}\n{told(words, text)}" + (f"[exit {status}]\n" if status else ""))
    golden("kubectl-tour.txt", "\n".join(whole))


@needs_kubectl
@pytest.mark.parametrize("kubectl", kubectls()[1:], ids=lambda p: p.name)
def test_the_same_with_other_versions(kubectl: Path, environment: dict[str, str]) -> None:
    expected = re.findall(r"(?ms)^\$ kubectl ([^\n]*)\n(.*?)(?=^\$ kubectl |\Z)", golden_text())
    wrong = []
    for words, (line, text) in zip(commands(), expected, strict=True):
        assert line == " ".join(words)
        match = re.search(r"^\[exit (\d+)\]$", text, re.MULTILINE)
        status, output = run(kubectl, words, environment)
        if bool(status) != (match is not None) and not known_difference(kubectl.name, line):
            wrong.append((line, status, output))
    assert not wrong


def golden_text() -> str:
    """The tour's whole output."""
    return (HERE.parent / "golden" / "kubectl-tour.txt").read_text(encoding="utf-8")


def known_difference(version: str, line: str) -> bool:
    """What this version does otherwise against the original too."""
    if "--for=create" in line and version < "kubectl.1.31":
        return True  # that came with 1.31
    if "--for=jsonpath" in line and line.count("=") > 2 and version < "kubectl.1.29":
        return True  # before, it took no value with an equals sign in it
    # it asks for v1alpha1 and v1beta1 only, which this release does not serve
    return version == "kubectl.1.27" and line.startswith("auth whoami")
