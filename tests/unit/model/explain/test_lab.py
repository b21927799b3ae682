"""Several namespaces at once, and the script of a whole lab."""

import subprocess
from ipaddress import ip_interface, ip_network

import pytest

from netlab.model import Address, Bridge, HostState, Link, Loopback, Route, Sysctl, Veth
from netlab.model.diff import diff
from netlab.model.explain import Command, explain_lab, plan_sections, script, sections, teardown

LO = Link(name="lo", kind=Loopback())
WEB = HostState.of(
    [
        LO,
        Link(name="eth0", kind=Veth("veth1", "d.host"), mac="02:42:ac:11:00:02", mtu=1400, why="lab.yaml:9"),
        Address(dev="eth0", address=ip_interface("172.17.0.2/16")),
        Route(dst=ip_network("0.0.0.0/0"), dev="eth0", via=ip_interface("172.17.0.1/16").ip, why="lab.yaml:10"),
    ]
)
HOST = HostState.of(
    [
        Link(name="docker0", kind=Bridge(), mtu=1400, why="lab.yaml:5"),
        Link(name="veth1", kind=Veth("eth0", "d.web"), mtu=1400, master="docker0", why="lab.yaml:8"),
        Link(name="veth2", kind=Veth("eth9", "elsewhere"), up=False),
        Sysctl(name="net/ipv4/ip_forward", value="1", why="lab.yaml:6"),
    ]
)
LAB = {"d.web": WEB, "d.host": HOST}


@pytest.mark.parametrize(
    ("argv", "netns", "shell"),
    [
        (("ip", "-6", "route"), "x", "ip -n x -6 route"),
        (("bridge", "fdb"), "x", "bridge -n x fdb"),
        (("tc", "qdisc"), "x", "tc -n x qdisc"),
        (("iptables", "-A", "a b"), "x", "ip netns exec x iptables -A 'a b'"),
        (("iptables", "-S"), None, "iptables -S"),
    ],
)
def test_a_command_in_a_namespace(argv: tuple[str, ...], netns: str | None, shell: str) -> None:
    assert Command(argv).shell(netns) == shell


def test_a_here_document_never_ends_early() -> None:
    assert Command(("cat",), stdin="a\nEOF\n").shell() == "cat <<'EOF_'\na\nEOF\nEOF_"


def test_a_cable_is_drawn_once_from_the_side_with_most() -> None:
    assert [line.shell(netns) for netns, line in explain_lab(LAB)] == [
        "ip netns add d.web",
        "ip netns add d.host",
        "ip -n d.host link add veth1 mtu 1400 type veth peer name eth0 address 02:42:ac:11:00:02 mtu 1400 netns d.web",
        "ip -n d.host link add veth2 type veth peer name eth9 netns elsewhere",
        "ip -n d.web link set eth0 up",
        "ip -n d.web link set lo up",
        "ip -n d.web addr add 172.17.0.2/16 dev eth0",
        "ip -n d.web route add default via 172.17.0.1 dev eth0",
        "ip netns exec d.host sysctl -q -w net.ipv4.ip_forward=1",
        "ip -n d.host link add docker0 mtu 1400 type bridge",
        "ip -n d.host link set docker0 up",
        "ip -n d.host link set veth1 master docker0",
        "ip -n d.host link set veth1 up",
    ]
    assert [section.title for section in sections(LAB)] == [
        "namespaces",
        "cables: veth pairs",
        "node d.web",
        "node d.host",
    ]
    assert sections(LAB)[1].steps[0][1].why == "lab.yaml:8; lab.yaml:9"
    assert [line.shell(netns) for netns, line in teardown(LAB)] == ["ip netns del d.web", "ip netns del d.host"]


def test_a_tie_goes_to_the_first_by_name() -> None:
    a = HostState.of([Link(name="x", kind=Veth("y", "b"), up=False)])
    b = HostState.of([Link(name="y", kind=Veth("x", "a"), up=False)])
    assert [line.shell(netns) for netns, line in explain_lab({"b": b, "a": a})][2:] == [
        "ip -n a link add x type veth peer name y netns b"
    ]


def test_both_ends_in_one_namespace() -> None:
    state = HostState.of([Link(name="x", kind=Veth("y")), Link(name="y", kind=Veth("x", "a"))])
    assert [line.shell(netns) for netns, line in explain_lab({"a": state})][1:] == [
        "ip -n a link add x type veth peer name y",
        "ip -n a link set x up",
        "ip -n a link set y up",
    ]


def test_a_plan_draws_only_new_cables_after_the_old_ones_are_gone() -> None:
    moved = HostState.of([Link(name="eth0", kind=Veth("veth1", "c"), up=False)])
    there = HostState.of([Link(name="veth1", kind=Veth("eth0", "a"), up=False)])
    old = HostState.of([Link(name="eth0", kind=Veth("veth1", "b"), up=False)])
    plans = {"a": diff(old, moved), "b": [], "c": diff(HostState(), there)}
    assert [(s.title, [line.shell(netns) for netns, line in s.steps]) for s in plan_sections(plans, new=["c"])] == [
        ("namespaces", ["ip netns add c"]),
        ("what goes from node a", ["ip -n a link del eth0"]),
        ("cables: veth pairs", ["ip -n a link add eth0 type veth peer name veth1 netns c"]),
    ]


def made() -> str:
    processes = [("d.web", ("nginx", "-g", "daemon off;"), "lab.yaml:12")]
    return script(LAB, name="d", title="docker0", description="Two.\n\nAnd more.", processes=processes)


def test_script_lines() -> None:
    lines = made().splitlines()
    assert lines[:8] == [
        "#!/bin/sh",
        "# docker0",
        "#",
        "# Two.",
        "#",
        "# And more.",
        "#",
        "#   sh d.sh up      builds it",
    ]
    assert "    ip netns exec d.host sysctl -q -w net.ipv4.ip_forward=1  # lab.yaml:6" in lines
    assert "    start 1-nginx d.web nginx -g 'daemon off;'  # lab.yaml:12" in lines
    assert "    stop 1-nginx d.web" in lines
    cable = next(i for i, line in enumerate(lines) if "type veth peer name eth0" in line)
    assert lines[cable - 1] == "    # lab.yaml:8; lab.yaml:9"
    node = lines[lines.index("    # --- node d.host") + 1 :][:5]
    assert {line.find("  # ") for line in node} == {len("    ip netns exec d.host sysctl -q -w net.ipv4.ip_forward=1")}
    assert all(len(line) <= 120 for line in lines)


def test_script_is_shell() -> None:
    assert subprocess.run(["sh", "-n"], input=made(), text=True, capture_output=True, check=True).stderr == ""
    assert "start()" not in script(LAB, name="d", title="t", description="")
