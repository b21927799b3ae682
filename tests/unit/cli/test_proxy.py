"""`netlab proxy` as far as it goes without root: its words, and input that makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from netlab.base.errors import InputError
from netlab.cli.main import cli


def test_help_has_examples() -> None:
    done = CliRunner().invoke(cli, ["proxy", "--help"])
    assert done.exit_code == 0
    assert "Examples:" in done.output and "--min-sync-period" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cluster-cidr", "10.244.0.1/16"], "is no prefix"),
        (["--node-port-addresses", "many"], "--node-port-addresses: 'many' is no prefix"),
        (["--mode", "ipvs", "--ipvs-scheduler", "fair"], "IPVS has no scheduler 'fair'"),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["proxy", "--manifests", str(tmp_path), "--node-name", "n1", *words])
    assert done.exit_code == InputError.exit_status
    assert said in done.output
