"""What `rules` and `policy` share: manifests, places of a cluster by name, and the same errors for both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netlab.base.errors import InputError, Problem

if TYPE_CHECKING:
    from netlab.compile.objects import Objects, Pod
    from netlab.compile.walk import Place, World
    from netlab.daemons.sources import Origin

FILES = click.option(
    "-f", "--filename", "files", type=click.Path(exists=True, path_type=Path), multiple=True, required=True,
    metavar="PATH", help="A manifest, or a folder of them; repeatable.",
)  # fmt: skip
MODE = click.option(
    "--mode", type=click.Choice(["iptables", "ipvs", "nftables"]), default="iptables", show_default=True,
    help="How the node's proxy serves Services.",
)  # fmt: skip


def origin_options(*names: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Where an agent's objects are: manifests, or --kubeconfig. names: of the first option; see `origin`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--kubeconfig", type=click.Path(path_type=Path), metavar="FILE",
            help="Follow this API server, and as whom, in place of manifests.",
        )(command)  # fmt: skip
        return click.option(
            *names, "paths", type=click.Path(path_type=Path), multiple=True, metavar="PATH",
            help=f"Files or folders with {what}; followed as they change. Repeatable.",
        )(command)  # fmt: skip

    return decorate


def origin(given: dict[str, Any], *, needed: bool = True) -> Origin:
    """The one of the two that was given, which is taken out of `given`."""
    from netlab.daemons.sources import Origin

    paths, kubeconfig = given.pop("paths"), given.pop("kubeconfig")
    if paths and kubeconfig:
        raise click.UsageError("--manifests and --kubeconfig are two places to have objects from: choose one")
    if needed and not (paths or kubeconfig):
        raise click.UsageError("objects from where? give --manifests, or --kubeconfig for those of an API server")
    return Origin(paths, kubeconfig)


def cluster(files: Iterable[Path]) -> Objects:
    """The objects of the files, completed with what a running cluster would add."""
    from netlab.compile.rules import completed
    from netlab.daemons.manifests import load

    return completed(load(files))


def prefixes(listed: Mapping[str, Iterable[str]]) -> None:
    """InputError for what is given as a prefix, by option, and is none."""
    problems = []
    for option, texts in listed.items():
        for text in texts:
            try:
                ip_network(text)
            except ValueError as e:
                problems.append(Problem(option, f"{text!r} is no prefix: {e}", "write it like 10.244.0.0/16"))
    if problems:
        raise InputError(problems)


def unknown(option: str, given: str, what: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in the manifests."""
    known = sorted(known)
    close = get_close_matches(given, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known[:12]) or 'none'}"
    return InputError([Problem(option, f"there is no {what} {given!r} in the manifests", hint)])


def pod_named(objects: Objects, text: str, option: str) -> Pod:
    """A pod by `name` (in namespace default, or the only one of that name) or `namespace/name`."""
    space, _, name = text.rpartition("/")
    found = [p for p in objects.pods if p.name == name and (not space or p.namespace == space)]
    if len(found) > 1:
        found = [p for p in found if p.namespace == "default"]
    if not found:
        raise unknown(option, text, "pod", (f"{p.namespace}/{p.name}" for p in objects.pods))
    return found[0]


def start(objects: Objects, world: World, text: str) -> tuple[Place, str]:
    """Where a packet comes from, and its source address: `pod`, `node:n1`, `203.0.113.9` or `203.0.113.9@n1`."""
    from netlab.compile.walk import Place

    option = "--from"
    if text.startswith("node:"):
        node = next((n for n in objects.nodes if n.name == text[5:]), None)
        ip = next((i for i in node.ips if (":" in i) == (world.family == 6)), None) if node else None
        if node is None or ip is None:
            raise unknown(option, text[5:], "node with an address", (n.name for n in objects.nodes if n.ips))
        return Place("node", node.name, node.name), ip
    address, _, at = text.partition("@")
    if _is_address(address):
        node_name = at or (objects.nodes[0].name if objects.nodes else "")
        if node_name not in world.nodes:
            raise unknown(option, node_name, "node", world.nodes)
        return Place("outside", address, node_name), address
    pod = pod_named(objects, text, option)
    ip = world.ip_of(pod)
    if ip is None or not pod.node:
        lack = "address of this family" if ip is None else "node (spec.nodeName)"
        raise InputError([Problem(option, f"{pod} has no {lack}", "give the pod one in the manifest")])
    if pod.host_network:
        return Place("node", pod.node, pod.node), ip
    return Place("pod", f"{pod.namespace}/{pod.name}", pod.node), ip


def target(objects: Objects, world: World, text: str) -> tuple[str, int]:
    """(address, port) of `service:port`, `pod/NAME:port`, `node:n1:port` or `address:port`; a port may be a name."""
    option = "--to"
    host, _, port = text.rpartition(":")
    if not host:
        raise InputError([Problem(option, f"{text!r} has no port", "write service:port, such as hostnames:80")])
    family = world.family
    if host.startswith("node:"):
        node = next((n for n in objects.nodes if n.name == host[5:]), None)
        ips = [i for i in node.ips if (":" in i) == (family == 6)] if node else []
        if not ips:
            raise unknown(option, host[5:], "node with an address", (n.name for n in objects.nodes if n.ips))
        return ips[0], _number(port, {})
    if _is_address(host.strip("[]")):
        return host.strip("[]"), _number(port, {})
    if host.startswith("pod/"):
        pod = pod_named(objects, host[4:], option)
        ip = world.ip_of(pod)
        if ip is None:
            raise InputError([Problem(option, f"{pod} has no address of this family")])
        return ip, _number(port, {p.name: p.port for p in pod.ports})
    space, _, name = host.rpartition("/")
    found = [s for s in objects.services if s.name == name and s.namespace == (space or s.namespace)]
    if not found:
        raise unknown(option, host, "Service", (f"{s.namespace}/{s.name}" for s in objects.services))
    service = next((s for s in found if s.namespace == "default"), found[0])
    ips = [i for i in service.cluster_ips if (":" in i) == (family == 6)]
    if not ips:
        why = "it is headless: DNS gives the pods' own addresses" if service.headless else "give it one in the manifest"
        raise InputError([Problem(option, f"{service} has no cluster IP of this family", why)])
    return ips[0], _number(port, {p.name: p.port for p in service.ports if p.name})


def _number(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    known = f"it has {', '.join(names)}" if names else "expected 1 to 65535"
    raise InputError([Problem("--to", f"{text!r} is no port", known)])


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def proxy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--cluster-cidr, --masquerade-all, --node-port-addresses."""
    command = click.option(
        "--node-port-addresses", multiple=True, metavar="CIDR", help="Serve node ports only on local addresses in it."
    )(command)
    command = click.option("--masquerade-all", is_flag=True, help="Masquerade all traffic to cluster IPs.")(command)
    return click.option(
        "--cluster-cidr", "cidrs", multiple=True, metavar="CIDR",
        help="The pods' prefix, one per family. Default: what holds all nodes' podCIDRs.",
    )(command)  # fmt: skip
