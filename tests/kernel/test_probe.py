"""The trials of features on the kernel that is here: that they end, tell the truth, and leave nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from netlab.base.errors import MachineError
from netlab.kernel import probe, syscalls

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")


def namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def devices() -> list[str]:
    return sorted(device.name for device in Path("/sys/class/net").iterdir())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def fake_restore(directory: Path, name: str, script: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_a_scratch_namespace_is_empty_and_left_again() -> None:
    home = namespace()
    with pytest.raises(ZeroDivisionError), probe.scratch():
        assert namespace() != home
        listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        assert "eth0" not in listed
        raise ZeroDivisionError
    assert namespace() == home


def test_the_survey_leaves_the_machine_as_it_was() -> None:
    home, before, opened = namespace(), devices(), descriptors()
    probe.survey()
    assert (namespace(), devices()) == (home, before)
    # one more at most: that of the own namespace, which is opened once
    assert descriptors() <= opened + 1


def test_every_feature_says_what_it_is_or_what_brings_it() -> None:
    features = probe.survey()
    names = [f.name for f in features]
    assert len(names) == len(set(names))
    assert {"namespaces", "veth", "bridge", "vxlan", "tun", "ipip", "netem", "ipvs", "iptables", "dot"} <= set(names)
    assert [f for f in features if not f.detail or (f.hint is None) != f.ok] == []


def test_a_trial_agrees_with_the_kernel_by_hand() -> None:
    found = {f.name: f.ok for f in probe.survey()}
    by_hand = subprocess.run(["unshare", "-n", "ip", "link", "add", "name", "x", "type", "dummy"], capture_output=True)
    assert found["dummy"] == (by_hand.returncode == 0)


def test_without_namespaces_nothing_else_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(syscalls, "unshare", refuse)
    monkeypatch.setattr(probe, "_failure", lambda command, stdin="": pytest.fail(f"{command} was tried"))
    features = {f.name: f for f in probe._kernel()}
    assert features["namespaces"].status == "required"
    assert features["veth"].detail.startswith("not tried")


def test_the_machines_own_variant_is_preferred() -> None:
    if shutil.which("iptables") is None:
        pytest.skip("iptables is not installed")
    target = os.path.realpath(str(shutil.which("iptables")))
    variant = probe.iptables_variant()
    with probe.scratch():
        works = {v: probe._refusal("iptables", v) is None for v in ("legacy", "nft")}
    assert works[variant]
    assert variant in target or not all(works.values())


def test_the_other_variant_serves_where_the_first_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_restore(tmp_path, "iptables-nft-restore", "echo 'No chain/target/match by that name.' >&2; exit 2")
    fake_restore(tmp_path, "iptables-legacy-restore", "cat >/dev/null")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(probe, "_preference", lambda: ("nft", "legacy"))
    assert probe.iptables_variant() == "legacy"
    with probe.scratch():
        assert "nft fails: No chain/target/match by that name." in probe._working_variant()[1]


def test_no_variant_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    home = namespace()
    with pytest.raises(MachineError, match="no iptables works here") as caught:
        probe.iptables_variant()
    assert caught.value.hint == "apt-get install iptables"
    assert namespace() == home


def test_without_root_the_variant_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="needs root"):
        probe.iptables_variant()
