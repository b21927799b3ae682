"""A cluster as a value: from the options alone, the same each time."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from netlab.base.errors import InputError
from netlab.cluster import bootstrap, networks, plan
from netlab.cluster.options import NETWORKS, Options, Outside, check_node, node_name, options, with_node, without_node
from netlab.cluster.plan import Cluster, Places
from netlab.cni.config import parse
from netlab.daemons.supervisor import parse as parse_table
from netlab.model import Address, Link, Route, Sysctl
from netlab.overlay.backends import backend_of
from netlab.overlay.config import NetworkConfig

PLACES = Places(Path("/run/netlab/c"), Path("/disk/c"), Path("/images"), (Path("/tmp/code"),))


OUTSIDE = {"clerk": Outside(address="172.17.0.5"), "ledger": Outside(address="10.0.0.9", serve=((80, "tcp"),))}
#: carries one family
_ONE = "flannel-udp"


def planned(count: int = 3, **given: object) -> Cluster:
    return plan.plan(options("c", count=count, **given), PLACES, port=6443)


def table(cluster: Cluster, *on: str) -> list[dict[str, object]]:
    return plan.table(cluster, on or list(cluster.options.nodes), netlab=["netlab"], boot=["boot"])


def test_nodes_are_numbered_and_the_first_is_the_control_plane() -> None:
    cluster = planned()
    assert [(n.name, n.netns, str(n.addresses[0])) for n in cluster.nodes] == [
        ("control-plane", "c.control-plane", "10.168.0.2/24"),
        ("node1", "c.node1", "10.168.0.3/24"),
        ("node2", "c.node2", "10.168.0.4/24"),
    ]
    assert cluster.server == "https://10.168.0.2:6443" and cluster.outer == "https://127.0.0.1:6443"


def test_the_underlay_is_a_switch_with_a_cable_to_every_node() -> None:
    states = planned(ipv6=True).states
    assert list(states) == ["c.lan", "c.control-plane", "c.node1", "c.node2"]
    assert {link.name for link in states["c.lan"].all(Link)} == {"lo", "lan", "control-plane", "node1", "node2"}
    node = states["c.node2"]
    assert {a.address for a in node.all(Address)} == {ip_interface("10.168.0.4/24"), ip_interface("fd00:10:168::4/64")}
    assert {r.via for r in node.all(Route)} == {ip_address("10.168.0.1"), ip_address("fd00:10:168::1")}
    assert {s.name for s in node.all(Sysctl)} == {
        "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding",
        "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
    }  # fmt: skip


def test_the_same_options_are_the_same_cluster() -> None:
    assert planned().states == planned().states and table(planned()) == table(planned())


def test_a_node_keeps_its_number_whoever_comes_and_goes() -> None:
    asked = without_node(options("c"), "node1")
    assert asked.nodes == {"control-plane": 0, "node2": 2}
    asked, name = with_node(asked)
    assert name == "node1" and list(asked.nodes) == ["control-plane", "node1", "node2"]
    asked, name = with_node(asked)
    assert name == "node3"


def test_options_survive_the_journal() -> None:
    asked = options("c", network="calico", proxy="nftables", store="etcd", ipv6=True, outside=OUTSIDE)
    assert Options.of_json(json.loads(json.dumps(asked.as_json()))) == asked


def test_a_machine_outside_is_on_a_cable_of_its_own() -> None:
    cluster = planned(outside=OUTSIDE)
    assert list(cluster.states)[-2:] == ["c.clerk", "c.ledger"]
    there, switch = cluster.states["c.clerk"], cluster.states["c.lan"]
    assert [str(a.address) for a in there.all(Address)] == ["172.17.0.5/32"]
    # the switch is its router, and not in its network
    assert [(str(r.dst), str(r.via) if r.via else None) for r in there.all(Route)] == [
        ("10.168.0.1/32", None), ("0.0.0.0/0", "10.168.0.1"),
    ]  # fmt: skip
    assert {(str(r.dst), r.dev) for r in switch.all(Route)} == {("10.0.0.9/32", "ledger"), ("172.17.0.5/32", "clerk")}
    assert {link.name: link.master for link in switch.all(Link)}["clerk"] is None
    # and nothing of it is there where nobody asks for it
    assert not [*planned().states["c.lan"].all(Route), *planned().states["c.lan"].all(Sysctl)]


@pytest.mark.parametrize("name", ["lan", "node7", "control-plane", "a-name-too-long", "Clerk"])
def test_a_machine_outside_has_no_name_of_the_clusters_own(name: str) -> None:
    with pytest.raises(InputError) as told:
        options("c", outside={name: Outside(address="172.17.0.5")})
    assert [p.place for p in told.value.problems] == [f"outside {name}"]


def test_what_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as told:
        options("Nonsense!", count=0, network="weave")
    assert [p.place for p in told.value.problems] == ["NAME", "--nodes", "--network"]


def test_a_network_of_one_family_has_no_ipv6() -> None:
    with pytest.raises(InputError, match="flannel-udp carries IPv4 only"):
        options("c", network=_ONE, ipv6=True)


def test_nodes_that_cannot_be_removed_or_are_not_there() -> None:
    asked = options("c")
    with pytest.raises(InputError, match="control plane cannot be removed"):
        without_node(asked, "control-plane")
    with pytest.raises(InputError, match="no node 'node7'"):
        check_node(asked, "node7")
    with pytest.raises(InputError, match="has 100 nodes already"):
        with_node(options("c", count=100))


def test_what_runs_is_a_table_that_the_supervisor_takes() -> None:
    rows = parse_table(json.dumps({"processes": table(planned(store="etcd"))}))
    assert list(rows) == [
        "control-plane/init", "control-plane/etcd", "control-plane/server", "control-plane/agent",
        "node1/init", "node1/agent", "node2/init", "node2/agent",
    ]  # fmt: skip
    assert rows["control-plane/server"]["listen"] == ["127.0.0.1:6443"]
    assert rows["node1/init"]["unplug"] == "c.node1" and rows["node1/init"]["restart"] == "never"
    assert {row["inside"] for name, row in rows.items() if name.startswith("node1/")} == {None, "node1/init"}


def test_of_a_node_that_is_off_nothing_runs() -> None:
    assert [row["name"] for row in table(planned(), "control-plane", "node2")] == [
        "control-plane/init", "control-plane/server", "control-plane/agent", "node2/init", "node2/agent",
    ]  # fmt: skip


def test_a_node_has_files_and_directories_of_its_own() -> None:
    cluster = planned()
    machine = plan.machine(cluster, cluster.node("node1"))
    binds = {target: source for source, target in machine["binds"]}
    assert binds["/var/lib/kubelet"] == "/disk/c/node1/own/var/lib/kubelet"
    assert binds["/var/lib/netlab/images"] == "/images" and binds["/tmp/code"] == "/tmp/code"
    # what is mounted into another comes after it
    targets = [target for _, target in machine["binds"]]
    assert targets.index("/var/lib/netlab") < targets.index("/var/lib/netlab/images")
    assert machine["files"]["/etc/hostname"] == "node1\n" and "10.168.0.4 node2" in machine["files"]["/etc/hosts"]
    assert machine["cgroup"] == "/netlab/c/node1/system"


@pytest.mark.parametrize(
    ("network", "ipv6"), [(n, v6) for n in NETWORKS for v6 in (False, True) if n != _ONE or not v6]
)
def test_the_files_of_every_network_are_understood_by_their_readers(network: str, ipv6: bool) -> None:
    asked = options("c", network=network, ipv6=ipv6)
    found = networks.pod_network(asked, "node1")
    lists = [parse(json.loads(text)) for path, text in found.files.items() if path.startswith(networks.CNI_DIR)]
    assert [plugin["type"] for plugin in lists[0].plugins][-1] == "portmap"
    if found.flannel:
        config = NetworkConfig.parse(found.files[networks.NET_CONF], place="net-conf.json")
        assert backend_of(config, place="net-conf.json").kind == network.removeprefix("flannel-")
        assert (config.ipv6 is not None) == ipv6


def test_the_control_plane_alone_has_a_taint_and_serves_names() -> None:
    cluster = planned()
    control, node = (plan.agent(cluster, cluster.node(name)) for name in ("control-plane", "node1"))
    assert control["serve_dns"] and control["taints"] == [["node-role.kubernetes.io/control-plane", "", "NoSchedule"]]
    assert not node["serve_dns"] and node["taints"] == []


def test_a_node_renews_its_lease_in_the_time_that_it_may_be_silent() -> None:
    cluster = planned(node_monitor_grace_period=10)
    server = next(row for row in table(cluster) if row["name"] == "control-plane/server")
    argv = server["argv"]
    assert isinstance(argv, list) and argv[argv.index("--node-monitor-grace-period") + 1] == "10"
    assert plan.agent(cluster, cluster.node("node1"))["lease"] == 8
    [told] = [
        o for o in bootstrap.objects(bootstrap.facts(cluster), ca=b"") if o["metadata"]["name"] == "kubelet-config"
    ]
    assert json.loads(told["data"]["kubelet"])["nodeLeaseDurationSeconds"] == 8
    # as the original has it, if nobody says otherwise
    assert plan.agent(planned(), planned().node("node1"))["lease"] == 40
    with pytest.raises(InputError, match="at least 5"):
        options("c", node_monitor_grace_period=1)


def test_the_objects_of_the_beginning() -> None:
    cluster = planned()
    found = {(o["kind"], o["metadata"]["name"]): o for o in bootstrap.objects(bootstrap.facts(cluster), ca=b"PEM")}
    assert found["Service", "kube-dns"]["spec"]["clusterIP"] == "10.96.0.10"
    assert found["EndpointSlice", "kube-dns"]["endpoints"][0]["addresses"] == ["10.168.0.2"]
    assert ("ConfigMap", "kube-flannel-cfg") in found and ("ConfigMap", "cluster-info") in found
    calico = plan.plan(options("c", network="calico"), PLACES, port=1)
    assert ("ConfigMap", "kube-flannel-cfg") not in {
        (o["kind"], o["metadata"]["name"]) for o in bootstrap.objects(bootstrap.facts(calico), ca=b"")
    }


def test_names_of_nodes_are_names_of_devices() -> None:
    assert all(len(node_name(i)) <= 15 for i in range(100))
