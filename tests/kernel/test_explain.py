"""What `explain` prints really works: random states typed into a fresh namespace, and a whole lab as a script."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from contract import EXAMPLES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from strategies import host_states

from netlab.kernel.iptables import parse_save
from netlab.model import Address, Bridge, Chain, HostState, IptablesRule, Link, Loopback, Route, Veth
from netlab.model.diff import diff
from netlab.model.explain import Style, commands, explain, script, teardown
from netlab.model.restore import restore_blocks

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

NETNS = f"expl.{os.getpid()}"
#: warnings of the tools that go with success
HARMLESS = ("# Warning: iptables-legacy tables present",)

# a failure names its command, so that minutes of shrinking would tell no more
many = settings(
    max_examples=min(40, EXAMPLES),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def run(*argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)


def typed(lines: list[str]) -> None:
    """All of them by one shell; the first that fails or complains is named."""
    done = run("sh", "-eux", stdin="\n".join(lines) + "\n")
    said = [line for line in done.stderr.splitlines() if not line.startswith(("+ ", *HARMLESS))]
    assert done.returncode == 0 and not said, "\n".join(done.stderr.splitlines()[-3:])


class Fresh:
    """A namespace for the length of a `with`."""

    def __enter__(self) -> str:
        assert run("ip", "netns", "add", NETNS).returncode == 0
        return NETNS

    def __exit__(self, *_: object) -> None:
        assert run("ip", "netns", "del", NETNS).returncode == 0


def saved_rules(netns: str) -> list[Chain]:
    """All chains there that have rules or a policy that is not the kernel's own."""
    chains: list[Chain] = []
    for family, tool in ((4, "iptables-save"), (6, "ip6tables-save")):
        chains += parse_save(run("ip", "netns", "exec", netns, tool).stdout, family)  # type: ignore[arg-type]
    return [chain for chain in chains if not chain.builtin or chain.rules or chain.policy != "ACCEPT"]


def wanted_rules(state: HostState) -> list[Chain]:
    """The same of a state, whose built-in chains nobody else uses."""
    whole = [op.item for op in diff(HostState(), state)]
    return sorted((chain for chain in whole if isinstance(chain, Chain)), key=lambda chain: chain.key)


@pytest.mark.parametrize("style", ["lines", "restore"])
@many
@given(state=host_states())
def test_every_command_is_accepted(style: Style, state: HostState) -> None:
    assert state.problems() == []
    with Fresh() as netns:
        typed([line.shell(netns) for line in explain(state, style=style)])
        assert saved_rules(netns) == wanted_rules(state)
        for link in state.all(Link):
            if not isinstance(link.kind, Loopback):
                shown = run("ip", "-n", netns, "link", "show", "dev", link.name).stdout
                assert f" mtu {link.mtu} " in shown and ("UP" in shown.split(">")[0].split(",")) == link.up
        typed([line.shell(netns) for line in commands(diff(state, HostState()), style=style)])
        assert saved_rules(netns) == []


@settings(many, max_examples=min(20, EXAMPLES))
@given(st.data())
def test_from_one_state_to_another(data: st.DataObject) -> None:
    a, b = data.draw(host_states()), data.draw(host_states())
    with Fresh() as netns:
        typed([line.shell(netns) for line in explain(a)])
        typed([line.shell(netns) for line in commands(diff(a, b))])
        assert saved_rules(netns) == wanted_rules(b)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_restore_block_leaves_alone_what_it_does_not_name(variant: str) -> None:
    """The facts in the docstring of netlab.model.restore."""

    def iptables(*words: str, stdin: str | None = None, tool: str = "") -> str:
        done = run("ip", "netns", "exec", NETNS, f"iptables-{variant}{tool}", *words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def chain(name: str, *rules: str, policy: str | None = None) -> Chain:
        rules_ = tuple(IptablesRule.of(rule) for rule in rules)
        return Chain(family=4, table="filter", name=name, rules=rules_, policy=policy)  # type: ignore[arg-type]

    mine = chain("MINE", "-s 10.0.0.0/8 -j ACCEPT", "-j RETURN")
    old = HostState.of([mine, chain("FORWARD", "-j MINE", policy="DROP")])
    new = HostState.of([chain("OTHER"), chain("MINE", "-j OTHER"), chain("FORWARD", "-j MINE", "-i a -j OTHER")])
    with Fresh():
        for before, after in ((HostState(), old), (old, new), (new, old)):
            block = restore_blocks(diff(before, after))[4, "filter"]
            iptables("--noflush", "-w", stdin=block, tool="-restore")
            if before == HostState():
                iptables("-A", "FORWARD", "-i", "theirs", "-j", "ACCEPT")
                iptables("-N", "THEIRS")
        assert iptables("-S").splitlines() == [
            "-P INPUT ACCEPT",
            "-P FORWARD DROP",
            "-P OUTPUT ACCEPT",
            "-N MINE",
            "-N THEIRS",
            "-A FORWARD -j MINE",
            "-A FORWARD -i theirs -j ACCEPT",
            "-A MINE -s 10.0.0.0/8 -j ACCEPT",
            "-A MINE -j RETURN",
        ]
        broken = "*filter\n:MINE - [0:0]\n-A MINE -j NOWHERE\nCOMMIT\n"
        failed = run("ip", "netns", "exec", NETNS, f"iptables-{variant}-restore", "--noflush", stdin=broken)
        assert failed.returncode != 0
        assert "-A MINE -j RETURN" in iptables("-S")


LAB = f"{NETNS}-lab"


@pytest.fixture
def lab() -> Iterator[dict[str, HostState]]:
    """docker0 with two containers behind it."""
    host, web, client = f"{LAB}.host", f"{LAB}.web", f"{LAB}.client"
    lo = Link(name="lo", kind=Loopback())
    items = [lo, Link(name="docker0", kind=Bridge(), mtu=1450)]
    items += [
        Link(name=f"veth{i}", kind=Veth("eth0", netns), master="docker0", why=f"the cable to {netns}")
        for i, netns in ((1, web), (2, client))
    ]
    states = {
        host: HostState.of(
            [
                *items,
                Address(dev="docker0", address=ip_interface("172.17.0.1/16")),
                Address(dev="docker0", address=ip_interface("fd17::1/64")),
            ]
        )
    }
    for i, netns in ((1, web), (2, client)):
        states[netns] = HostState.of(
            [
                lo,
                Link(name="eth0", kind=Veth(f"veth{i}", host), mac=f"02:42:ac:11:00:0{i + 1}", mtu=1450),
                Address(dev="eth0", address=ip_interface(f"172.17.0.{i + 1}/16")),
                Address(dev="eth0", address=ip_interface(f"fd17::{i + 1}/64")),
                Route(dst=ip_network("0.0.0.0/0"), dev="eth0", via=ip_interface("172.17.0.1/16").ip),
                Route(dst=ip_network("::/0"), dev="eth0", via=ip_interface("fd17::1/64").ip),
            ]
        )
    yield states
    for name in states:
        run("ip", "netns", "del", name)


def test_a_script_builds_and_removes_a_lab(lab: dict[str, HostState], tmp_path: Path) -> None:
    client, web = f"{LAB}.client", f"{LAB}.web"
    file = tmp_path / "docker0.sh"
    process = (web, ("tail", "-f", "/dev/null"), "something that runs")
    file.write_text(script(lab, name=LAB, title="docker0", description="Two containers.", processes=[process]))

    up = run("sh", str(file), "up")
    assert (up.returncode, up.stderr) == (0, "")
    pid = int(Path(f"/run/netlab-script-{LAB}/1-tail.pid").read_text())
    process_fd = os.pidfd_open(pid)
    try:
        for address in ("172.17.0.2", "fd17::2"):
            ping = run("ip", "netns", "exec", client, "ping", "-c1", "-W5", address)
            assert ping.returncode == 0, ping.stdout + ping.stderr
        again = run("sh", str(file), "up")
        assert again.returncode == 2 and "exists already" in again.stderr

        down = run("sh", str(file), "down")
        assert (down.returncode, down.stderr) == (0, "")
        assert select.select([process_fd], [], [], 5)[0], "the process outlived its lab"
    finally:
        os.close(process_fd)
    assert not [name for name in lab if Path("/run/netns", name).exists()]
    assert not Path(f"/run/netlab-script-{LAB}").exists()
    assert run("sh", str(file), "down").returncode == 0


def test_a_script_that_fails_half_way_removes_what_it_made(lab: dict[str, HostState], tmp_path: Path) -> None:
    netns = f"{LAB}.host"
    broken = Route(dst=ip_network("10.0.0.0/8"), dev="docker0", via=ip_interface("192.0.2.1/24").ip)
    file = tmp_path / "x.sh"
    file.write_text(
        script(
            {netns: lab[netns].where(lambda i: not _is_veth(i)) | HostState((broken,))},
            name=LAB,
            title="x",
            description="",
        )
    )
    up = run("sh", str(file), "up")
    assert up.returncode != 0 and "removing what was made" in up.stderr
    assert not Path("/run/netns", netns).exists() and not Path(f"/run/netlab-script-{LAB}").exists()


def _is_veth(item: object) -> bool:
    return isinstance(item, Link) and isinstance(item.kind, Veth)


def test_teardown_names_every_namespace() -> None:
    assert [line.shell(netns) for netns, line in teardown(["a.x", "a.y"])] == ["ip netns del a.x", "ip netns del a.y"]
