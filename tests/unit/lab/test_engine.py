"""The engine on a machine without a kernel: idempotence, conflicts, journals that cannot be written or read."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netlab.base.errors import ConflictError, InputError, KernelError, MachineError
from netlab.lab.engine import Engine
from netlab.lab.journal import Journal, JournalUnreadable, running
from netlab.lab.labfile import Lab
from netlab.lab.machine import Visitor
from netlab.model import Chain, HostState, IptablesRule

sys.path.insert(0, str(Path(__file__).parent))
from fakes import FakeMachine

LAB = """\
name: t
networks:
  lan: {subnets: [10.0.0.0/24, "fd00::/64"]}
nodes:
  a:
    forward: true
    interfaces: {eth0: {network: lan}}
    bridges: {br0: {addresses: [10.1.0.1/24], masquerade: true}}
containers:
  c: {node: a, serve: [80], publish: ["8080:80"]}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return Lab(path)


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def engine(machine: FakeMachine, tmp_path: Path) -> Engine:
    return Engine(machine, run_dir=tmp_path / "run")  # type: ignore[arg-type]


def test_up_twice_and_down(engine: Engine, machine: FakeMachine, lab: Lab) -> None:
    first = engine.up(lab)
    assert (first.fresh, first.namespaces, first.processes) == (True, 3, 1)
    assert machine.namespaces() == {"t.lan", "t.a", "t.c"}
    again = engine.up(lab)
    assert (again.fresh, again.operations) == (False, 0)
    assert running(engine.run_dir) == ["t"]
    machine.inside = [Visitor(1, "bash")]
    gone = engine.down("t")
    assert gone is not None
    assert (gone.namespaces, gone.expelled) == (3, (Visitor(1, "bash"),))
    assert (machine.namespaces(), machine.started) == (set(), [])
    assert not engine.run_dir.exists()
    assert engine.down("t") is None


def test_up_repairs(engine: Engine, machine: FakeMachine, lab: Lab) -> None:
    engine.up(lab)
    machine.delete_namespaces(["t.c"])
    assert not engine.drift("t").clean
    assert engine.up(lab).operations > 0
    assert engine.drift("t").clean


def test_another_definition(engine: Engine, lab: Lab) -> None:
    engine.up(lab)
    lab.path.write_text(LAB.replace("10.1.0.1/24", "10.2.0.1/24"))
    changed = Lab(lab.path)
    with pytest.raises(ConflictError, match=r"up under another definition.*\n.*restart"):
        engine.up(changed)
    assert engine.restart(changed).fresh
    assert engine.drift("t").clean


def test_restart_with_a_broken_file_leaves_the_lab_alone(engine: Engine, machine: FakeMachine, lab: Lab) -> None:
    engine.up(lab)
    lab.path.write_text(LAB + "nonsense: 1\n")
    with pytest.raises(InputError):
        engine.restart(Lab(lab.path))
    assert engine.drift("t").clean


def test_a_namespace_of_somebody_else(engine: Engine, machine: FakeMachine, lab: Lab) -> None:
    machine.backend.create("t.a")
    with pytest.raises(ConflictError, match=r"namespace t\.a exists already"):
        engine.up(lab)
    assert machine.namespaces() == {"t.a"}
    assert not engine.run_dir.exists()


def test_not_root(tmp_path: Path, lab: Lab) -> None:
    engine = Engine(FakeMachine(root=False), run_dir=tmp_path / "run")  # type: ignore[arg-type]
    for verb in (lambda: engine.up(lab), lambda: engine.down("t"), lambda: engine.drift("t")):
        with pytest.raises(MachineError) as caught:
            verb()
        assert caught.value.exit_status == 3


def test_a_failure_leaves_nothing_half_done(
    engine: Engine, machine: FakeMachine, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(plans: object) -> None:
        raise KernelError("no")

    monkeypatch.setattr(machine.backend, "perform", fail)
    with pytest.raises(KernelError):
        engine.up(lab)
    assert machine.namespaces() == set()
    assert not engine.run_dir.exists()


def test_a_full_disk(engine: Engine, machine: FakeMachine, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        MachineError, match=r"cannot be written: No space left on device; the network was not touched"
    ) as e:
        engine.up(lab)
    assert "df -h" in str(e.value)
    assert machine.namespaces() == set()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"nonsense", b'{"format": 99}', b'{"format":1,"claims":{"x":[{"type":"?"}]}}', b"[1]"]
)
def test_an_unreadable_journal(content: bytes, engine: Engine, machine: FakeMachine, lab: Lab) -> None:
    engine.up(lab)
    (engine.run_dir / "t" / "journal.json").write_bytes(content)
    for verb in (lambda: engine.up(lab), lambda: engine.down("t"), lambda: engine.drift("t")):
        with pytest.raises(JournalUnreadable, match=r"journal.json.*\n.*netlab lab down t --definition") as caught:
            verb()
        assert caught.value.exit_status == 1
    assert machine.namespaces() == {"t.lan", "t.a", "t.c"}
    # the definition says what the journal cannot
    gone = engine.down("t", definition=lab)
    assert gone is not None
    assert gone.namespaces == 3
    assert machine.namespaces() == set()


def test_a_journal_survives_being_written_and_read(engine: Engine, lab: Lab) -> None:
    engine.up(lab)
    record = Journal("t", run_dir=engine.run_dir).read()
    assert record is not None
    assert record.claims == lab.states
    assert record.places == {"lan": "t.lan", "a": "t.a", "c": "t.c"}


def test_concurrent_verbs_wait_or_refuse(engine: Engine, lab: Lab) -> None:
    engine.up(lab)
    told: list[str] = []
    with engine.journal("t").locked(waiting=told.append):
        with (
            pytest.raises(ConflictError, match="another netlab command"),
            engine.journal("t").locked(waiting=told.append, patience=0),
        ):
            pass
        waiting = threading.Event()
        done = threading.Event()

        def second() -> None:
            with engine.journal("t").locked(waiting=lambda _text: waiting.set()):
                done.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(5)
        assert not done.is_set()
    assert done.wait(5)
    thread.join()


def test_names_that_would_leave_the_directory(engine: Engine) -> None:
    for name in ("../x", "a/b", "", "A", "x" * 41):
        with pytest.raises(ConflictError):
            engine.journal(name)


def test_why_tells_the_line(lab: Lab) -> None:
    whys = {item.why for state in lab.states.values() for item in state}
    assert any(why.endswith("lab.yaml:8 (a bridge br0)") for why in whys), whys
    assert any(
        "lab.yaml:10 (container c publish 0)" in r.why
        for s in lab.states.values()
        for i in s
        for r in getattr(i, "rules", ())
    )


def test_the_iptables_variant_is_pinned_while_a_lab_is_up(engine: Engine, machine: FakeMachine, lab: Lab) -> None:
    engine.up(lab)
    machine.works = "legacy"  # what the machine would choose now
    engine.up(lab)
    engine.drift("t")
    assert set(machine.variants) == {"nft"}
    engine.down("t")
    engine.up(lab)
    assert machine.variants[-1] == "legacy"


def test_a_lab_that_is_as_in_its_journal_is_not_read_again(
    engine: Engine, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.up(lab)

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("netlab.base.yamlfile.load", fail)
    assert engine.up(Lab(lab.path)).operations == 0


def test_an_up_that_was_cut_off_is_finished_with_all_that_runs(
    engine: Engine, machine: FakeMachine, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after the journal and before the network, as by SIGKILL: nothing of ours cleans up."""

    class Killed(BaseException):
        pass

    def killed(plans: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(machine.backend, "perform", killed)
        with pytest.raises(Killed):
            engine.up(lab)
    assert machine.started == []
    outcome = engine.up(Lab(lab.path))
    assert (outcome.processes, len(machine.started)) == (1, 1)
    assert engine.drift("t").clean


def test_a_kernel_that_lacks_what_a_process_needs_is_told_before_anything_is_made(
    engine: Engine, machine: FakeMachine, tmp_path: Path
) -> None:
    path = tmp_path / "ipvs" / "lab.yaml"
    path.parent.mkdir()
    path.write_text("name: t\nnodes:\n  a: {}\nagents: {proxy: {nodes: [a], mode: ipvs}}\n")
    machine.lacks = {"ipvs"}
    with pytest.raises(MachineError, match="no ipvs"):
        engine.up(Lab(path))
    assert machine.namespaces() == set() and running(engine.run_dir) == []


def test_two_daemons_of_one_node_are_two(tmp_path: Path) -> None:
    """What both have asked for is the lab's, and in a chain of the kernel's own the rules of both stand."""

    def of(owner: str, chain: str) -> HostState:
        builtin = Chain.trusted(4, "filter", "FORWARD", (IptablesRule.of(f"-j {chain}"),), owner, "")
        return HostState.of([builtin, Chain.trusted(4, "filter", chain, (), owner, "")])

    claims = {"proxy.claims": of("proxy", "KUBE-FORWARD"), "policy.claims": of("policy", "NETPOL-FORWARD")}
    machine = SimpleNamespace(claims=lambda path: claims[path.name])
    listed = [{"name": f"n/{file}", "netns": "t.n", "claims": file} for file in claims]
    found = Engine(cast(Any, machine)).others(
        cast(Any, SimpleNamespace(dir=tmp_path)), cast(Any, SimpleNamespace(processes=listed))
    )
    chains = {chain.name: [rule.args[-1] for rule in chain.rules] for chain in found["t.n"].all(Chain)}
    assert chains == {"FORWARD": ["NETPOL-FORWARD", "KUBE-FORWARD"], "KUBE-FORWARD": [], "NETPOL-FORWARD": []}
