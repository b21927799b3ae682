"""kube-proxy's layout, rule for rule: hashes, chains, comments, order. Numbers are the specification's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netlab.compile.objects import Endpoint, EndpointSlice, Service, ServicePort, SlicePort
from netlab.compile.proxying import ProxyConfig
from netlab.compile.services_iptables import IptablesProxier, endpoint_hash, port_hash, probability
from netlab.model import Chain, IptablesRule, Sysctl
from netlab.model.iptables import canonical, words

CONFIG = ProxyConfig(node="n1", node_ips=("192.168.0.2",), cluster_cidrs=("10.0.0.0/8",))
PORT = ServicePort("p80", "tcp", 80, 80)


def service(name: str = "svc1", space: str = "ns1", ip: str = "172.30.0.41", **more: Any) -> Service:
    more = {"type": "ClusterIP", "ports": (PORT,), **more}
    return Service(space, name, cluster_ips=(ip,), **more)


def one_slice(*endpoints: Endpoint, name: str = "svc1", space: str = "ns1", **more: Any) -> EndpointSlice:
    ports = more.pop("ports", (SlicePort("p80", "tcp", 80),))
    return EndpointSlice(space, f"{name}-x", name, more.pop("family", 4), ports, endpoints)


def compiled(made: Service, *slices: EndpointSlice, config: ProxyConfig = CONFIG) -> dict[str, list[str]]:
    proxier = IptablesProxier(config, 4)
    proxier.put(made.key, made, slices)
    state = proxier.state()
    for chain in state.all(Chain):
        for rule in chain.rules:
            # every rule is trusted to be spelt as iptables-save spells it
            assert canonical(words(rule.line)) == IptablesRule(tuple(words(rule.line))).args == rule.args
            assert rule.why, rule
            assert len(chain.name) <= 28
    return {f"{c.table} {c.name}": [rule.line for rule in c.rules] for c in state.all(Chain)}


def own(chains: dict[str, list[str]], prefix: str) -> dict[str, list[str]]:
    return {name: rules for name, rules in chains.items() if name.startswith(f"nat KUBE-{prefix}-")}


@pytest.mark.parametrize(
    ("name", "protocol", "letters"),
    [
        ("ns1/svc1:p80", "tcp", "XPGD46QRK7WJZT7O"),
        ("ns2/svc2:p80", "tcp", "GNZBNJ2PO5MGZ6GT"),
        ("default/kubernetes:https", "tcp", "NPX46M4PTMTKRN6Y"),
        ("kube-system/kube-dns:dns", "udp", "TCOU7JCQXEZGVUNU"),
        ("kube-system/kube-dns:dns-tcp", "tcp", "ERIFXISQEP7F7OF4"),
        ("ns1/svc1", "tcp", "AQI2S6QIMU7PVVRP"),
    ],
)
def test_S77_port_hash(name: str, protocol: str, letters: str) -> None:
    assert port_hash(name, protocol) == letters


def test_S77_endpoint_hash() -> None:
    assert endpoint_hash("ns1/svc1:p80", "tcp", "10.180.0.1:80") == "SXIVWICOYRO3J4NJ"
    assert endpoint_hash("ns2/svc2:p80", "tcp", "10.180.0.2:80") == "RS4RBKLTHTF2IUXJ"


def test_S86_probability() -> None:
    assert [f"{float(probability(n)):.5f}" for n in (2, 3, 4)] == ["0.50000", "0.33333", "0.25000"]
    assert probability(3) == "0.33333333349"  # as the kernel keeps 0.3333333333
    assert f"{1 / 100001:.10f}" == "0.0000099999"


def test_S94_golden() -> None:
    chains = compiled(service(), one_slice(Endpoint("10.180.0.1")))
    name = "ns1/svc1:p80"
    svc, sep = "KUBE-SVC-XPGD46QRK7WJZT7O", "KUBE-SEP-SXIVWICOYRO3J4NJ"
    match = "-m tcp --dport 80"
    assert chains["nat KUBE-SERVICES"] == [
        f'-d 172.30.0.41/32 -p tcp -m comment --comment "{name} cluster IP" {match} -j {svc}',
        '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" '
        "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    ]
    assert chains[f"nat {svc}"] == [
        f'! -s 10.0.0.0/8 -d 172.30.0.41/32 -p tcp -m comment --comment "{name} cluster IP" {match} -j KUBE-MARK-MASQ',
        f'-m comment --comment "{name} -> 10.180.0.1:80" -j {sep}',
    ]
    assert chains[f"nat {sep}"] == [
        f'-s 10.180.0.1/32 -m comment --comment "{name}" -j KUBE-MARK-MASQ',
        f'-p tcp -m comment --comment "{name}" -m tcp -j DNAT --to-destination 10.180.0.1:80',
    ]


def test_S79_S80_S82_hooks_marks_and_forwarding() -> None:
    chains = compiled(service())
    assert [line.rpartition(" ")[2] for line in chains["filter FORWARD"]] == [
        "KUBE-PROXY-FIREWALL", "KUBE-FORWARD", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES",
    ]  # fmt: skip
    assert chains["nat KUBE-MARK-MASQ"] == ["-j MARK --set-xmark 0x4000/0x4000"]
    assert chains["nat KUBE-POSTROUTING"] == [
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-j MARK --set-xmark 0x4000/0x0",
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ]
    assert chains["filter KUBE-FORWARD"][0] == "-m conntrack --ctstate INVALID -j DROP"
    liberal = compiled(service(), config=replace(CONFIG, conntrack_be_liberal=True))
    assert "INVALID" not in liberal["filter KUBE-FORWARD"][0]


def test_S81_S16_S17_localhost() -> None:
    for config, served in (
        (CONFIG, True),
        (replace(CONFIG, localhost_node_ports=False), False),
        (replace(CONFIG, node_port_addresses=("192.168.0.0/24",)), False),
    ):
        proxier = IptablesProxier(config, 4)
        state = proxier.state()
        assert bool(state.all(Sysctl)) == served
        assert any(c.name == "KUBE-FIREWALL" for c in state.all(Chain)) == served
        services = next(c for c in state.all(Chain) if (c.table, c.name) == ("nat", "KUBE-SERVICES"))
        assert ("! -d 127.0.0.0/8" in services.rules[-1].line) == (config.localhost_node_ports is False)
        assert ("-d 192.168.0.2/32" in services.rules[-1].line) == bool(config.node_port_addresses)  # S17


def test_S85_S87_S39_affinity() -> None:
    chains = compiled(service(affinity=10800), one_slice(Endpoint("10.180.0.1"), Endpoint("10.180.0.2")))
    rules = next(iter(own(chains, "SVC").values()))
    assert [("rcheck" in r, "statistic" in r) for r in rules] == [
        (False, False), (True, False), (True, False), (False, True), (False, False),
    ]  # fmt: skip
    assert "--rcheck --seconds 10800 --reap --name KUBE-SEP-SXIVWICOYRO3J4NJ" in rules[1]
    seps = own(chains, "SEP")
    assert all("-m recent --set --name KUBE-SEP-" in rules[1] for rules in seps.values()) and len(seps) == 2


NODE_PORT = replace(PORT, node_port=30080)


def test_S84_S88_S34_external_cluster_and_local() -> None:
    here, there = Endpoint("10.180.0.1", node="n1"), Endpoint("10.180.0.2", node="n2")
    chains = compiled(service(type="NodePort", ports=(NODE_PORT,)), one_slice(here, there))
    (ext,) = own(chains, "EXT").values()
    assert [r.rpartition(" ")[2] for r in ext] == ["KUBE-MARK-MASQ", "KUBE-SVC-XPGD46QRK7WJZT7O"]
    assert chains["nat KUBE-NODEPORTS"] == [
        '-p tcp -m comment --comment "ns1/svc1:p80" -m tcp --dport 30080 -j KUBE-EXT-XPGD46QRK7WJZT7O'
    ]
    chains = compiled(service(type="NodePort", ports=(NODE_PORT,), external_local=True), one_slice(here, there))
    (ext,) = own(chains, "EXT").values()
    assert [r.rpartition(" ")[2][:8] for r in ext] == ["KUBE-SVC", "KUBE-MAR", "KUBE-SVC", "KUBE-SVL"]
    assert ext[0].startswith("-s 10.0.0.0/8 ") and all("--src-type LOCAL" in r for r in ext[1:3])
    (svl,) = own(chains, "SVL").values()
    assert len(svl) == 1
    # S34: without a prefix nobody can be told to be a pod
    config = replace(CONFIG, cluster_cidrs=())
    chains = compiled(service(type="NodePort", ports=(NODE_PORT,), external_local=True), one_slice(here), config=config)
    (ext,) = own(chains, "EXT").values()
    assert len(ext) == 3


def test_S78_S83_chains_of_a_port_and_the_ways_to_them() -> None:
    made = service(
        type="LoadBalancer", ports=(NODE_PORT,), external_ips=("80.11.12.10",), balancer_ips=("1.2.3.4",),
        source_ranges=("203.0.113.0/25",), external_local=True,
    )  # fmt: skip
    here = Endpoint("10.180.0.1", node="n1")
    chains, letters = compiled(made, one_slice(here)), "XPGD46QRK7WJZT7O"
    assert {name for name in chains if letters in name} == {
        f"nat KUBE-{kind}-{letters}" for kind in ("SVC", "SVL", "EXT", "FW")
    }
    assert [line.rpartition(" ")[2] for line in chains["nat KUBE-SERVICES"]] == [
        f"KUBE-SVC-{letters}", f"KUBE-EXT-{letters}", f"KUBE-FW-{letters}", "KUBE-NODEPORTS",
    ]  # fmt: skip
    for line, ip, what in zip(
        chains["nat KUBE-SERVICES"], ("172.30.0.41", "80.11.12.10", "1.2.3.4"), ("cluster", "external", "loadbalancer"), strict=False
    ):  # fmt: skip
        assert line.startswith(f'-d {ip}/32 -p tcp -m comment --comment "ns1/svc1:p80 {what} IP" -m tcp --dport 80 -j ')
    # without ranges there is no firewall, and with an internal policy Local the way in is that of the local endpoints
    chains = compiled(replace(made, source_ranges=(), internal_local=True), one_slice(here))
    assert [line.rpartition(" ")[2] for line in chains["nat KUBE-SERVICES"]] == [
        f"KUBE-SVL-{letters}", f"KUBE-EXT-{letters}", f"KUBE-EXT-{letters}", "KUBE-NODEPORTS",
    ]  # fmt: skip


def test_S89_firewall() -> None:
    made = service(
        type="LoadBalancer", ports=(NODE_PORT,), balancer_ips=("1.2.3.4",),
        source_ranges=("203.0.113.0/25", "192.168.0.0/24"),
    )  # fmt: skip
    chains = compiled(made, one_slice(Endpoint("10.180.0.1")))
    (fw,) = own(chains, "FW").values()
    note = '-m comment --comment "ns1/svc1:p80 loadbalancer IP" -j KUBE-EXT-XPGD46QRK7WJZT7O'
    assert fw == [
        f"-s 203.0.113.0/25 {note}",
        f"-s 192.168.0.0/24 {note}",
        f"-s 1.2.3.4/32 {note}",
        '-m comment --comment "other traffic to ns1/svc1:p80 will be dropped by KUBE-PROXY-FIREWALL"',
    ]
    assert chains["filter KUBE-PROXY-FIREWALL"] == [
        '-d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 traffic not accepted by KUBE-FW-XPGD46QRK7WJZT7O" '
        "-m tcp --dport 80 -j DROP"
    ]


def test_S90_S52_nobody_serves() -> None:
    made = service(type="NodePort", ports=(NODE_PORT,), external_ips=("80.11.12.10",))
    chains = compiled(made)
    assert not any(own(chains, kind) for kind in ("SVC", "SVL", "EXT", "SEP"))
    assert (
        chains["filter KUBE-SERVICES"][0].endswith("-j REJECT")
        and "has no endpoints" in chains["filter KUBE-SERVICES"][0]
    )
    assert [r.rpartition(" ")[2] for r in chains["filter KUBE-EXTERNAL-SERVICES"]] == ["REJECT", "REJECT"]
    assert "-m addrtype --dst-type LOCAL" in chains["filter KUBE-EXTERNAL-SERVICES"][1]
    chains = compiled(replace(made, external_local=True), one_slice(Endpoint("10.180.0.2", node="n2")))
    assert [r.rpartition(" ")[2] for r in chains["filter KUBE-EXTERNAL-SERVICES"]] == ["DROP", "DROP"]  # S30, S52
    assert "has no local endpoints" in chains["filter KUBE-EXTERNAL-SERVICES"][0]


def test_S91_health_check_port() -> None:
    made = service(type="LoadBalancer", ports=(NODE_PORT,), external_local=True, health_port=31999)
    assert compiled(made)["filter KUBE-NODEPORTS"] == [
        '-p tcp -m comment --comment "ns1/svc1:p80 health check node port" -m tcp --dport 31999 -j ACCEPT'
    ]


def test_S3_sctp() -> None:
    made = service(ports=(ServicePort("p80", "sctp", 80, 80),))
    chains = compiled(made, one_slice(Endpoint("10.180.0.1"), ports=(SlicePort("p80", "sctp", 80),)))
    (sep,) = own(chains, "SEP").values()
    assert sep[1] == '-p sctp -m comment --comment "ns1/svc1:p80" -m sctp -j DNAT --to-destination 10.180.0.1:80'


def test_S121_no_clash_of_names() -> None:
    assert port_hash("ns/a-b:c", "tcp") != port_hash("ns/a:b-c", "tcp")


def test_incremental_a_change_touches_only_its_own() -> None:
    proxier = IptablesProxier(CONFIG, 4)
    services = [service(f"s{i}", ip=f"172.30.1.{i}") for i in range(50)]
    for made in services:
        endpoints = (Endpoint("10.180.0.1"), Endpoint("10.180.0.2"))
        proxier.put(made.key, made, (one_slice(*endpoints, name=made.name),))
    assert len(proxier.step().gone) == 0
    made = services[7]
    proxier.put(made.key, made, (one_slice(Endpoint("10.180.0.1"), name="s7"),))
    step = proxier.step()
    assert {item.key[-1] for item in step.new} == {f"KUBE-SVC-{port_hash('ns1/s7:p80', 'tcp')}"}
    assert len(step.gone) == 2  # the chain as it was, and the endpoint's
    assert not proxier.step()
    # S92: nobody left: the Service's chains go, and a rule moves from nat to filter
    proxier.put(made.key, made, ())
    step = proxier.step()
    assert {item.key[-1] for item in step.new} == {"KUBE-SERVICES"}
    whole = IptablesProxier(CONFIG, 4)
    for one in services:
        whole.put(
            one.key,
            one,
            () if one is made else (one_slice(Endpoint("10.180.0.1"), Endpoint("10.180.0.2"), name=one.name),),
        )
    assert whole.state() == proxier.state()


def test_S74_a_port_more_or_less_leaves_the_others_their_chains() -> None:
    proxier = IptablesProxier(CONFIG, 4)
    one, other = PORT, ServicePort("p81", "tcp", 81, 81)
    ends = one_slice(Endpoint("10.180.0.1"), ports=(SlicePort("p80", "tcp", 80), SlicePort("p81", "tcp", 81)))
    made = service(ports=(one,))
    proxier.put(made.key, made, (ends,))
    proxier.step()
    for ports in ((one, other), (one,), (other, one)):
        proxier.put(made.key, replace(made, ports=ports), (ends,))
        step = proxier.step()
        named = {item.key[-1] for item in (*step.new, *step.gone)}
        kept = port_hash("ns1/svc1:p80", "tcp"), endpoint_hash("ns1/svc1:p80", "tcp", "10.180.0.1:80")
        assert not any(letters in str(name) for name in named for letters in kept), named


def test_the_longest_names_fit_into_comments() -> None:
    """63 characters of a namespace and of a Service, 15 of a port: what the API takes."""
    space, name, port = "n-0" + "a" * 57 + "-9z", "s-1" + "b" * 57 + "-0y", "p-80" + "c" * 11
    for family, address in ((4, "10.180.100.100"), (6, "fd00:10:244:ffff:ffff:ffff:ffff:ffff")):
        six = family == 6
        made = service(
            name, space, "fd00::41" if six else "172.30.0.41", type="LoadBalancer", affinity=86400,
            ports=(ServicePort(port, "sctp", 65535, 65535, 32767),), source_ranges=("fd01::/64" if six else "203.0.113.0/25",),
            external_ips=("fd00::80" if six else "80.11.12.10",), balancer_ips=("fd00::7" if six else "1.2.3.4",),
        )  # fmt: skip
        proxier = IptablesProxier(CONFIG, 6 if six else 4)
        ends = one_slice(
            Endpoint(address), name=name, space=space, family=family, ports=(SlicePort(port, "sctp", 65535),)
        )
        proxier.put(made.key, made, (ends,))
        rules = [rule.args for chain in proxier.state().all(Chain) for rule in chain.rules if "--comment" in rule.args]
        comments = [args[args.index("--comment") + 1] for args in rules]
        assert any(f"{space}/{name}:{port} -> " in text for text in comments)
        assert max(map(len, comments)) < 256  # with its end, what the kernel's match has room for


def test_S45_what_is_gone_leaves_nothing_and_the_same_objects_cost_nothing() -> None:
    proxier = IptablesProxier(CONFIG, 4)
    made, slices = service(), (one_slice(Endpoint("10.180.0.1")),)
    proxier.put(made.key, made, slices)
    proxier.step()
    proxier.put(made.key, made, slices)
    assert not proxier.step()
    proxier.put(made.key, None)
    assert proxier.step() and proxier.state() == IptablesProxier(CONFIG, 4).state()  # S45
