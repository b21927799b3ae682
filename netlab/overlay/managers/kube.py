"""Leases in the objects of Kubernetes: `flanneld --kube-subnet-mgr`.

A node's subnet is its spec.podCIDRs, which the cluster's controller hands out, so there is nothing to race for and
nothing to renew. Where the node is and how packets get there stands in its annotations; that its network works, in its
condition NetworkUnavailable. Source: flannel pkg/subnet/kube/kube.go and annotations.go (v0.28).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from netlab.base.errors import InputError
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, ApiUnavailable, Object, RestClient, WatchEvent, path
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import ConfigMissing, Lease, LeaseAttrs, LeaseLost, StoreUnavailable, Subnet, SubnetError
from netlab.overlay.managers import Leases
from netlab.overlay.managers.store import BACKOFF_FIRST, BACKOFF_LAST, Now, Sleep

log = logging.getLogger(__name__)

PREFIX = "flannel.alpha.coreos.com"
NET_CONF = Path("/etc/kube-flannel/net-conf.json")


async def node_name(client: RestClient, *, environ: Mapping[str, str] = os.environ) -> str:
    """This node's name: NODE_NAME, else the node of the pod POD_NAME in POD_NAMESPACE. InputError, StoreUnavailable."""
    if name := environ.get("NODE_NAME"):
        return name
    pod, namespace = environ.get("POD_NAME"), environ.get("POD_NAMESPACE")
    if not pod or not namespace:
        raise InputError("neither NODE_NAME nor POD_NAME and POD_NAMESPACE are in the environment")
    found = await _asked(client.get(path("v1", "pods", namespace=namespace, name=pod)))
    name = str((found.get("spec") or {}).get("nodeName") or "")
    if not name:
        raise StoreUnavailable(f"the pod {namespace}/{pod} has no spec.nodeName yet")
    return name


async def _asked(request: Any) -> Object:
    """The answer, with the client's errors as this package's. A refusal by role or absence may end: try again."""
    try:
        answer: Object = await request
    except (ApiError, ApiUnavailable) as e:
        raise StoreUnavailable(e.message) from e
    return answer


class KubeManager:
    """The agreement by node objects (managers.SubnetManager).

    node: this one's name (`node_name`); net_conf: the file with the network's configuration; prefix: of annotations;
    report: is told of nodes that make no sense and of a server that is away, once each.
    """

    def __init__(self, client: RestClient, node: str, *, net_conf: Path = NET_CONF, prefix: str = PREFIX,
                 report: Callable[[str], None] = log.warning, now: Now = time.time,
                 sleep: Sleep = asyncio.sleep) -> None:  # fmt: skip
        self._client, self.node, self._net_conf = client, node, net_conf
        self._report, self._now, self._sleep = report, now, sleep
        self._prefix = prefix if prefix.endswith("-") else prefix + ("-" if "/" in prefix else "/")
        self._broken: set[tuple[str, str]] = set()
        self._config: NetworkConfig | None = None

    def _name(self, annotation: str) -> str:
        return self._prefix + annotation

    async def config(self) -> NetworkConfig:
        """ConfigMissing without the file, InputError if it makes no sense."""
        try:
            text = self._net_conf.read_bytes()
        except FileNotFoundError as e:
            raise ConfigMissing(
                f"{self._net_conf} is not there", hint="it is a key of the ConfigMap kube-flannel-cfg"
            ) from e
        except OSError as e:
            raise ConfigMissing(f"{self._net_conf} cannot be read: {e.strerror}") from e
        self._config = NetworkConfig.parse(text, place=str(self._net_conf))
        return self._config

    async def acquire(self, attrs: LeaseAttrs, *, previous: Subnet | None = None) -> Lease:
        """Publish `attrs` in the node's annotations; the subnet is what the node has, whatever it was before.

        ConfigMissing while the node has no podCIDR; SubnetError if it is outside the network. The lease's attributes
        are those published: public-ip-overwrite has the last word on the address.
        """
        config = await self.config()
        node = await self._node()
        lease = self._lease_of(config, node, attrs)
        wanted = self._annotations(lease.attrs)
        if any(_annotations(node).get(name) != value for name, value in wanted.items()):
            node = await self._patch({"metadata": {"annotations": wanted}})
        return replace(lease, revision=_revision(node))

    async def renew(self, lease: Lease) -> Lease:
        """Nothing expires; what somebody removed is published again. LeaseLost if the node has another podCIDR."""
        try:
            found = await self.acquire(lease.attrs)
        except ConfigMissing as e:
            raise StoreUnavailable(e.message) from e
        if found.subnet != lease.subnet:
            raise LeaseLost(f"the node {self.node} has {found.subnet} now, and had {lease.subnet}")
        return found

    async def release(self, lease: Lease) -> None:
        """The podCIDR stays the node's; without this annotation the others take their routes to it away."""
        try:
            await self._patch({"metadata": {"annotations": {self._name("kube-subnet-manager"): None}}})
        except StoreUnavailable as e:
            if not (isinstance(e.__cause__, ApiError) and e.__cause__.code == 404):
                raise

    async def network_available(self) -> None:
        """Tell the scheduler that pods may come: NetworkUnavailable=False, FlannelIsUp. StoreUnavailable."""
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": "NetworkUnavailable", "status": "False", "reason": "FlannelIsUp",
            "message": "Flannel is running on this node",
            "lastTransitionTime": stamp, "lastHeartbeatTime": stamp,
        }  # fmt: skip
        await self._patch({"status": {"conditions": [condition]}})

    async def node_public_ips(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        """What the annotations node-public-ip and node-public-ipv6 ask this node to publish. SubnetError if they make
        no sense."""
        found = _annotations(await self._node())
        ipv4, ipv6 = found.get(self._name("node-public-ip")), found.get(self._name("node-public-ipv6"))
        try:
            return IPv4Address(ipv4) if ipv4 else None, IPv6Address(ipv6) if ipv6 else None
        except ValueError as e:
            raise SubnetError(f"node {self.node}: annotation {self._name('node-public-ip')}: {e}") from e

    async def published(self) -> LeaseAttrs | None:
        """What this node's annotations say from before a restart, such as the VTEP's MAC. None if nothing of use."""
        try:
            return self._attrs(_annotations(await self._node()))
        except ValueError:
            return None

    async def watch(self) -> AsyncGenerator[Leases, None]:
        """See SubnetManager. After a break of any kind the nodes are listed anew."""
        last: Leases | None = None
        delay = BACKOFF_FIRST
        while True:
            try:
                async with aclosing(self._nodes()) as stream:
                    async for nodes in stream:
                        delay = BACKOFF_FIRST
                        leases = self._leases(nodes)
                        if leases != last:
                            last = leases
                            yield leases
            except (ApiError, ApiUnavailable) as e:
                gone = isinstance(e, ApiError) and e.gone
                if delay == BACKOFF_FIRST and not gone:
                    self._report(f"nodes cannot be watched, trying again: {e}")
            await self._sleep(delay)
            delay = min(delay * 2, BACKOFF_LAST)

    async def _nodes(self) -> AsyncGenerator[Mapping[str, Object], None]:
        """All nodes by their names, and again after each change, until the connection breaks or history is gone."""
        nodes_path = path("v1", "nodes")
        listed = await self._client.list(nodes_path)
        nodes = {_node_name(node): node for node in listed["items"]}
        yield nodes
        version = str(listed["metadata"].get("resourceVersion", ""))
        async with aclosing(self._client.watch(nodes_path, resource_version=version)) as stream:
            async for event in stream:
                if _applied(nodes, event):
                    yield nodes

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def _node(self) -> Object:
        return await _asked(self._client.get(path("v1", "nodes", name=self.node)))

    async def _patch(self, body: Object) -> Object:
        # by the subresource, as the original: its role may patch nodes/status and not nodes
        at = path("v1", "nodes", name=self.node, subresource="status")
        return await _asked(self._client.patch(at, body, kind=STRATEGIC_MERGE_PATCH))

    def _lease_of(self, config: NetworkConfig, node: Object, attrs: LeaseAttrs) -> Lease:
        """This node's lease, as it is to be published."""
        try:
            ipv4, ipv6 = _pod_cidrs(node)
        except ValueError as e:
            raise SubnetError(f"node {self.node}: {e}") from e
        if ipv4 is None and ipv6 is None:
            raise ConfigMissing(
                f"node {self.node} has no spec.podCIDR yet",
                hint="is kube-controller-manager told --allocate-node-cidrs?",
            )
        for pool, cidr, family in ((config.ipv4, ipv4, "IPv4"), (config.ipv6, ipv6, "IPv6")):
            if pool and cidr is None:
                raise SubnetError(f"node {self.node} has no {family} podCIDR, but the network has {pool.network}")
            if pool and cidr and not _within(cidr, pool.network):
                raise SubnetError(f"the podCIDR {cidr} of node {self.node} is not in the network {pool.network}")
        found = _annotations(node)
        try:
            if overwrite := found.get(self._name("public-ip-overwrite")):
                attrs = replace(attrs, public_ip=IPv4Address(overwrite))
            if overwrite := found.get(self._name("public-ipv6-overwrite")):
                attrs = replace(attrs, public_ipv6=IPv6Address(overwrite))
        except ValueError as e:
            raise SubnetError(f"node {self.node}: annotation {self._name('public-ip-overwrite')}: {e}") from e
        return Lease(subnet=self._subnet(node), attrs=attrs)

    def _subnet(self, node: Object) -> Subnet:
        """The node's networks of the families that flannel serves: a cluster may have more. ValueError."""
        ipv4, ipv6 = _pod_cidrs(node)
        config = self._config
        return Subnet(ipv4 if not config or config.ipv4 else None, ipv6 if not config or config.ipv6 else None)

    def _annotations(self, attrs: LeaseAttrs) -> dict[str, str]:
        """What is published; data that a backend does not have is the text null, as the original writes it."""
        wanted = {"backend-type": attrs.backend_type, "kube-subnet-manager": "true"}
        if attrs.public_ip is not None:
            wanted |= {"public-ip": str(attrs.public_ip), "backend-data": _compact(attrs.backend_data)}
        if attrs.public_ipv6 is not None:
            wanted |= {"public-ipv6": str(attrs.public_ipv6), "backend-v6-data": _compact(attrs.backend_v6_data)}
        return {self._name(name): value for name, value in wanted.items()}

    def _attrs(self, found: Mapping[str, str]) -> LeaseAttrs:
        """The inverse. ValueError if it makes no sense."""
        ipv4, ipv6 = found.get(self._name("public-ip")), found.get(self._name("public-ipv6"))
        if not ipv4 and not ipv6:
            raise ValueError(f"annotation {self._name('public-ip')} is missing")
        return LeaseAttrs(
            public_ip=IPv4Address(ipv4) if ipv4 else None,
            public_ipv6=IPv6Address(ipv6) if ipv6 else None,
            backend_type=found.get(self._name("backend-type"), ""),
            backend_data=_object(found.get(self._name("backend-data"))),
            backend_v6_data=_object(found.get(self._name("backend-v6-data"))),
        )

    def _leases(self, nodes: Mapping[str, Object]) -> Leases:
        """The leases of the nodes that flannel manages; what makes no sense is reported once and left out."""
        leases: dict[str, Lease] = {}
        owners: dict[str, str] = {}
        broken = set()
        for name, node in sorted(nodes.items()):
            found = _annotations(node)
            if found.get(self._name("kube-subnet-manager")) != "true":
                continue
            try:
                subnet, attrs = self._subnet(node), self._attrs(found)
                if not subnet.networks:
                    raise ValueError("it has no spec.podCIDR")
                if subnet.key in owners:
                    raise ValueError(f"its podCIDR {subnet} is also that of node {owners[subnet.key]}")
            except (ValueError, RecursionError) as e:
                broken.add((name, str(e)))
                if (name, str(e)) not in self._broken:
                    self._report(f"node {name} makes no sense and is left out: {e}")
                continue
            owners[subnet.key] = name
            leases[subnet.key] = Lease(subnet=subnet, attrs=attrs, revision=_revision(node))
        self._broken = broken
        return leases


def _pod_cidrs(node: Object) -> tuple[IPv4Network | None, IPv6Network | None]:
    """spec.podCIDRs, or spec.podCIDR of old; the first of each family. ValueError if they make no sense."""
    spec = node.get("spec") or {}
    texts = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    if not isinstance(texts, list) or len(texts) > 2:
        raise ValueError(f"podCIDRs is {texts!r}, expected one of each family at most")
    ipv4: IPv4Network | None = None
    ipv6: IPv6Network | None = None
    for text in map(str, texts):
        if ":" in text:
            ipv6 = ipv6 or IPv6Network(text)
        else:
            ipv4 = ipv4 or IPv4Network(text)
    return ipv4, ipv6


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def _applied(nodes: dict[str, Object], event: WatchEvent) -> bool:
    """Put an event into `nodes`; whether it said anything."""
    if event.type == "BOOKMARK":
        return False
    if event.type == "DELETED":
        nodes.pop(_node_name(event.object), None)
    else:
        nodes[_node_name(event.object)] = event.object
    return True


def _node_name(node: Object) -> str:
    return str((node.get("metadata") or {}).get("name", ""))


def _annotations(node: Object) -> dict[str, str]:
    found = (node.get("metadata") or {}).get("annotations") or {}
    return {str(name): str(value) for name, value in found.items()}


def _revision(node: Object) -> int:
    """The resourceVersion. It is opaque, but a number wherever it was ever seen."""
    text = str((node.get("metadata") or {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0


def _compact(data: dict[str, Any] | None) -> str:
    return json.dumps(data, separators=(",", ":"))


def _object(text: str | None) -> dict[str, Any] | None:
    """A published object. None of what is not there, or null. ValueError."""
    data = json.loads(text) if text else None
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"backend data is {text!r}, expected an object")
    return data
