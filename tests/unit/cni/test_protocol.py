"""What a plugin is asked and how it answers: every command, every version, every mistake with its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from cniworld import World, bridge

from netlab.cni.config import load, parse, request
from netlab.cni.errors import CniError, Code
from netlab.cni.plugins import PLUGINS, plugin
from netlab.cni.protocol import serve
from netlab.cni.result import VERSIONS, Result

ENV = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/c1"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def answer(world: World, kind: str, config: Any, **environment: str) -> tuple[int, Any]:
    found = plugin(kind)
    assert found is not None
    stdin = config if isinstance(config, bytes) else orjson.dumps(config)
    status, output = serve(kind, found, {**ENV, **environment}, stdin, world.machine)
    return status, orjson.loads(output) if output else None


@pytest.mark.parametrize("kind", PLUGINS)
def test_every_plugin_tells_its_versions(world: World, kind: str) -> None:
    status, said = answer(world, kind, {"cniVersion": "9.9.9"}, CNI_COMMAND="VERSION")
    assert (status, said["supportedVersions"]) == (0, list(VERSIONS))


@pytest.mark.parametrize(
    ("config", "environment", "code", "said"),
    [
        ({}, {"CNI_COMMAND": ""}, Code.ENVIRONMENT, "CNI_COMMAND is not set"),
        ({}, {"CNI_COMMAND": "MAKE"}, Code.ENVIRONMENT, "'MAKE'"),
        (b"{", {}, Code.DECODE, "not JSON"),
        (b"[]", {}, Code.CONFIG, "expected an object"),
        ({"cniVersion": "0.1.0", "name": "x"}, {}, Code.VERSION, "0.1.0"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_COMMAND": "GC"}, Code.VERSION, "has no GC"),
        ({"cniVersion": "0.3.1", "name": "x"}, {"CNI_COMMAND": "CHECK"}, Code.VERSION, "has no CHECK"),
        ({"cniVersion": "1.0.0", "name": "a/b"}, {}, Code.CONFIG, "name"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_CONTAINERID": ""}, Code.ENVIRONMENT, "CNI_CONTAINERID"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_CONTAINERID": "../x"}, Code.ENVIRONMENT, "CNI_CONTAINERID"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_IFNAME": "a/b"}, Code.ENVIRONMENT, "slash"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_NETNS": ""}, Code.ENVIRONMENT, "CNI_NETNS"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_ARGS": "A"}, Code.ENVIRONMENT, "CNI_ARGS"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_NETNS": "/nowhere"}, Code.UNKNOWN_CONTAINER, "/nowhere"),
        ({"cniVersion": "1.0.0", "name": "x"}, {"CNI_COMMAND": "CHECK"}, Code.CONFIG, "prevResult"),
        ({"cniVersion": "1.0.0", "name": "x", "prevResult": {"ips": [{"address": "x"}]}}, {}, Code.DECODE, "address"),
        ({"cniVersion": "1.0.0", "name": "x", "promiscMode": True}, {}, Code.UNSUPPORTED_FIELD, "promiscMode"),
        ({"cniVersion": "1.0.0", "name": "x", "mtu": "9"}, {}, Code.CONFIG, "mtu"),
        ({"cniVersion": "1.0.0", "name": "x", "ipam": {"type": "dhcpd"}}, {}, Code.PLUGIN, "dhcpd"),
        ({"cniVersion": "1.0.0", "name": "x", "ipam": {"type": "../x"}}, {}, Code.CONFIG, "slash"),
        ({"cniVersion": "1.0.0", "name": "x", "ipam": {"type": "host-local"}}, {}, Code.CONFIG, "ranges"),
    ],
)
def test_a_mistake_has_its_number(
    world: World, config: Any, environment: dict[str, str], code: Code, said: str
) -> None:
    world.pod("c1")
    status, document = answer(world, "bridge", config, **environment)
    assert (status, document["code"]) == (1, code)
    assert said in document["msg"] + document.get("details", "")
    assert world.devices() <= {"cni0"}


@pytest.mark.parametrize("version", VERSIONS)
def test_results_go_through_every_version(version: str) -> None:
    document = {
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/x", "pciID": "kept"}],
        "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 0}, {"address": "fd00::2/64"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "priority": 7}, {"dst": "10.1.0.0/16"}],
        "dns": {"nameservers": ["10.0.0.1"], "search": ["a.b"]},
    }
    if version < "1.0.0":
        for ip, family in zip(document["ips"], "46", strict=True):
            ip["version"] = family  # type: ignore[index]
    assert Result.of(document).as_document(version) == document


def test_a_configuration_is_a_list_or_a_plugin_and_the_newest_common_version(tmp_path: Path) -> None:
    one = parse({"cniVersion": "0.4.0", "name": "x", "type": "loopback"})
    assert [p["type"] for p in one.plugins] == ["loopback"]
    many = parse({"cniVersion": "0.3.1", "cniVersions": ["1.0.0", "7.0.0"], "name": "x", "plugins": [{"type": "a"}]})
    assert many.version == "1.0.0"
    for name, text in (
        ("20-b.conflist", b"{"),
        ("10-a.conf", orjson.dumps({"cniVersion": "1.0.0", "name": "first", "type": "t"})),
    ):
        (tmp_path / name).write_bytes(text)
    assert load(tmp_path).name == "first"
    with pytest.raises(CniError, match="not JSON"):
        load(tmp_path / "20-b.conflist")
    for wrong in (
        {"name": "x", "cniVersion": "1.0.0", "plugins": []},
        {"name": "x", "cniVersion": "1.0.0", "plugins": [{}]},
    ):
        with pytest.raises(CniError):
            parse(wrong)


def test_a_plugin_gets_the_capabilities_that_it_declares_and_no_other() -> None:
    net = parse(
        {"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "p", "capabilities": {"ips": True, "mac": False}}]}
    )
    told = request(net, net.plugins[0], capabilities={"ips": ["10.0.0.9"], "mac": "x", "more": 1})
    assert told == {"type": "p", "name": "x", "cniVersion": "1.0.0", "runtimeConfig": {"ips": ["10.0.0.9"]}}


def test_an_add_that_fails_in_the_kernel_leaves_nothing(world: World) -> None:
    world.pod("c1")
    config = bridge() | {"name": "lan", "cniVersion": "1.0.0"}
    # the route's gateway is out of reach, which the kernel says when the devices are there already
    config["ipam"]["routes"] = [{"dst": "10.50.0.0/16", "gw": "192.0.2.1"}]
    status, document = answer(world, "bridge", config)
    assert (status, document["code"]) == (1, Code.KERNEL)
    assert world.devices() == {"cni0"}
    assert not [f for f in (world.root / "var/lib/cni/networks/lan").iterdir() if f.name.startswith("10.")]
