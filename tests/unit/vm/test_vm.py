"""The pure parts of VM runs: packages, command lines, the guest's script."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from netlab.base.errors import InputError, KernelError, MachineError
from netlab.cli.main import cli
from netlab.kernel.commands import Completed
from netlab.vm import guest, kernels, qemu, run

PACKAGE = "linux-image-6.1.0-56-amd64"
DEPENDS = f"linux-image-amd64\n  Depends: {PACKAGE}\n"
ANSWER = (
    "/usr/bin/qemu-system-x86_64 -chardev file,id=console,path=/dev/null -chardev stdio,id=stdin,signal=on,mux=off "
    "-append 'quiet loglevel=1 init=/x/virtme-ng-init' -initrd /x/initramfs\n"
)
#: as much of a kernel as is looked at
IMAGE = bytes(0x202) + b"HdrS"


class Apt:
    """A machine whose apt has one kernel."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], timeout: float) -> Completed:
        self.asked.append(argv[0])
        if argv[0] == "apt-cache":
            return Completed(DEPENDS, "", 0)
        if argv[0] == "sh":
            (Path(argv[4]) / f"{PACKAGE}_6.1.192-2_amd64.deb").touch()
        if argv[0] == "dpkg-deb":
            release = PACKAGE.removeprefix("linux-image-")
            (Path(argv[3]) / "boot").mkdir(parents=True)
            (Path(argv[3]) / "boot" / f"vmlinuz-{release}").write_bytes(IMAGE)
            (Path(argv[3]) / "lib/modules" / release).mkdir(parents=True)
        return Completed("", "", 0)


def test_a_kernel_is_fetched_once(tmp_path: Path) -> None:
    apt, said = Apt(), list[str]()
    first = kernels.find("debian", cache=tmp_path / "cache", tool=apt, say=said.append)
    assert (first.release, first.modules is not None) == ("6.1.0-56-amd64", True)
    assert apt.asked == ["apt-cache", "sh", "dpkg-deb", "depmod"] and PACKAGE in said[0]
    assert kernels.find("debian", cache=tmp_path / "cache", tool=apt) == first
    assert len(apt.asked) == 4
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [PACKAGE]


def test_no_package_is_said_with_what_helps(tmp_path: Path) -> None:
    def offline(argv: Sequence[str], timeout: float) -> Completed:
        if argv[0] == "apt-cache":
            return Completed(DEPENDS, "", 0)
        raise KernelError("apt-get: no network")

    with pytest.raises(MachineError, match="no network") as caught:
        kernels.debian(tmp_path, tool=offline)
    assert caught.value.hint and "--kernel PATH" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MachineError):
        kernels.package_of("linux-image-amd64\n")


def test_a_path_without_a_kernel(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="--kernel"):
            kernels.by_path(path)


@pytest.mark.parametrize(("content", "what"), [(b"#!/bin/sh\n", "something else"), (b"\x7fELF" + bytes(999), "ELF")])
def test_a_file_that_is_no_kernel(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "vmlinuz-1"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"a Linux kernel image \(bzImage\) was expected, and this is .*{what}"):
        kernels.by_path(file)


def test_a_kernel_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    image = tmp_path / "boot/vmlinuz-6.9"
    image.write_bytes(IMAGE)
    assert kernels.by_path(image) == kernels.Kernel("6.9", image, None)
    modules = tmp_path / "lib/modules/6.9"
    modules.mkdir(parents=True)
    assert kernels.by_path(image) == kernels.by_path(tmp_path) == kernels.Kernel("6.9", image, modules)


@pytest.mark.parametrize(
    ("lacking", "says", "brings"),
    [
        (["qemu-system-x86_64"], "not installed: qemu-system-x86_64", "apt-get install qemu-system-x86"),
        (["modprobe", "depmod", "busybox"], "modprobe, depmod, busybox", "apt-get install busybox-static kmod"),
        (["virtme-run"], "virtme-ng is not installed", "-m pip install 'virtme-ng>=1.42,<1.43'"),
        ([], "apt knows no kernel package behind linux-image-amd64", "apt-get update"),
    ],
)
def test_what_is_missing_ends_with_3_and_the_command_that_brings_it(
    lacking: list[str], says: str, brings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in {*run.TOOLS, "apt-cache", "virtme-run"} - set(lacking):
        (tools / tool).write_text("#!/bin/sh\nexit 0\n")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tools / "python"))
    result = CliRunner().invoke(cli, ["vm", "run", "--", "true"], prog_name="netlab")
    assert result.exit_code == 3
    # lines may be broken anywhere between words
    said = " ".join(result.output.split())
    assert says in said and brings in said


@pytest.mark.parametrize(("text", "size"), [("2048", 2048), ("2048M", 2048), ("2G", 2048), ("2g", 2048)])
def test_memory(text: str, size: int) -> None:
    assert qemu.memory(text) == size


@pytest.mark.parametrize("text", ["", "G", "2T", "-1", "100", "two"])
def test_no_memory(text: str) -> None:
    with pytest.raises(InputError, match="--memory"):
        qemu.memory(text)


def test_the_command_line() -> None:
    words = qemu.command(
        ANSWER, console=Path("/r/console"), sockets={p: Path(f"/r/{p}") for p in guest.PORTS}, stdin=Path("/r/in")
    )
    assert words[:3] == ["sh", "-c", 'exec "$0" "$@" </r/in'] and words[3].endswith("qemu-system-x86_64")
    assert "file,id=console,path=/r/console" in words and "null,id=stdin" in words
    assert "quiet loglevel=1 loglevel=4 no_timer_check init=/x/virtme-ng-init" in words
    ports = [w for w in words if w.startswith("virtserialport")]
    assert [w.split("name=netlab.")[1].split(",")[0] for w in ports] == ["in", "out", "err", "ctl"]
    with pytest.raises(KernelError, match="something unknown"):
        qemu.command("?", console=Path("/r"), sockets={}, stdin=Path("/r/in"))


def test_the_script_is_a_script_and_quotes() -> None:
    argv = ["sh", "-c", "echo 'it''s' \"$HOME\""]
    task = guest.Task(argv, "/a dir", {"X": "a b"}, ["/res ults"], "/c/lib/modules/6.1", (24, 80))
    for wanted in (task, task._replace(size=None, modules=None)):
        text = guest.script(wanted)
        assert subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True).returncode == 0
    assert shlex.join(argv) in text and "cd '/a dir' ||" in text and "'X=a b'" in text
