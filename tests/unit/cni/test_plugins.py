"""What each plugin asks for, on a node without a kernel; and the runner that calls them in their order."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import orjson
import pytest
from cniworld import World, bridge, network

from netlab.cni.errors import CniError, Code
from netlab.cni.machine import HOST
from netlab.cni.plugins import flannel
from netlab.cni.plugins.bridge import device_name
from netlab.cni.protocol import read
from netlab.model import Address, Bridge, Chain, HostState, Link, Loopback, Route, Sysctl
from netlab.overlay.subnetenv import SubnetEnv

PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
SUBNET_ENV = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def rules(world: World) -> dict[str, list[str]]:
    return {f"{c.table} {c.name}": [r.line for r in c.rules] for c in world.host().all(Chain) if c.rules}


def addresses_in_use(world: World) -> list[str]:
    directory = world.root / "var/lib/cni/networks/lan"
    return sorted(f.name for f in directory.glob("*.*.*.*")) if directory.is_dir() else []


def test_a_bridge_with_two_containers(world: World) -> None:
    net = network(bridge(ipMasq=True, hairpinMode=True, mtu=1450), {"type": "loopback"})
    one = world.runner.add(net, world.pod("c1"))
    two = world.runner.add(net, world.pod("c2"))
    assert [str(ip.address) for ip in (*one.ips, *two.ips)] == [
        "10.9.0.2/24",
        "fd00:9::2/64",
        "10.9.0.3/24",
        "fd00:9::3/64",
    ]
    host = world.host()
    assert {a.address for a in host.all(Address)} == {ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")}
    cable = host.link(device_name("c1", "eth0"))
    assert cable and (cable.master, cable.mtu, cable.port and cable.port.hairpin) == ("cni0", 1450, True)
    pod = world.backend.read({"/run/netns/c1": HostState()})["/run/netns/c1"]
    eth0 = pod.link("eth0")
    assert eth0 and eth0.mac == one.interfaces[2].mac
    assert {str(r.via) for r in pod.all(Route)} == {"10.9.0.1", "fd00:9::1"}
    assert [i.name for i in one.interfaces] == ["cni0", device_name("c1", "eth0"), "eth0"]
    assert all(one.interfaces[ip.interface or 0].sandbox == "/run/netns/c1" for ip in one.ips)
    world.runner.check(net, world.pod("c1"))
    for name in ("c1", "c2", "c1"):
        world.runner.delete(net, world.pod(name))
    assert world.devices() == {"cni0"} and addresses_in_use(world) == [] and rules(world) == {}
    assert not list((world.root / "var/lib/cni/netlab/lan").glob("*:*"))
    with pytest.raises(CniError, match="not attached"):
        world.runner.check(net, world.pod("c1"))


def test_check_says_what_is_no_longer_so(world: World) -> None:
    net = network(bridge())
    world.runner.add(net, world.pod("c1"))
    space = world.backend.spaces["/run/netns/c1"]
    gone = next(order for order, item in space.items() if isinstance(item, Route) and item.dst.version == 4)
    del space[gone]
    with pytest.raises(CniError, match="route default") as told:
        world.runner.check(net, world.pod("c1"))
    assert told.value.code == Code.CHECK


def test_a_bridge_of_somebody_else_is_used_as_it_is(world: World) -> None:
    there = Link(name="cni0", kind=Bridge(ageing=7), mac="02:00:00:00:00:99")
    address = Address(dev="cni0", address=ip_interface("10.9.0.1/24"))
    world.backend.spaces[HOST] |= {there.order: there, address.order: address}
    world.runner.add(network(bridge()), world.pod("c1"))
    assert world.host().link("cni0") == there
    other = Address(dev="cni0", address=ip_interface("10.9.0.77/24"))
    world.backend.spaces[HOST] |= {other.order: other}
    with pytest.raises(CniError, match=r"10.9.0.77/24, expected the gateway's 10.9.0.1/24"):
        world.runner.add(network(bridge()), world.pod("c2"))
    assert len(addresses_in_use(world)) == 1
    world.runner.add(network(bridge(forceAddress=True)), world.pod("c2"))


def test_what_is_no_bridge_and_what_is_there_already_is_refused(world: World) -> None:
    dummy = Link(name="cni0", kind=Loopback())
    world.backend.spaces[HOST][dummy.order] = dummy
    with pytest.raises(CniError, match="no bridge"):
        world.runner.add(network(bridge()), world.pod("c1"))
    del world.backend.spaces[HOST][dummy.order]
    net = network(bridge())
    world.runner.add(net, world.pod("c1"))
    again = world.pod("c1")
    with pytest.raises(CniError, match="already"):
        world.runner.add(net, again)
    # another network's eth0 in the same container
    with pytest.raises(CniError, match="eth0 is there already"):
        world.runner.add(network(bridge(bridge="cni1", ipam={}), name="other"), again)
    world.runner.check(net, again)


def test_ports_lead_to_the_container_and_go_with_it(world: World) -> None:
    net = network(bridge(), PORTMAP)
    world.runner.add(net, world.pod("c1", capabilities=PORTS))
    found = rules(world)
    dnat = next(name for name in found if "CNI-DN" in name)
    assert found[dnat] == ["-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.9.0.2:80"] or found[dnat] == [
        "-p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00:9::2]:80"
    ]
    jump = f"-m addrtype --dst-type LOCAL -j {dnat.split()[1]}"
    assert found["nat PREROUTING"] == found["nat OUTPUT"] == [jump]
    snats = [c.rules[0].line for c in world.host().all(Chain) if c.name.startswith("CNI-SN")]
    assert snats == ["-s 10.9.0.0/24 -j MASQUERADE", "-s fd00:9::/64 -j MASQUERADE"]
    localnet = [s for s in world.backend.spaces[HOST].values() if isinstance(s, Sysctl) and "route_localnet" in s.name]
    assert [(s.name, s.value) for s in localnet] == [("net/ipv4/conf/cni0/route_localnet", "1")]
    world.runner.check(net, world.pod("c1"))
    world.runner.delete(net, world.pod("c1"))
    assert rules(world) == {}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"hostPort": 80}, "containerPort"),
        ({"hostPort": 70000, "containerPort": 80}, "hostPort"),
        ({"hostPort": 80, "containerPort": 80, "protocol": "icmp"}, "protocol"),
        ({"hostPort": 80, "containerPort": 80, "hostIP": "x"}, "hostIP"),
    ],
)
def test_mappings_that_make_no_sense(world: World, mapping: dict[str, Any], said: str) -> None:
    with pytest.raises(CniError, match=said):
        world.runner.add(network(bridge(), PORTMAP), world.pod("c1", capabilities={"portMappings": [mapping]}))
    world.runner.delete(network(bridge(), PORTMAP), world.pod("c1"))
    assert world.devices() == {"cni0"} and addresses_in_use(world) == []


def test_gc_leaves_what_is_valid(world: World) -> None:
    net = network(bridge(), PORTMAP)
    for name in ("a", "b", "c"):
        world.runner.add(net, world.pod(name, capabilities=PORTS if name == "a" else {}))
    (world.root / "var/lib/cni/results/lan-b-eth0").unlink()  # the runtime has forgotten it: GC is the plugins' then
    world.runner.gc(net, {("c", "eth0")})
    assert world.devices() == {"cni0", device_name("c", "eth0")}
    assert [a.container_id for a in world.runner.attachments("lan")] == ["c"]
    assert addresses_in_use(world) == ["10.9.0.4"] and rules(world) == {}


def test_status_is_of_addresses_that_are_left(world: World) -> None:
    small = bridge(ipam={"type": "host-local", "subnet": "10.9.0.0/30"})
    net = network(small)
    world.runner.status(net)
    world.runner.add(net, world.pod("c1"))
    with pytest.raises(CniError) as full:
        world.runner.status(net)
    assert full.value.code == Code.LIMITED
    world.runner.status(network(small, version="1.0.0"))  # which has no STATUS


def test_the_namespace_may_be_gone_at_del(world: World) -> None:
    net = network(bridge(ipMasq=True), PORTMAP)
    world.runner.add(net, world.pod("c1", capabilities=PORTS))
    gone = world.pod("c1")
    world.backend.delete(gone.netns)
    world.runner.delete(net, gone)
    assert world.devices() == {"cni0"} and addresses_in_use(world) == [] and rules(world) == {}


def test_a_path_that_is_somebody_elses_by_now_is_left_alone(world: World) -> None:
    """/proc/PID/ns/net of a container that is gone, and of another that has its number."""
    net = network(bridge())
    world.runner.add(net, world.pod("c1"))
    world.backend.delete("/run/netns/c1")
    world.backend.create("/run/netns/c1")
    other = Link(name="eth0", kind=Bridge())
    world.backend.spaces["/run/netns/c1"][other.order] = other
    world.runner.delete(net, world.pod("c1"))
    assert world.backend.read({"/run/netns/c1": HostState()})["/run/netns/c1"].link("eth0") == other


def test_flannel_waits_for_its_subnet_and_delegates(world: World) -> None:
    conf = {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}}
    net = network(conf, name="cbr0")
    with pytest.raises(CniError, match="flanneld") as early:
        world.runner.add(net, world.pod("c1"))
    assert early.value.code == Code.TRY_LATER
    env = world.root / "run/flannel/subnet.env"
    env.parent.mkdir(parents=True)
    env.write_text(SUBNET_ENV)
    world.runner.status(net)
    result = world.runner.add(net, world.pod("c1"))
    assert [str(ip.address) for ip in result.ips] == ["10.244.3.2/24"]
    assert {str(r.dst) for r in result.routes} == {"10.244.0.0/16", "0.0.0.0/0"}
    assert result.interfaces[2].mtu == 1450 and rules(world) == {}  # flanneld masquerades
    world.runner.check(net, world.pod("c1"))
    env.unlink()
    world.runner.delete(net, world.pod("c1"))
    world.runner.delete(net, world.pod("c1"))
    assert world.devices() == {"cni0"} and not list((world.root / "var/lib/cni/flannel").iterdir())


def test_what_flannel_tells_its_delegate() -> None:
    env = SubnetEnv.parse(SUBNET_ENV.replace("IPMASQ=true", "IPMASQ=false"), place="x")
    assert env is not None
    stdin = {
        "cniVersion": "0.3.1",
        "name": "cbr0",
        "type": "flannel",
        "delegate": {"mtu": 1400},
        "ipam": {"dataDir": "/d"},
    }
    environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_NETNS": "/n"}
    told = flannel.delegated(read("flannel", environment, orjson.dumps(stdin)), env)
    assert told == {
        "type": "bridge", "ipMasq": True, "mtu": 1400, "isGateway": True, "name": "cbr0", "cniVersion": "0.3.1",
        "ipam": {
            "dataDir": "/d", "type": "host-local", "ranges": [[{"subnet": "10.244.3.0/24"}]],
            "routes": [{"dst": "10.244.0.0/16"}],
        },
    }  # fmt: skip


CALICO = """\
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.244.0.0/24, blockSize: 30, ipipMode: Never, natOutgoing: true}
---
apiVersion: crd.projectcalico.org/v1
kind: Node
metadata: {name: n1}
---
apiVersion: crd.projectcalico.org/v1
kind: Node
metadata: {name: n2}
"""


def test_calico_takes_addresses_of_the_nodes_own_blocks(world: World) -> None:
    directory = world.root / "etc/calico/objects"
    directory.mkdir(parents=True)
    (directory / "objects.yaml").write_text(CALICO)
    nets = {n: network({"type": "calico", "nodename": n}, name="k8s-pod-network") for n in ("n1", "n2")}
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default"}
    one = world.runner.add(nets["n1"], world.pod("c1", args=args))
    other = world.runner.add(nets["n2"], world.pod("c2"))
    assert [str(r.ips[0].address) for r in (one, other)] == ["10.244.0.0/32", "10.244.0.4/32"]
    assert one.interfaces[0].name == "calic440f455693"[:15] or one.interfaces[0].name.startswith("cali")
    assert {str(r.dst) for r in world.host().all(Route)} == {"10.244.0.0/32", "10.244.0.4/32"}
    world.runner.check(nets["n1"], world.pod("c1"))
    for _ in range(2):
        world.runner.delete(nets["n1"], world.pod("c1"))
    world.runner.gc(nets["n2"], set())
    assert world.devices() == set()
    items = orjson.loads((directory / "ipam.json").read_bytes())["items"]
    assert [o["spec"]["attributes"] for o in items] == [[], []]
