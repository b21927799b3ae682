"""`netlab proxy`: Services on one node, with kube-proxy's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import manifests, output
from netlab.cli.flanneld import switch


@click.command(
    epilog=output.examples(
        "netlab lab up services-iptables                         # one on each node, with Services to serve",
        "netlab proxy --manifests manifests/ --node-name n1      # in a namespace: ip netns exec NAME …",
        "netlab proxy --manifests manifests/ --node-name n1 --mode nftables --cluster-cidr 10.244.0.0/16",
        "netlab proxy --kubeconfig proxy.conf --node-name n1     # of a cluster, as a system:node-proxier",
        "curl http://127.0.0.1:10256/metrics",
    )
)
@manifests.origin_options("--manifests", what="Services, pods, EndpointSlices, Nodes")
@click.option("--node-name", required=True, metavar="NAME", help="Which node this is: whose endpoints are local.")
@manifests.MODE
@manifests.proxy_options
@switch("--iptables-localhost-nodeports", True, "Serve node ports on 127.0.0.1, too (iptables mode, IPv4).")
@click.option("--ipvs-scheduler", default="rr", show_default=True, metavar="NAME", help="rr, lc, dh, sh, sed, nq, …")
@switch("--ipvs-strict-arp", False, "Answer ARP for no address of kube-ipvs0.")
@click.option(
    "--sync-period", type=click.FloatRange(0.1), default=30, show_default=True, metavar="SECONDS",
    help="Seconds between two looks at whether the kernel still has it all.",
)  # fmt: skip
@click.option(
    "--min-sync-period", type=click.FloatRange(0), default=1, show_default=True, metavar="SECONDS",
    help="Seconds that two changes of the kernel are apart at least; what comes meanwhile is one change.",
)  # fmt: skip
@click.option("--healthz-bind-address", default="0.0.0.0", show_default=True, metavar="ADDRESS",
              help="Of /healthz, /livez, /readyz, /metrics.")  # fmt: skip
@click.option("--healthz-port", type=click.IntRange(0, 65535), default=10256, show_default=True, help="0 for none.")
@click.option(
    "--claims", type=click.Path(path_type=Path), default=Path("/run/netlab/proxy/claims"), show_default=True,
    metavar="FILE", help="Where it remembers what of the node's network is its own.",
)  # fmt: skip
@click.option("--iptables", type=click.Choice(["nft", "legacy"]), help="Which iptables. [default: what works]")
@click.option("--this-machine", is_flag=True, help="Change the machine's own network, not that of a namespace.")
def proxy(**given: Any) -> None:
    """Serve the Services of manifests or of an API server on this node, by iptables, IPVS or nftables.

    While the API server is away the rules stay. It is asked for what the role system:node-proxier reads; pods are those
    of the Node's podCIDRs, unless --cluster-cidr says otherwise. What is wrong with a manifest is told and leaves what
    it was before; a Service that this kernel cannot serve is told and left out. It ends by SIGINT or SIGTERM and leaves
    the rules as they are; the next one adopts them.
    """
    from netlab.compile.services_ipvs import SCHEDULERS
    from netlab.daemons.proxy.machine import run
    from netlab.daemons.proxy.options import Options

    manifests.prefixes({"--cluster-cidr": given["cidrs"], "--node-port-addresses": given["node_port_addresses"]})
    if given["ipvs_scheduler"] not in SCHEDULERS:
        text = f"IPVS has no scheduler {given['ipvs_scheduler']!r}"
        raise InputError([Problem("--ipvs-scheduler", text, f"known are {', '.join(SCHEDULERS)}")])
    origin = manifests.origin(given)
    run(
        Options(
            node=given["node_name"], mode=given["mode"], cluster_cidrs=given["cidrs"],
            masquerade_all=given["masquerade_all"], node_port_addresses=given["node_port_addresses"],
            localhost_node_ports=given["iptables_localhost_nodeports"], scheduler=given["ipvs_scheduler"],
            strict_arp=given["ipvs_strict_arp"], sync_period=given["sync_period"],
            min_sync_period=given["min_sync_period"], claims=given["claims"], iptables=given["iptables"],
            health=(given["healthz_bind_address"], given["healthz_port"]), this_machine=given["this_machine"],
        ),
        origin,
    )  # fmt: skip
