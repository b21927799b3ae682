"""Every mistake gets a message that names the line, what was expected and what to do - and all mistakes at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.lab.labfile import Lab, find

GOOD = """\
name: t
networks:
  lan: {subnets: [10.0.0.0/24]}
nodes:
  a:
    interfaces:
      eth0: {network: lan}
    bridges:
      br0: {addresses: [10.1.0.1/24]}
containers:
  c: {node: a}
"""


def problems(tmp_path: Path, text: str) -> str:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        _ = Lab(path).states
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_the_good_one_is_good(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(GOOD)
    assert list(Lab(path).states) == ["t.lan", "t.a", "t.c"]


CASES = {
    "malformed YAML": ("nodes:\n  a: [1, 2\nx: 1\n", [":3: not valid YAML", "check indentation"]),
    "a tab": ("name: t\nnodes:\n\ta: {}\n", [":3: not valid YAML", "does not allow tabs"]),
    "not a mapping": ("- a\n- b\n", ["expected a mapping", "known keys: "]),
    "empty file": ("", ["expected a mapping"]),
    "unknown key": (GOOD.replace("networks:", "netwroks:"), [":2: unknown key 'netwroks'", "did you mean 'networks'?"]),
    "the kernel's own tunnel with an option": (
        GOOD.replace("{network: lan}", "{network: lan}\n      tunl0: {ipip: {local: 10.0.0.1}}"),
        [":8:", "tunl0 is the kernel's own IPIP device", "such as ipip0"],
    ),
    "unknown key inside": (
        GOOD.replace("{network: lan}", "{network: lan, adresses: []}"),
        [":7: unknown key 'adresses'", "did you mean 'addresses'?"],
    ),
    "missing name": (GOOD.replace("name: t\n", ""), ["needs the key 'name'"]),
    "key twice": (GOOD + "name: u\n", [":12: key 'name' occurs twice"]),
    "overlapping networks": (
        GOOD.replace("  lan: {subnets: [10.0.0.0/24]}", "  lan: {subnets: [10.0.0.0/24]}\n  wan: {subnets: [10.0.0.128/25]}"),
        [":4:", "10.0.0.128/25 of network wan overlaps 10.0.0.0/24 of network lan, at", "lab.yaml:3"],
    ),
    "overlapping subnets on a host": (
        GOOD.replace("10.1.0.1/24", "10.0.0.77/16"),
        ["overlaps", "eth0 of a", "cannot tell two networks"],
    ),
    "duplicate name": (GOOD.replace("  c: {node: a}", "  a: {node: a}"), [":11: name 'a' is taken already, at"]),
    "duplicate device": (GOOD.replace("br0:", "eth0:"), ["a has a device 'eth0' already"]),
    "duplicate address": (
        GOOD.replace("c: {node: a}", "c: {node: a, addresses: [10.1.0.1/24]}"),
        [":11: address 10.1.0.1 is in use on bridge br0 of a already, at", "lab.yaml:9"],
    ),
    "long device name": (GOOD.replace("br0:", "bridge-of-node-a:"), [":9:", "has 16 bytes; Linux allows 15"]),
    "gateway outside": (
        GOOD.replace("c: {node: a}", "c: {node: a, gateway: 10.2.0.1}"),
        [":11: containers.c: gateway 10.2.0.1 is outside the subnets of eth0 (10.1.0.0/24)"],
    ),
    "route gateway outside": (
        GOOD.replace("    interfaces:\n", "    routes: [{to: 0.0.0.0/0, via: 192.0.2.1}]\n    interfaces:\n"),
        [":6: nodes.a.routes.0.via: gateway 192.0.2.1 is in no subnet of a".replace("nodes.a.routes.0.via: ", "")],
    ),
    "unknown network": (GOOD.replace("network: lan", "network: lam"), [":7: there is no network 'lam'", "did you mean 'lan'?"]),
    "unknown node": (GOOD.replace("node: a", "node: b"), [":11: there is no node 'b'"]),
    "no kind of interface": (GOOD.replace("{network: lan}", "{}"), ["must be exactly one kind, not none"]),
    "address without length": (GOOD.replace("10.1.0.1/24", "10.1.0.1"), [":9:", "needs a prefix length (such as 10.1.0.1/24)"]),
    "no address": (GOOD.replace("10.1.0.1/24", "10.1.0.256/24"), ["is not an address with prefix length"]),
    "host bits in a subnet": (GOOD.replace("10.0.0.0/24", "10.0.0.1/24"), [":3:", "has host bits set"]),
    "port": (GOOD.replace("{node: a}", "{node: a, publish: ['99999:80']}"), [":11:", "port 99999 is not between 1 and 65535"]),
    "no host port": (GOOD.replace("{node: a}", "{node: a, publish: ['80']}"), ["does not say the host's port"]),
    "cable to nowhere": (
        GOOD.replace("{network: lan}", "{cable: 'b:eth0'}"), ["there is no node 'b'"]
    ),
    "sysctl of the machine": (
        GOOD.replace("    interfaces:", "    sysctls: {kernel.panic: 1}\n    interfaces:"), [":6: sysctl 'kernel.panic' is not below net."]
    ),
    "iptables": (
        GOOD.replace("    interfaces:", "    iptables: [{chain: INPUT, rule: -s nonsense -j DROP}]\n    interfaces:"),
        [":6:", "rule '-s nonsense -j DROP'"],
    ),
    "check without a kind": (GOOD + "checks:\n- {name: x}\n", [":13:", "a check has exactly one of reach, deny"]),
    "check with two probes": (
        GOOD + "checks:\n- reach: {from: a, to: c, icmp: true, tcp: 80}\n", [":13:", "exactly one of icmp: true, tcp: PORT"]
    ),
    "impairment without delay": (
        GOOD.replace("{network: lan}", "{network: lan, impair: {jitter: 5ms}}"), [":7:", "jitter and reorder need a delay"]
    ),
    "bad rate": (GOOD.replace("{network: lan}", "{network: lan, impair: {rate: fast}}"), ["'fast' is not understood (such as 10mbit"]),
    "nothing below": (
        GOOD.replace("    bridges:", "      vx: {vxlan: {vni: 1, dev: eth9}}\n    bridges:"),
        [":8: there is no device of a below vx: 'eth9'", "did you mean 'eth0'?"],
    ),
    "too large for the device below": (
        GOOD.replace("    bridges:", "      vx: {vxlan: {vni: 1, dev: eth0}, mtu: 1500}\n    bridges:"),
        [":8:", "mtu 1500 does not fit into eth0, which leaves 1450", "at most 1450"],
    ),
    "guest of a guest": (
        GOOD + "  d: {network: 'container:c'}\n  e: {network: 'container:d'}\n", ["d is a guest itself"]
    ),
    "unknown container network": (GOOD.replace("{node: a}", "{node: a, network: hots}"), ["unknown network 'hots'", "host, container:NAME"]),
    "agent on no node": (GOOD + "agents: {proxy: {nodes: [b]}}\n", [":12: there is no node 'b'"]),
    "unknown mode of a proxy": (GOOD + "agents: {proxy: {nodes: [a], mode: userspace}}\n", [":12: agents.proxy.mode", "nftables"]),
    "subnet full": (
        GOOD.replace("10.0.0.0/24", "10.0.0.0/30").replace(
            "containers:", "  b: {interfaces: {eth0: {network: lan}}}\n  d: {interfaces: {eth0: {network: lan}}}\ncontainers:"
        ),
        ["subnet 10.0.0.0/30 of network lan is full"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, tmp_path: Path) -> None:
    text, wanted = CASES[case]
    said = problems(tmp_path, text)
    for part in wanted:
        assert part in said, said


def test_all_mistakes_at_once_in_order_of_their_lines(tmp_path: Path) -> None:
    text = (
        GOOD.replace("network: lan", "network: lam")
        .replace("c: {node: a}", "c: {node: z}")
        .replace("10.1.0.1/24", "10.1.0.1/24, 10.1.0.1/24")
    )
    said = problems(tmp_path, text).splitlines()
    places = [
        line.split(": ")[0].rpartition(":")[2] for line in said if "lab.yaml:" in line and not line.startswith(" ")
    ]
    assert places == ["7", "9", "11"]


def test_an_unknown_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"there is no lab 'docker1'\n.*did you mean 'docker0'"):
        find("docker1")
    with pytest.raises(InputError, match="there is no lab file"):
        find("./nowhere")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        _ = Lab(path).file


def test_yaml_bombs(tmp_path: Path) -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 12)}]\n" for i in range(9)
    )
    assert "grown too large" in problems(tmp_path, bomb)
    assert "not valid YAML" in problems(tmp_path, "[" * 5000)
    assert "too deeply" in problems(tmp_path, "name: " + "[" * 80 + "]" * 80)
    assert "nested too deeply" in problems(tmp_path, "a: &a\n  b: *a\n")


words = st.one_of(
    st.sampled_from(["name", "nodes", "containers", "networks", "t", "a", "eth0", "lan", "{", "}", "[", "]", ":", "- ", "\n", "  ",
                     "10.0.0.1/24", "subnets", "&x", "*x", "!!binary", "~", "'", '"', "checks", "reach"]),
    st.text(max_size=5),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(words, max_size=40))
def test_no_text_makes_it_fall_over(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(" ".join(parts), encoding="utf-8", errors="replace")
    try:
        _ = Lab(path).states
    except InputError as e:
        assert str(e)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["name", "nodes", "a", "interfaces", "eth0", "network", "addresses", "bridges", "checks", "reach", "routes", "to"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees)
def test_no_tree_makes_it_fall_over(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    import yaml

    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    try:
        _ = Lab(path).states
    except InputError as e:
        assert str(e)
