"""Real flannelds on three nodes: packets arrive, go on whatever befalls the daemons, and what is spoilt is mended."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parent))

from flannel_network import Etcd, Load, Network, network, until

from netlab.kernel import netns
from netlab.kernel.probe import iptables_variant

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

#: backends whose packets the kernel carries, in both families; udp's go through the process
KERNEL = ("vxlan", "host-gw")
#: those with a device that is flanneld's own
DEVICES = {"vxlan": "flannel.1", "udp": "flannel0"}
LESS = {"vxlan": 70, "host-gw": 0, "udp": 28}


@pytest.fixture(scope="module", params=[*KERNEL, "udp"])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Each test leaves it as it was: three flannelds that are ready."""
    with network(tmp_path_factory.mktemp("net"), request.param, dual=request.param in KERNEL) as made:
        for number in made.numbers:
            made.start(number, "--ip-masq", wait=False)
        for daemon in made.daemons.values():
            daemon.ready()
        yield made.settle(six=made.dual)


def state(net: Network, number: int) -> dict[str, set[str]]:
    """What a person sees of a node's overlay."""
    variant = iptables_variant()
    lines = {
        "link": net.tool(number, "ip", "-o", "link"),
        "address": net.tool(number, "ip", "-o", "address"),
        "route": net.tool(number, "ip", "-4", "route") + net.tool(number, "ip", "-6", "route"),
        "neighbour": net.tool(number, "ip", "neigh", "show", "nud", "permanent"),
        "fdb": net.tool(number, "bridge", "fdb", "show", "dev", DEVICES.get(net.kind, "eth0"), check=False),
    }
    for tool in (f"iptables-{variant}-save", f"ip6tables-{variant}-save"):
        lines[tool] = net.tool(number, tool)
    # a device made anew has another index; lifetimes run down; comments and counters of -save are of the moment
    return {
        what: {
            re.sub(r"^\d+: |@\S+|\[\d+:\d+\]|expires \w+|valid_lft.*", "", line).strip()
            for line in text.splitlines()
            if not line.startswith("#")
            and "fe80" not in line
            and "multicast" not in line
            and "ff00::/8 dev" not in line
        }
        for what, text in lines.items()
    }


def tcp(net: Network, one: int, other: int, *, six: bool) -> bytes:
    """A megabyte from a container to another."""
    family, to = (socket.AF_INET6, f"fd00:244:0:{other}::2") if six else (socket.AF_INET, f"10.244.{other}.2")
    with netns.entered(net.name("c", other)):
        server = socket.create_server((to, 0), family=family)
    with netns.entered(net.name("c", one)):
        client = socket.socket(family)
    with server, client:
        server.settimeout(10)
        client.settimeout(10)
        client.connect(server.getsockname()[:2])
        conn, whence = server.accept()
        assert str(whence[0]) in (f"10.244.{one}.2", f"fd00:244:0:{one}::2")
        with conn:
            conn.settimeout(10)
            sender = threading.Thread(target=lambda: (client.sendall(bytes(1 << 20)), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = b"".join(iter(lambda: conn.recv(1 << 16), b""))
            sender.join()
    return got


def figure(net: Network, number: int, name: str) -> float:
    page = net.daemons[number].get("/metrics")[1]
    return {f.name: f.samples[0].value for f in text_string_to_metric_families(page) if f.samples}[name]


def test_tcp_and_ping_in_both_families(net: Network) -> None:
    for six in net.families:
        for one, other in ((1, 2), (3, 1)):
            assert tcp(net, one, other, six=six) == bytes(1 << 20)
            assert net.reaches(one, other, six=six)


def test_the_mtu_that_is_told_is_the_largest_that_passes(net: Network) -> None:
    mtu = 1500 - LESS[net.kind]
    assert f"FLANNEL_MTU={mtu}\n" in net.env_file(1).read_text()

    def ping(size: int, *, six: bool) -> str:
        to, headers = ("fd00:244:0:2::2", 48) if six else ("10.244.2.2", 28)
        return net.tool(1, "ping", "-c1", "-W1", "-Mdo", f"-s{size - headers}", to, kind="c", check=False)

    for six in net.families:
        assert " 0% packet loss" in ping(mtu, six=six)
        # by the node if it is the tunnel's, by the container's own kernel if it is the device's
        said = ping(mtu + 1, six=six)
        assert re.search(rf"([Ff]rag needed and DF set|Packet too big|message too long).*mtu ?[=:] ?{mtu}\b", said), (
            said
        )


def test_killed_and_started_again(net: Network) -> None:
    before = [state(net, number) for number in net.numbers]
    with Load(net, 1, 2) as load:
        for number in (1, 2):
            net.daemons[number].kill()
        load.more(20)
        for number in (1, 2):
            net.start(number, "--ip-masq", wait=False)
        for number in (1, 2):
            net.daemons[number].ready()
        load.more(20)
    # udp's wait for the process; what the kernel carries does not
    assert load.lost == [] or net.kind == "udp"
    assert [state(net, number) for number in net.numbers] == before
    assert "mended" not in net.daemons[1].said()


def test_stopped_it_leaves_all_as_it_is(net: Network) -> None:
    before = state(net, 3)
    assert net.daemons[3].stop() == 0
    # a TUN that nobody reads has no carrier, which shows
    assert state(net, 3) == before or net.kind == "udp"
    assert "Traceback" not in net.daemons[3].said()
    net.start(3, "--ip-masq")
    assert state(net, 3) == before


def test_a_node_that_goes_and_one_that_comes_are_followed_by_all(net: Network) -> None:
    def known() -> list[bool]:
        if net.kind == "udp":
            return [figure(net, n, "flannel_leases") == 2 for n in (1, 2)]
        return ["10.244.3.0/24" in net.tool(n, "ip", "route") for n in (1, 2)]

    assert known() == [True, True]
    net.daemons[3].stop()
    (net.store / "subnets" / net.key(3)).unlink()
    until(lambda: known() == [False, False])
    net.reserve(3)
    net.start(3, "--ip-masq")
    until(lambda: known() == [True, True])
    until(lambda: net.reaches(1, 3) and net.reaches(2, 3, six=net.dual))


def spoil(net: Network) -> list[list[str]]:
    """What a hand may remove of node 1."""
    iptables = f"iptables-{iptables_variant()}"
    hands = [
        [iptables, "-D", "FORWARD", "1"],
        [iptables, "-t", "nat", "-F", "FLANNEL-POSTRTG"],
        [iptables, "-F"],
    ]
    if net.kind in KERNEL:
        six = net.tool(1, "ip", "-6", "route", "show", "fd00:244:0:2::/64").split()
        hands += [
            ["ip", "route", "del", "10.244.2.0/24"],
            ["ip", "route", "replace", "10.244.2.0/24", "via", "10.168.0.77", "dev", "eth0"],
            ["ip", "-6", "route", "del", "fd00:244:0:2::/64", *six[1:3]],
        ]
    if net.kind == "vxlan":
        entries = net.tool(1, "bridge", "fdb", "show", "dev", "flannel.1").splitlines()
        mac = next(line.split()[0] for line in entries if "10.168.0.2" in line)
        hands += [
            ["bridge", "fdb", "del", mac, "dev", "flannel.1", "dst", "10.168.0.2"],
            ["ip", "neigh", "del", "10.244.2.0", "dev", "flannel.1"],
        ]
    if net.kind in DEVICES:
        device = DEVICES[net.kind]
        hands += [
            ["ip", "addr", "flush", "dev", device],
            ["ip", "link", "set", device, "down"],
            ["ip", "link", "set", device, "mtu", "1300"],
            ["ip", "link", "del", device],
        ]
    return hands


def test_what_a_hand_removes_is_made_again(net: Network) -> None:
    def repairs() -> float:
        return figure(net, 1, "flannel_kernel_repairs")

    before = state(net, 1)
    for hand in spoil(net):
        count = repairs()
        net.tool(1, *hand)
        until(lambda count=count: repairs() > count, " ".join(hand))  # type: ignore[misc]
        until(lambda: state(net, 1) == before, " ".join(hand))
        until(lambda: net.reaches(1, 2) and net.reaches(2, 1), " ".join(hand))


def test_eth0_down_and_up(net: Network) -> None:
    before = state(net, 1)
    net.tool(1, "ip", "link", "set", "eth0", "down")
    if net.kind == "host-gw":
        until(lambda: net.daemons[1].get("/readyz")[0] == 503)
        assert "eth0" in net.daemons[1].get("/readyz")[1]
    net.tool(1, "ip", "link", "set", "eth0", "up")
    if net.dual:  # the kernel took eth0's IPv6 addresses, and whoever made them makes them again
        net.tool(1, "ip", "addr", "replace", "fd00:168::1/64", "dev", "eth0", "nodad")
    until(lambda: state(net, 1) == before, "all is as before")
    until(lambda: net.daemons[1].get("/readyz")[0] == 200)
    until(lambda: net.reaches(1, 2) and net.reaches(2, 1, six=net.dual))
    assert net.daemons[1].process.poll() is None


def test_health_and_metrics(net: Network) -> None:
    daemon = net.daemons[2]
    assert daemon.get("/healthz") == (200, "flanneld is running\n")
    assert daemon.get("/readyz") == (200, "ready\n")
    assert daemon.get("/else")[0] == 404
    status, page = daemon.get("/metrics")
    assert status == 200
    found = {f.name: f.samples[0].value for f in text_string_to_metric_families(page) if f.samples}
    assert found["flannel_leases"] == 2 and found["flannel_leases_refused"] == 0


def test_leases_as_original_flannelds_of_any_age_write_them(net: Network) -> None:
    subnets = net.store / "subnets"
    old, upper = subnets / "10.244.77.0-24", subnets / "10.244.78.0-24"
    try:
        old.write_text('{"PublicIP":"10.168.0.77"}')
        data = {"VtepMAC": "5A:0B:C0:DE:FF:78"}
        upper.write_text(json.dumps({"PublicIP": "10.168.0.78", "BackendType": net.kind, "BackendData": data}))
        if net.kind == "vxlan":
            # without a VTEP there is no way there
            until(lambda: "10.244.77.0-24 is left out" in net.daemons[1].said())
            until(
                lambda: "5a:0b:c0:de:ff:78 dst 10.168.0.78" in net.tool(1, "bridge", "fdb", "show", "dev", "flannel.1")
            )
        elif net.kind == "udp":
            until(lambda: figure(net, 1, "flannel_leases") == 4)
        else:
            until(lambda: "10.244.77.0/24 via 10.168.0.77 dev eth0" in net.tool(1, "ip", "route"))
            until(lambda: "10.244.78.0/24 via 10.168.0.78 dev eth0" in net.tool(1, "ip", "route"))
    finally:
        old.unlink()
        upper.unlink()
    until(lambda: figure(net, 1, "flannel_leases") == 2)


# -- networks of their own


def test_two_race_for_the_last_subnet(tmp_path: Path) -> None:
    with network(tmp_path, "host-gw", nodes=2, reserve=False) as net:
        net.config |= {"SubnetMin": "10.244.1.0", "SubnetMax": "10.244.1.0"}
        net.configure()
        daemons = {number: net.start(number, wait=False) for number in net.numbers}

        def told() -> dict[int, str]:
            found = {}
            for number, daemon in daemons.items():
                try:
                    found[number] = daemon.get("/readyz")[1]
                except OSError:
                    found[number] = "not there yet"
            return found

        until(lambda: sorted("no subnet of length" in text for text in told().values()) == [False, True])
        until(lambda: "ready\n" in told().values())
        (loser,) = [number for number, text in told().items() if text != "ready\n"]
        winner = 3 - loser
        assert not net.env_file(loser).exists() and net.env_file(winner).exists()
        assert f'"PublicIP":"10.168.0.{winner}"' in (net.store / "subnets" / "10.244.1.0-24").read_text()
        assert daemons[loser].said().count("no subnet of length") == 1
        daemons[winner].stop()
        (net.store / "subnets" / "10.244.1.0-24").unlink()
        daemons[loser].ready()
        assert "FLANNEL_SUBNET=10.244.1.1/24" in net.env_file(loser).read_text()


@pytest.mark.skipif(not shutil.which("etcd"), reason="etcd is not installed: apt-get install etcd-server etcd-client")
@pytest.mark.parametrize("kind", ["vxlan", "udp"])
def test_etcd_killed_for_a_while_nothing_is_lost(tmp_path: Path, kind: str) -> None:
    with network(tmp_path, kind, nodes=2) as net:
        etcd = Etcd(net)
        try:
            etcd.start().fill()
            for number in net.numbers:
                net.start(number, store=[f"-etcd-endpoints={etcd.url}"], wait=False)
            for number in net.numbers:
                net.daemons[number].ready()
            net.settle()
            with Load(net, 1, 2) as load:
                etcd.kill()
                load.more(100)
                assert net.daemons[1].get("/readyz")[0] == 200
                etcd.start()
                load.more(20)
                # and what comes then is seen
                etcd.ctl("put", "/coreos.com/network/subnets/10.244.9.0-24", f'{{"PublicIP":"10.168.0.9","BackendType":"{kind}",'
                         '"BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:09"}}')  # fmt: skip
                until(lambda: figure(net, 1, "flannel_leases") == 2)
            assert load.lost == []
        finally:
            etcd.kill()
