"""Tours with kubectl of all verbs that need pods, on a real cluster: every command's output, compared as a whole with
tests/golden/kubectl-tour-pods.txt and its like. The tours are in podtours/, where README tells how a line is written.

What differs from run to run is replaced; what comes in no order of its own (several pods' logs, events of several
components) is put into one. With --all-kubectls the other versions of kubectl that are installed run the same tour: of
them the exit statuses are compared, for their texts differ.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import clusterup
import pytest
from clients import kubectls
from patience import patience
from terminals import Terminal
from touring import Masks, changing, masked

pytestmark = clusterup.NEEDS
HERE = Path(__file__).parent
TOURS = ("pods", "trouble", "deployments", "nodes")
#: seconds for one command, and between two looks
PATIENCE, LOOK = 120.0, 0.2

_PODS: Masks = [
    (r"10\.244\.\d+\.\d+", "POD-ADDRESS"),
    (r"\b(front|there)-[0-9a-z]{8,10}-[0-9a-z]{5}\b", r"\1-HASH-XXXXX"),
    (r"\b(front|there)-[0-9a-z]{8,10}\b", r"\1-HASH"),
    (r"\b(agent|count|node-debugger-node1)-[0-9a-z]{5}\b", r"\1-XXXXX"),
    (r"(pod-template-hash[=:] ?)\w+", r"\1HASH"),
    (r"(controller-revision-hash[=:] ?)\w+", r"\1HASH"),
    (r"netlab://[0-9a-f]{32}", "netlab://ID"),
    (r"sha256:[0-9a-f]{64}", "sha256:DIGEST"),
    (r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC"),
    (r" \(x\d+ over \w+\)", ""),
    (r"\(\S+ ago\)", "(AGE ago)"),
    (r"Handling connection for \d+", "Handling connection for PORT"),
    (r'(?m)^Context ".*" modified', 'Context "CLUSTER" modified'),
    (r"(Successfully assigned \S+ to) node\d", r"\1 NODE"),
    (r"/tmp/kubectl-edit-\d+", "/tmp/kubectl-edit-N"),
    # there is one more where a machine has IPv6
    (r"(?m)^Forwarding from \[::1\].*\n", ""),
    (r"(?m)(?<=\s)\d+m\d+s(?= |$)", "AGE"),
]  # fmt: skip
_OF: dict[str, Masks] = {
    "top": [(r"\b\d+(m|Mi|%)", r"N\1")],
    "describe node": [
        (r"(?m)^( +(?:cpu|memory|ephemeral-storage|Machine ID|System UUID|Boot ID|Kernel Version|OS Image):) +.*", r"\1 N"),
        (r"\(\d+%\)", "(N%)"),
    ],
    "get node": [(r"(?<= )\d+[smh]\w*(?= )", "AGE")],
    # who is asked before he listens
    "describe pod": [(r"(?m)^ +Warning +Unhealthy .*Readiness probe failed: .*connection refused\n", "")],
    "events --for pod/web": [(r"(?m)^\S+ .* Unhealthy .*Readiness probe failed: .*connection refused\n", "")],
    # on a slow machine an age is of minutes, which look elsewhere like a quantity
    "events": [(r"(?m)^\d\S*", "AGE")],
    "describe": [(r"(?m)^(  (?:Normal|Warning) +\S+ +)\d\S*", r"\1AGE")],
    "get": [(r"(?<= )\d+(m|h|h\d+m)(?= |$)", "AGE")],
    # a program's last words may come after those of the copy
    "cp": [(r"(?m)^tar: removing leading.*\n", "")],
    # how far it is when somebody looks
    "rollout status": [(r"(?m)^Waiting for .*\n", "")],
    # who is gone already has nothing to be told of
    "wait --for=delete": [(r"(?m)^\S+ condition met\n", "")],
}  # fmt: skip
_PLAIN, _WITH = ("sorted", "typing", "asking"), ("until", "given", "editing")


@dataclass
class Step:
    """words: after `kubectl`; how: the words before it, with their arguments; typed: at its terminal."""

    words: list[str]
    how: dict[str, str]
    typed: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        return shlex.join(self.words)


def steps(name: str) -> list[Step]:
    """See podtours/README."""
    found: list[Step] = []
    for line in (HERE / "podtours" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            found[-1].typed.append(line.strip())
        elif line and not line.startswith("#"):
            words, how = shlex.split(line), {}
            while (first := words[0]) in (*_PLAIN, *_WITH):
                words = words[1:]
                how[first] = words.pop(0) if first in _WITH else ""
            found.append(Step(words, how))
    return found


class Tour:
    """kubectl: which; tmp: an empty directory."""

    def __init__(self, kubectl: Path, environment: dict[str, str], tmp: Path) -> None:
        self._kubectl, self._environment, self._tmp = kubectl, environment, tmp

    def take(self, step: Step) -> tuple[int, str]:
        """Exit status and output. AssertionError if what it waits for does not come."""
        deadline = time.monotonic() + patience(PATIENCE)
        while True:
            status, text = self._once(step)
            if re.search(step.how.get("until", ""), text):
                return status, text
            assert time.monotonic() < deadline, (step.line, step.how["until"], text)
            time.sleep(LOOK)

    def _once(self, step: Step) -> tuple[int, str]:
        argv: list[str | Path] = [self._kubectl, *(w.replace("@tmp@", str(self._tmp)) for w in step.words)]
        environment = self._environment
        if "typing" in step.how:
            return self._typed(argv, step.typed)
        if "asking" in step.how:
            return 0, self._asked(argv)
        if "editing" in step.how:
            environment = {**environment, "KUBE_EDITOR": f"sed -i {shlex.quote(step.how['editing'])}"}
        done = subprocess.run(
            argv, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            input=step.how.get("given", "").replace("\\n", "\n"), timeout=patience(PATIENCE),
        )  # fmt: skip
        return done.returncode, done.stdout.replace(str(self._tmp), "@tmp@")

    def _typed(self, argv: list[str | Path], lines: list[str]) -> tuple[int, str]:
        """What is said but the prompts and the echo of what was typed, which come when they like."""
        with Terminal(argv, self._environment, rows=24, columns=200, cwd=HERE) as terminal:
            terminal.until(rb"# |command prompt")
            for line in lines:
                terminal.type(f"{line}\n")
            status = terminal.wait()
        said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\r", "", terminal.whole.decode())
        kept = [line for line in (re.sub("^(/ # )+", "", line) for line in said.splitlines()) if line]
        # what the shell says first may have been said before anybody was there
        chance = re.compile("command prompt|^BusyBox v|^Enter 'help'")
        return status, "".join(f"{line}\n" for line in kept if line not in lines and not chance.search(line))

    def _asked(self, argv: list[str | Path]) -> str:
        """What a port-forward says, and the page behind it."""
        process = subprocess.Popen(
            argv, cwd=HERE, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said, page = "", ""
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                if found := re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                    with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=patience(60)) as answer:
                        page = answer.read().decode()
                if line.startswith("Handling"):
                    process.terminate()
        return said + page


def told(step: Step, text: str) -> str:
    """An output without what differs from run to run, and in order."""
    masks = [pair for of, pairs in _OF.items() if step.line.startswith(of) for pair in pairs]
    # of objects before tours: `changing` would take a name's hash for less
    text = changing(masked(text, [*masks, *_PODS]))
    if step.words[0] == "describe":
        text = re.sub(r"(?ms)(^ +-+ +-+[^\n]*\n)((?: +(?:Normal|Warning) [^\n]*\n)+)", _by_source, text)
    lines = text.splitlines()
    if "sorted" in step.how:
        head = lines[:1] if lines and lines[0].startswith("LAST SEEN") else []
        lines = head + sorted(lines[len(head) :])
    if step.words[0] == "drain":  # it says again what it tries again
        lines = list(dict.fromkeys(lines))
    return "".join(f"{line}\n" for line in lines)


def _by_source(match: re.Match[str]) -> str:
    """Events by who tells them, each in the order of telling."""
    rows = match[2].splitlines(keepends=True)
    return match[1] + "".join(sorted(rows, key=lambda row: row.split()[3]))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with clusterup.cluster(f"kt{os.getpid()}", tmp_path_factory.mktemp("tour")) as found:
        yield found.environment


@pytest.mark.parametrize("name", TOURS)
def test_a_tour(
    name: str, environment: dict[str, str], golden: Callable[[str, str], None], request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:  # fmt: skip
    # what is seen of pods on the way depends on moments, of which not all are known: not a test of every day yet
    if name == "pods" and not request.config.getoption("--all-kubectls"):
        pytest.skip("--all-kubectls runs it")
    tour, whole = Tour(kubectls()[0], environment, tmp_path), []
    for step in steps(name):
        status, text = tour.take(step)
        whole.append(f"$ kubectl {step.line}\n{told(step, text)}" + (f"[exit {status}]\n" if status else ""))
        print(whole[-1], flush=True)  # for who has to find out where it stopped
    golden(f"kubectl-tour-{name}.txt", "\n".join(whole))


@pytest.mark.parametrize("kubectl", kubectls()[1:], ids=lambda path: path.name)
@pytest.mark.parametrize("name", TOURS)
def test_the_same_with_other_versions(
    name: str, kubectl: Path, environment: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not request.config.getoption("--all-kubectls"):
        pytest.skip("--all-kubectls runs it")
    text = (HERE.parent / "golden" / f"kubectl-tour-{name}.txt").read_text(encoding="utf-8")
    expected = re.findall(r"(?ms)^\$ kubectl ([^\n]*)\n(.*?)(?=^\$ kubectl |\Z)", text)
    tour, wrong = Tour(kubectl, environment, tmp_path), []
    for step, (line, before) in zip(steps(name), expected, strict=True):
        assert line == step.line
        status, output = tour.take(step)
        if bool(status) != bool(re.search(r"^\[exit \d+\]$", before, re.MULTILINE)):
            wrong.append((line, status, output))
    assert not wrong
