"""`netlab policyd`: NetworkPolicies on one node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netlab.cli import manifests, output


@click.command(
    epilog=output.examples(
        "netlab lab up network-policy                              # one on each node, with policies to hold",
        "netlab policyd --manifests manifests/ --node-name n1      # in a namespace: ip netns exec NAME …",
        "netlab policyd --manifests manifests/ --node-name n1 --bridged --healthz-port 9099",
        "netlab policyd --kubeconfig policyd.conf --node-name n1   # of a cluster",
        "curl -s http://127.0.0.1:9099/metrics | grep dropped",
    )
)
@manifests.origin_options("--manifests", what="NetworkPolicies, pods, Namespaces, Nodes")
@click.option("--node-name", required=True, metavar="NAME", help="Which node this is: whose pods are isolated here.")
@click.option(
    "--pod-cidr", "cidrs", multiple=True, metavar="CIDR",
    help="Prefix of the node's pods: nobody in it passes before his pod is known. [default: the Node's podCIDRs]",
)  # fmt: skip
@click.option("--bridged", is_flag=True, help="Pods hang on a bridge: have its packets pass iptables.")
@click.option(
    "--resync", type=click.FloatRange(0.1), default=5, show_default=True, metavar="SECONDS",
    help="Seconds between two looks at whether the kernel still has it all.",
)  # fmt: skip
@click.option(
    "--min-sync-period", type=click.FloatRange(0), default=0.1, show_default=True, metavar="SECONDS",
    help="Seconds that two changes of the kernel are apart at least; what comes meanwhile is one change.",
)  # fmt: skip
@click.option("--set-size", type=click.IntRange(1), default=65536, show_default=True, metavar="N",
              help="Addresses that a selector may have; of one with more, none is allowed.")  # fmt: skip
@click.option("--healthz-ip", default="0.0.0.0", show_default=True, metavar="ADDRESS",
              help="Of /healthz, /readyz, /metrics.")  # fmt: skip
@click.option("--healthz-port", type=click.IntRange(0, 65535), default=0, show_default="none", help="Its port.")
@click.option(
    "--claims", type=click.Path(path_type=Path), default=Path("/run/netlab/policyd/claims"), show_default=True,
    metavar="FILE", help="Where it remembers what of the node's network is its own.",
)  # fmt: skip
@click.option("--iptables", type=click.Choice(["nft", "legacy"]), help="Which iptables. [default: what works]")
@click.option("--this-machine", is_flag=True, help="Change the machine's own network, not that of a namespace.")
def policyd(**given: Any) -> None:
    """Isolate this node's pods as the NetworkPolicies of manifests or of an API server say, by iptables and ipsets.

    The API server is asked for what the role system:netlab-policyd reads: pods, namespaces, policies and this node;
    while it is away everything stays. A pod is let through when its rules are there, not before. What is wrong with a
    manifest is told and leaves what it was before; a policy that this kernel cannot hold as it is isolates, and allows
    nobody. It ends by SIGINT or SIGTERM and leaves the rules as they are; the next one adopts them.
    """
    from netlab.daemons.policyd.machine import run
    from netlab.daemons.policyd.options import Options

    manifests.prefixes({"--pod-cidr": given["cidrs"]})
    origin = manifests.origin(given)
    run(
        Options(
            node=given["node_name"], pod_cidrs=given["cidrs"], bridged=given["bridged"], resync=given["resync"],
            min_sync_period=given["min_sync_period"], set_size=given["set_size"], claims=given["claims"],
            health=(given["healthz_ip"], given["healthz_port"]), iptables=given["iptables"],
            this_machine=given["this_machine"],
        ),
        origin,
    )  # fmt: skip
