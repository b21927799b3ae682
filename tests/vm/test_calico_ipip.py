"""Calico with ipipMode CrossSubnet over three nodes in two subnets: straight to a neighbour, by tunl0 across the router."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from netlab.daemons.machine import LinuxMachine
from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.labfile import Lab

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]

LAB = """
name: nlt-ipip
networks:
  rack1: {subnets: [10.168.0.0/24]}
  rack2: {subnets: [10.168.1.0/24]}
nodes:
  node1:
    interfaces: {eth0: {network: rack1, addresses: [10.168.0.2/24]}}
    routes: [{to: 0.0.0.0/0, via: 10.168.0.1}]
  node2:
    interfaces: {eth0: {network: rack1, addresses: [10.168.0.3/24]}}
    routes: [{to: 0.0.0.0/0, via: 10.168.0.1}]
  node3:
    interfaces: {eth0: {network: rack2, addresses: [10.168.1.4/24]}}
    routes: [{to: 0.0.0.0/0, via: 10.168.1.1}]
  router:
    interfaces:
      eth0: {network: rack1, addresses: [10.168.0.1/24]}
      eth1: {network: rack2, addresses: [10.168.1.1/24]}
    forward: true
containers:
  pod-1: {node: node1, network: calico, serve: [80/tcp]}
  pod-2: {node: node2, network: calico, serve: [80/tcp]}
  pod-3: {node: node3, network: calico, serve: [80/tcp]}
calico:
  nodes: [node1, node2, node3]
  objects:
    - {apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: {name: p},
       spec: {cidr: 10.244.0.0/16, ipipMode: CrossSubnet}}
checks:
  - {name: same subnet, reach: {from: pod-1, to: pod-2, http: 80}, within: 30}
  - {name: across, reach: {from: pod-1, to: pod-3, http: 80}, within: 30}
  - {name: back, reach: {from: pod-3, to: pod-1, http: 80}, within: 30}
  - {name: as long as it may be, reach: {from: pod-1, to: pod-3, icmp: true, size: 1452}, within: 30}
  - {name: the tunnel, link: {on: node1, dev: tunl0, up: true, mtu: 1480}}
  - {name: straight, route: {on: node1, to: 10.244.0.64/26, via: 10.168.0.3, dev: eth0}}
  - {name: by the tunnel, route: {on: node1, to: 10.244.0.128/26, via: 10.168.1.4, dev: tunl0}}
  - name: the packet in the packet
    within: 30
    path:
      probe: {from: pod-1, to: pod-3, icmp: true}
      hops:
        - {at: "pod-1:eth0"}
        - {at: "node1:eth0", where: {ip.src: 10.168.0.2, ip.dst: 10.168.1.4, ip.proto: 4}}
        - {at: "router:eth0"}
        - {at: "router:eth1"}
        - {at: "node3:eth0", where: {ip.proto: 4}}
        - {at: "pod-3:eth0"}
"""


def test_straight_within_a_subnet_and_by_the_tunnel_across(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(LAB)
    engine, lab = Engine(LinuxMachine()), Lab(file)
    # loaded by the first request for tunl0, the module would make one itself, and be quicker
    subprocess.run(["modprobe", "ipip"], check=True)
    engine.up(lab)
    try:
        context = Context(engine.machine, engine.record(lab.name), lab.topology)
        assert [(r.name, r.detail) for r in run_all(lab.file.checks, context) if r.outcome != "passed"] == []
        assert engine.drift(lab.name).clean
    finally:
        engine.down(lab.name)
