"""The lab of a custom resource: up, checked, as its script says, and without drift. Its text is typed by test_texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.labfile import Lab
from netlab.lab.scripts import lab_script

pytestmark = pytest.mark.not_in_vm("an API server with its clients: a bridge is all that it asks of the kernel")
ROOT = Path(__file__).parents[2]


def test_every_check_holds_and_nothing_drifts(lab_copy: Callable[[str], Lab], engine: Engine) -> None:
    lab = lab_copy("crd-network")
    results = run_all(lab.file.checks, Context(engine.machine, engine.record(lab.name), lab.topology))
    assert [(r.name, r.detail) for r in results if r.outcome != "passed"] == []
    assert engine.drift(lab.name).clean


def test_the_script_is_the_lab_s() -> None:
    text = lab_script(Lab(ROOT / "labs" / "crd-network" / "lab.yaml"))
    assert (ROOT / "scripts/labs/crd-network.sh").read_text() == text, (
        "netlab lab script crd-network > scripts/labs/crd-network.sh"
    )
