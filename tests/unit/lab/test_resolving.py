"""What a lab file leaves open is decided in the order of the file, and around what it gives."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

from netlab.compile.topology import Topology
from netlab.lab.labfile import Lab


def topology(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "lab.yaml"
    path.write_text("name: t\n" + text)
    return Lab(path).topology


def addresses(lab: Topology, place: str, device: str) -> list[str]:
    return [str(a) for d in lab.by_name[place].devices if d.name == device for a in d.addresses]


def test_addresses_are_allotted_around_those_that_are_given(tmp_path: Path) -> None:
    lab = topology(
        tmp_path,
        """
networks: {lan: {subnets: [10.0.0.0/29, "fd00::/64"]}}
nodes:
  a: {interfaces: {eth0: {network: lan}}, bridges: {br0: {addresses: [10.1.0.1/24]}}}
  b: {interfaces: {eth0: {network: lan, addresses: [10.0.0.1/29, "fd00::2/64"]}}}
  c: {interfaces: {eth0: {network: lan}}}
containers:
  x: {node: a}
  y: {node: a, addresses: [10.1.0.2/24]}
  z: {node: a}
""",
    )
    assert addresses(lab, "a", "eth0") == ["10.0.0.2/29", "fd00::1/64"]
    assert addresses(lab, "c", "eth0") == ["10.0.0.3/29", "fd00::3/64"]
    assert [addresses(lab, n, "eth0") for n in "xyz"] == [["10.1.0.3/24"], ["10.1.0.2/24"], ["10.1.0.4/24"]]


def test_a_thousand_hosts_get_a_thousand_addresses(tmp_path: Path) -> None:
    nodes = "\n".join(f"  h{i}: {{interfaces: {{eth0: {{network: lan}}}}}}" for i in range(1000))
    lab = topology(tmp_path, f"networks: {{lan: {{subnets: [10.0.0.0/22]}}}}\nnodes:\n{nodes}\n")
    found = [addresses(lab, f"h{i}", "eth0") for i in range(1000)]
    assert found[0] == ["10.0.0.1/22"]
    assert found[-1] == ["10.0.3.232/22"]
    assert len({ip_interface(a) for [a] in found}) == 1000


def test_devices_on_top_of_others_take_the_room_that_is_left(tmp_path: Path) -> None:
    lab = topology(
        tmp_path,
        """
networks: {lan: {subnets: ["fd00::/64"], mtu: 1400}}
nodes:
  a:
    interfaces:
      vx4: {vxlan: {vni: 1, dev: eth0}}
      vx6: {vxlan: {vni: 2, dev: eth0, local: "fd00::1"}}
      mv: {macvlan: {parent: eth0}}
      eth0: {network: lan}
""",
    )
    mtus = {d.name: d.mtu for d in lab.by_name["a"].devices}
    assert mtus == {"vx4": 1350, "vx6": 1330, "mv": 1400, "eth0": 1400}


def test_the_same_file_gives_the_same_lab(tmp_path: Path) -> None:
    text = "networks: {lan: {subnets: [10.0.0.0/24]}}\nnodes: {a: {interfaces: {eth0: {network: lan}}}}\n"
    assert topology(tmp_path, text) == topology(tmp_path, text)


def test_names_of_ports_fit_the_kernel(tmp_path: Path) -> None:
    lab = topology(
        tmp_path,
        "networks: {lan: {}}\nnodes: {a-rather-long-name: {interfaces: {eth0: {network: lan, addresses: []}}}}\n",
    )
    names = [d.name for d in lab.by_name["lan"].devices]
    assert all(len(name) <= 15 for name in names)
