"""`netlab kubelet`: the pods of one node."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from netlab.base.errors import InputError, Problem
from netlab.cli import output
from netlab.cli.apiserver import PATH


@click.command(
    epilog=output.examples(
        "netlab kubelet --kubeconfig node1.conf --node-name node1       # in a namespace: ip netns exec NAME …",
        "netlab kubelet --kubeconfig node1.conf --node-name node1 --node-ip 10.0.0.11 --node-labels zone=a",
        "netlab kubelet --kubeconfig node1.conf --node-name node1 --pull   # images that are not here, from registries",
        "netlab kubeconfig system:node:node1 --group system:nodes -o node1.conf   # as whom it asks",
    )
)
@click.option("--kubeconfig", type=PATH, required=True, metavar="FILE", help="The API server, and as whom to ask.")
@click.option("--node-name", "node", required=True, metavar="NAME", help="Which node this is.")
@click.option(
    "--node-ip", "ips", multiple=True, metavar="ADDRESS", help="Of this node. [default: its first of each family]"
)
@click.option("--node-labels", "labels", multiple=True, metavar="KEY=VALUE", help="Of the node that is registered.")
@click.option("--register-with-taints", "taints", multiple=True, metavar="KEY=VALUE:EFFECT", help="The same of taints.")
@click.option("--root", type=PATH, default=Path("/var/lib/kubelet"), show_default=True, metavar="DIR",
              help="Where volumes are, and what it remembers of pods.")  # fmt: skip
@click.option("--runtime-root", "runtime", type=PATH, default=Path("/var/lib/netlab"), show_default=True, metavar="DIR",
              help="Where containers are.")  # fmt: skip
@click.option("--images", type=PATH, default=Path("/var/lib/netlab/images"), show_default=True, metavar="DIR",
              help="The store of images.")  # fmt: skip
@click.option("--logs", type=PATH, default=Path("/var/log/pods"), show_default=True, metavar="DIR",
              help="Where containers' logs are.")  # fmt: skip
@click.option("--pod-manifest-path", "manifests", type=PATH, metavar="DIR",
              help="Static pods: manifests that are run whatever the API says.")  # fmt: skip
@click.option("--cni-conf-dir", "cni", type=PATH, default=Path("/etc/cni/net.d"), show_default=True, metavar="DIR",
              help="The network of the pods: the first file by name counts.")  # fmt: skip
@click.option("--cni-root", type=PATH, default=Path("/"), show_default=True, metavar="DIR",
              help="Below which CNI plugins keep what they know.")  # fmt: skip
@click.option("--cluster-dns", "dns", multiple=True, metavar="ADDRESS", help="Whom pods ask for names.")
@click.option("--cluster-domain", "domain", default="cluster.local", show_default=True, metavar="NAME",
              help="Below which Services have their names.")  # fmt: skip
@click.option("--cgroup-root", "cgroup", default="", show_default="/netlab.NODE", metavar="GROUP",
              help="The group of all that runs in pods.")  # fmt: skip
@click.option("--max-pods", type=click.IntRange(1), default=110, show_default=True, metavar="N", help="On this node.")
@click.option("--pod-max-pids", "pids", type=click.IntRange(1), metavar="N", show_default="no limit",
              help="Processes and threads that a pod may have.")  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), default=10250, show_default=True, help="Of logs, exec and so on."
)
@click.option("--tls-cert-file", "cert", type=PATH, metavar="FILE", help="With which it answers the API server.")
@click.option("--tls-private-key-file", "key", type=PATH, metavar="FILE", help="Its key.")
@click.option("--client-ca-file", "client_ca", type=PATH, metavar="FILE", help="Whose clients it answers.")
@click.option("--eviction-hard", default="memory.available<100Mi,nodefs.available<500Mi", show_default=True,
              metavar="SIGNAL<AMOUNT,…", help="When pods are evicted.")  # fmt: skip
@click.option("--node-lease-duration", "lease", type=click.IntRange(1), default=40, show_default=True,
              metavar="SECONDS", help="What a Lease of the node is good for; renewed four times in it.")  # fmt: skip
@click.option("--pull", is_flag=True, help="Fetch images that are not in the store.")
@click.option("--insecure-registry", "insecure", is_flag=True, help="From registries without a certificate, too.")
@click.option("--healthz-bind-address", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Of /healthz, /readyz, /metrics.")  # fmt: skip
@click.option("--healthz-port", type=click.IntRange(0, 65535), default=10248, show_default=True, help="0 for none.")
@click.option("--this-machine", is_flag=True, help="Run pods in the machine's own network, not that of a namespace.")
def kubelet(**given: Any) -> None:
    """Run the pods that an API server gives to this node.

    It registers the node, makes each pod's sandbox, network and containers, probes them, begins them again, ends them,
    and tells of it all. It ends by SIGINT or SIGTERM and leaves the pods as they are; the next one goes on with them.
    """
    from netlab.daemons.kubelet import Options, run

    address, port = given.pop("healthz_bind_address"), given.pop("healthz_port")
    problems: list[Problem] = []
    for name in ("ips", "dns"):
        given[name] = tuple(_addresses(given[name], "--node-ip" if name == "ips" else "--cluster-dns", problems))
    given["labels"] = dict(_pairs(given["labels"], problems))
    given["taints"] = list(_taints(given["taints"], problems))
    if problems:
        raise InputError(problems)
    run(Options(health=(address, port) if port else None, **given))


def _addresses(texts: tuple[str, ...], option: str, problems: list[Problem]) -> Any:
    for text in texts:
        try:
            yield ip_address(text)
        except ValueError:
            problems.append(Problem(option, f"{text!r} is no address", "such as 10.0.0.11 or fd00::11"))


def _pairs(texts: tuple[str, ...], problems: list[Problem]) -> Any:
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            problems.append(Problem("--node-labels", f"{text!r} is no label", "expected KEY=VALUE"))
        else:
            yield key, value


def _taints(texts: tuple[str, ...], problems: list[Problem]) -> Any:
    for text in texts:
        rest, colon, effect = text.rpartition(":")
        key, _, value = rest.partition("=")
        if not key or not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            hint = "expected KEY=VALUE:EFFECT, such as node-role.kubernetes.io/control-plane=:NoSchedule"
            problems.append(Problem("--register-with-taints", f"{text!r} is no taint", hint))
        else:
            yield {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}
