"""What `explain` prints, run by sh, gives the state that `apply` would have given."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from contract import EXAMPLES, PREFIX, relaxed
from hypothesis import given, settings
from strategies import host_states

from netlab.base.errors import MachineError
from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.probe import need
from netlab.lab.labfile import Lab
from netlab.lab.scripts import lab_script
from netlab.model import HostState
from netlab.model.explain import commands, explain

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

NETNS = f"{PREFIX}.explained"
LABS = Path(__file__).parents[2] / "labs"


def typed(lines: list[str]) -> None:
    done = subprocess.run(["sh", "-eu"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def default_variant() -> str:
    """What plain `iptables` is here: the commands say no variant."""
    said = subprocess.run(["iptables", "--version"], capture_output=True, text=True, check=True).stdout
    return "nft" if "nf_tables" in said else "legacy"


@settings(relaxed, max_examples=EXAMPLES)
@given(state=host_states())
def test_explained_states(state: HostState) -> None:
    kernel = Kernel(LinuxBackend(iptables=default_variant()), MemoryLedger())
    netns.prepare()
    os.close(netns.create(NETNS))
    try:
        typed([command.shell(NETNS) for command in explain(state)])
        plans, strangers = kernel.drift("x", {NETNS: state})
        assert plans == {}, [str(op) for op in plans[NETNS]]
        assert strangers == {}
    finally:
        netns.delete(NETNS)


@settings(relaxed, max_examples=EXAMPLES)
@given(a=host_states(), b=host_states())
def test_explained_changes(a: HostState, b: HostState) -> None:
    kernel = Kernel(LinuxBackend(iptables=default_variant()), MemoryLedger())
    try:
        kernel.apply(NETNS, "x", a)
        if NETNS not in netns.names():  # nothing asked for, nothing made
            netns.prepare()
            os.close(netns.create(NETNS))
        ops = kernel.plan_all("x", {NETNS: b}).get(NETNS, [])
        typed([command.shell(NETNS) for command in commands(ops)])
        plans, strangers = kernel.drift("x", {NETNS: b})
        assert plans == {}, [str(op) for op in plans[NETNS]]
        assert strangers == {}
    finally:
        netns.delete(NETNS)


#: labs that lay their networks themselves
NAMES = sorted(path.parent.name for path in LABS.glob("*/lab.yaml") if not Lab(path).on_cluster)
#: labs with what a kernel may lack
PARTICULAR = ("services-ipvs",)
ELSEWHERE = pytest.mark.not_in_vm("every kernel has what it takes, and typing a lab takes an emulator a minute")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in PARTICULAR else ELSEWHERE) for name in NAMES],
)
def test_the_script_of_a_lab_gives_the_engines_state(name: str, tmp_path: Path) -> None:
    own = f"{PREFIX}s"
    copy = tmp_path / "lab/lab.yaml"
    shutil.copytree(LABS / name, copy.parent)
    copy.write_text((LABS / name / "lab.yaml").read_text().replace(f"name: {name}\n", f"name: {own}\n", 1))
    lab = Lab(copy)
    for feature in {process.feature for place in lab.topology.places for process in place.processes if process.feature}:
        try:
            need(feature)
        except MachineError as e:
            pytest.skip(e.message)
    script = tmp_path / "lab.sh"
    script.write_text(lab_script(lab))
    kernel = Kernel(LinuxBackend(iptables=default_variant()), MemoryLedger())
    try:
        subprocess.run(["sh", script, "up"], check=True)
        # with what the lab's daemons will ask for, where it has some
        plans, strangers = kernel.drift("x", lab.whole)
        assert not plans, [f"{ns}: {op}" for ns, ops in plans.items() for op in ops]
        assert strangers == {}
    finally:
        subprocess.run(["sh", script, "down"], check=True)
    assert not [n for n in netns.names() if n.startswith(f"{own}.")]


@ELSEWHERE
@pytest.mark.parametrize("name", NAMES)
def test_the_script_that_is_kept_is_the_script_that_is_printed(name: str) -> None:
    kept = LABS.parent / "scripts" / "labs" / f"{name}.sh"
    assert kept.read_text() == lab_script(Lab(LABS / name / "lab.yaml")), f"run: netlab lab script {name} -o {kept}"
