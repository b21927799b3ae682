"""Tools in namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns
from netlab.kernel.commands import run_in

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

OWN = Path("/proc/thread-self/ns/net")


@pytest.fixture
def where() -> Iterator[str]:
    name = f"kfw.cmd-{os.getpid()}"
    os.close(netns.create(name))
    yield name
    netns.delete(name)


def test_the_tool_is_inside_and_we_are_not(where: str) -> None:
    home = OWN.readlink()
    seen = run_in(where, ["readlink", "/proc/self/ns/net"]).stdout.strip()
    assert seen == f"net:[{netns.inode(where)}]"
    assert OWN.readlink() == home
    assert run_in(None, ["readlink", "/proc/self/ns/net"]).stdout.strip() == str(home)
    fd = netns.open_fd(where)
    assert fd is not None
    try:
        assert run_in(fd, ["readlink", "/proc/self/ns/net"]).stdout.strip() == seen
    finally:
        os.close(fd)


def test_what_it_reads_says_and_returns(where: str) -> None:
    done = run_in(where, ["sh", "-c", "cat; echo bad >&2; exit 3"], stdin="in\n")
    assert done == ("in\n", "bad\n", 3)
    with pytest.raises(KernelError, match=r"exit 3: bad$"):
        run_in(where, ["sh", "-c", "echo bad >&2; exit 3"], check=True)


def test_a_missing_tool_is_named_with_its_package(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError) as caught:
        run_in(where, ["ipset", "save"])
    assert caught.value.hint == "apt-get install ipset"
    with pytest.raises(MachineError) as caught:
        run_in(where, ["no-such-tool"])
    assert caught.value.hint is None


def test_a_tool_that_does_not_end_is_ended(where: str) -> None:
    with pytest.raises(KernelError, match=r"not done after 0\.05 s"):
        run_in(where, ["sleep", "60"], timeout=0.05)


def test_a_missing_namespace() -> None:
    with pytest.raises(KernelError, match=r"kfw\.none"):
        run_in("kfw.none", ["true"])
