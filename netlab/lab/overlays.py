"""What the daemons of a lab will ask of their nodes: computed, since flannel's backends are pure functions of the
leases, where BGP comes to rest is a pure function of the configurations, and what a proxy makes of Services, and a
policy agent of NetworkPolicies, is one of the manifests.

The lab itself does not ask for it (its daemons do, when they have agreed); `explain` and `script` show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.compile.objects import Node
from netlab.compile.policies_iptables import PolicyConfig
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import completed, families_of, local_ips, node_rules, policy_rules
from netlab.lab.resolving.agents import lab_objects
from netlab.model import HostState, Item
from netlab.model.beside import beside
from netlab.overlay.backends import Compiler, backend_of
from netlab.overlay.backends.wireguard import Wireguard
from netlab.overlay.config import NetworkConfig
from netlab.overlay.firewall import chains
from netlab.overlay.lease import Lease, Subnet
from netlab.overlay.subnetenv import SubnetEnv
from netlab.overlay.underlay import Wish, choose

if TYPE_CHECKING:
    from netlab.lab.labfile import Lab

OWNER = "flanneld"


def overlay_states(lab: Lab) -> dict[str, HostState]:
    """By namespace, what flanneld will ask for if each node gets the subnet that it had before. Empty if it cannot be
    known: a node takes whatever is free, or has a key that is made by chance."""
    spec = lab.file.flannel
    files = {file.path: file.content for file in lab.topology.files}
    if spec is None:
        return {}
    place = lab.document.place(("flannel", "config"))
    config = NetworkConfig.parse(files["flannel/config"], place=place)
    backend = backend_of(config, place=place)
    if isinstance(backend, Wireguard):
        return {}
    underlays, leases = {}, {}
    for name, node in spec.nodes.items():
        env = files.get(f"flannel/{name}/subnet.env")
        if env is None:
            return {}
        iface = node.iface if node else "eth0"
        wish = Wish(iface=[iface], ipv4=config.ipv4 is not None, ipv6=config.ipv6 is not None)
        underlays[name] = choose(lab.states[lab.topology.netns(name)], wish)
        subnet: Subnet = SubnetEnv.parse(env, place=name).subnet
        leases[name] = Lease(subnet=subnet, attrs=backend.attrs(underlays[name], HostState()))
    by_key = {lease.subnet.key: lease for lease in leases.values()}
    found = {}
    for name, own in leases.items():
        extra: list[Item] = list(chains(config, own.subnet, masq=spec.ip_masq, forwarding=True))
        desired = Compiler(backend, underlays[name]).desired(own, by_key, extra)
        found[lab.topology.netns(name)] = desired.state.stamped(OWNER)
    return found


def routed_states(lab: Lab) -> dict[str, HostState]:
    """By namespace, the routes that the lab's BGP speakers will ask for when they have told each other everything.

    What they learn from speakers that are not netlab's cannot be known, and is not there.
    """
    from netlab.bgp.config import loads
    from netlab.bgp.steady import routes

    files = {file.path: file.content for file in lab.topology.files}
    speakers = {}
    for place in lab.topology.places:
        for process in place.processes:
            if process.config and process.control:
                netns = lab.topology.netns(place.name)
                speakers[netns] = (loads(files[process.config], process.config), lab.states[netns])
    return routes(speakers) if speakers else {}


def served_states(lab: Lab) -> dict[str, HostState]:
    """By namespace, what the lab's proxies will ask for."""
    spec = lab.file.agents.proxy if lab.file.agents else None
    if spec is None:
        return {}
    objects = completed(lab_objects(lab.topology))
    nodes = {node.name: node for node in objects.nodes}
    found = {}
    for name in spec.nodes:
        netns = lab.topology.netns(name)
        here = local_ips(lab.states[netns])
        given = ProxyConfig(
            node=name, cluster_cidrs=tuple(map(str, spec.cluster_cidrs)), local_ips=here,
            node_port_addresses=tuple(map(str, spec.node_port_addresses)),
        )  # fmt: skip
        node = nodes.get(name) or Node(name)
        found[netns] = node_rules(objects, node, spec.mode, given=given, policies=False, only=families_of(here))
    return found


def isolated_states(lab: Lab) -> dict[str, HostState]:
    """By namespace, what the lab's policy agents will ask for."""
    spec = lab.file.agents.policyd if lab.file.agents else None
    if spec is None:
        return {}
    objects = lab_objects(lab.topology)
    found = {}
    for name in spec.nodes:
        hold = next((node.pod_cidrs for node in objects.nodes if node.name == name), ())
        config = PolicyConfig(node=name, hold=hold, bridged=spec.bridged)
        ips = [*hold, *(ip for pod in objects.pods for ip in pod.ips)]
        state = HostState()
        for family in families_of(ips):
            state = beside(state, policy_rules(objects, config, family))
        found[lab.topology.netns(name)] = state
    return found


def whole(lab: Lab) -> dict[str, HostState]:
    """The lab's value with that of its daemons."""
    states = dict(lab.states)
    for asked in (overlay_states(lab), routed_states(lab), served_states(lab), isolated_states(lab)):
        for ns, state in asked.items():
            states[ns] = beside(states[ns], state)
    return states
