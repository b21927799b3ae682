"""Everything of one node in one process: kubelet, Service proxy, policy agent, the pod network's agent; on the control
plane the name server, too.

Each part is what its own verb is (`netlab kubelet`, `proxy`, `policyd`, `flanneld`, `dns`), a task of one event loop.
A part that fails is told in the log and started again, and the others go on; a part that never comes up keeps the agent
from being ready. The node's network stays as it is when the agent ends, and so do its pods: the next one adopts them.
The certificates by which it asks and serves are renewed before they expire, while everything goes on.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import orjson

from netlab.apiserver.certs import Authority
from netlab.base.addresses import Address
from netlab.base.aio import first
from netlab.base.errors import InputError, NetlabError
from netlab.base.lockedfiles import put
from netlab.base.notify import notify
from netlab.client.informer import Informers
from netlab.client.kubeconfig import load
from netlab.client.rest import ApiUnavailable
from netlab.cluster.credentials import signed
from netlab.compile.rules import Mode
from netlab.daemons import dns, joining, kubelet
from netlab.daemons.api_watch import Followed
from netlab.daemons.apiserver import ADMIN
from netlab.daemons.flanneld import options as flanneld
from netlab.daemons.flanneld.machine import serve_node as serve_flanneld
from netlab.daemons.ownaddress import own
from netlab.daemons.policyd import agent as policyd
from netlab.daemons.policyd.machine import serve as serve_policyd
from netlab.daemons.policyd.options import Options as PolicydOptions
from netlab.daemons.proxy import feed as proxy
from netlab.daemons.proxy.machine import serve as serve_proxy
from netlab.daemons.proxy.options import Options as ProxyOptions
from netlab.daemons.renewing import Identity, expiry, kept
from netlab.daemons.signals import told, until_told
from netlab.daemons.sources import Source, Want
from netlab.kernel import host
from netlab.kubelet.registering import LEASE
from netlab.kubelet.serving.server import Server

#: where an agent's options are, and where the files of a flannel network go, by their names
CONFIG, CNI = Path("/etc/kubernetes/agent.json"), Path("/etc/cni/net.d")
NET_CONF = Path("/etc/kube-flannel/net-conf.json")
#: label and taint of the node that the server runs on
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
#: seconds before a part that has failed is started again: doubling from the first to the last
RETRY, RETRY_MAX = 0.5, 30.0
#: seconds between two looks at whether the API server is there
LOOK = 0.05
log = logging.getLogger("agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """node: its name; ips: its addresses, the first of which is told to others; kubeconfig: the API server, and as whom
    to ask; pki: a directory with kubelet.crt and kubelet.key, to serve with, and ca.crt; cgroup: below which pods are;
    images: the store; proxy: mode of the Service proxy; pods: the prefixes of all pods; flannel, calico: which network,
    if any; bridged: whether pods hang on a bridge; dns: the cluster's name server, serve_dns: whether it is here;
    lease: seconds that the node's Lease is good for; taints: (key, value, effect) and labels that it registers with;
    pull: whether images may be fetched."""

    node: str
    ips: tuple[str, ...]
    kubeconfig: Path
    pki: Path
    cgroup: str
    images: Path
    proxy: Mode = "iptables"
    pods: tuple[str, ...] = ()
    flannel: bool = True
    calico: bool = False
    bridged: bool = True
    dns: str = "10.96.0.10"
    serve_dns: bool = False
    lease: int = LEASE
    taints: tuple[tuple[str, str, str], ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    pull: bool = False

    @classmethod
    def read(cls, path: Path) -> Options:
        """Out of a file."""
        data: dict[str, Any] = orjson.loads(path.read_bytes())
        for name in ("kubeconfig", "pki", "images"):
            data[name] = Path(data[name])
        for name in ("ips", "pods"):
            data[name] = tuple(data[name])
        data["taints"] = tuple((key, value, effect) for key, value, effect in data["taints"])
        return cls(**data)


class Part:
    """One of the agent's tasks. serve: does the work until it is cancelled, and calls what it is given once it does it;
    waiting: what keeps it from its work, None when it does it."""

    def __init__(self, name: str, serve: Callable[[Callable[[], object]], Awaitable[None]]) -> None:
        self.name, self._serve = name, serve
        self.waiting: str | None = "just started"

    async def run(self, changed: Callable[[], object]) -> None:
        """Until cancelled. changed: called when `waiting` is another."""

        def ready() -> None:
            self.waiting = None
            changed()

        delay, told = RETRY, ""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._serve(ready)
                why = "it has ended"
            except NetlabError as e:
                why = str(e)
            except Exception as e:
                why = f"{type(e).__name__}: {e}"
                log.error("%s", self.name, exc_info=e)
            if loop.time() - began > RETRY_MAX:
                delay = RETRY
            if why != told:
                log.error("%s: %s; trying again", self.name, why)
            self.waiting = told = why
            changed()
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY_MAX)


def parts(options: Options) -> list[Part]:
    """What a node with these options runs."""
    us = Identity(options.kubeconfig)
    found = [Part("kubelet", partial(_kubelet, options, us)), Part("certificate", partial(_certificate, options, us))]
    if options.flannel:
        found.append(Part("flanneld", partial(_flanneld, options, us)))
    if options.calico:
        found.append(Part("calico", partial(_calico, options)))
    found.append(Part("proxy", partial(_proxy, options, us)))
    found.append(Part("policyd", partial(_policyd, options, us)))
    if options.serve_dns:
        found.append(Part("dns", partial(_dns, options, us)))
    return found


Ready = Callable[[], object]


async def _kubelet(options: Options, us: Identity, ready: Ready) -> None:
    pki = options.pki
    cert, private = pki / "kubelet.crt", pki / "kubelet.key"
    given = kubelet.Options(
        kubeconfig=options.kubeconfig, node=options.node, ips=tuple(map(ip_address, options.ips)),
        dns=(ip_address(options.dns),), images=options.images, cgroup=options.cgroup, labels=options.labels,
        this_machine=True, cert=cert, key=private, client_ca=pki / "ca.crt",
        lease=options.lease,
        pull=options.pull,
        taints=[{"key": key, "value": value, "effect": effect} for key, value, effect in options.taints],
    )  # fmt: skip
    async with us.client("kubelet") as client:
        running = kubelet.kubelet_of(client, given)

        async def answer() -> None:
            """Logs, exec and their like, asked by the API server."""
            await running.registration.registered.wait()
            if not cert.exists():
                await joining.serving(client, options.node, options.ips, pki)
            server = kubelet.server_of(running, client, given)
            assert server is not None
            try:
                await server.start(options.ips)
                await running.ready.wait()
                ready()
                await kept(f"the certificate of {cert}", cert.read_bytes, partial(anew, server))
            finally:
                await server.aclose()

        async def anew(server: Server) -> None:
            await joining.serving(client, options.node, options.ips, pki)
            server.renew(cert, private)

        await first(running.run(), answer())


async def _certificate(options: Options, us: Identity, ready: Ready) -> None:
    """The one by which all parts ask."""
    ready()
    async with us.client("agent") as client:

        async def anew() -> None:
            await us.renew(*await joining.certificate(client, options.node, joining.CLIENT, ()))

        await kept(f"the certificate of {us.path}", lambda: us.config.cert, anew)


async def _flanneld(options: Options, us: Identity, ready: Ready) -> None:
    public = {ip.version: ip for ip in map(ip_address, options.ips)}
    ipv4, ipv6 = public.get(4), public.get(6)
    assert not isinstance(ipv4, IPv6Address) and not isinstance(ipv6, IPv4Address)
    given = flanneld.Options(iface=options.ips[:1], public_ip=ipv4, public_ipv6=ipv6, ip_masq=True, this_machine=True)
    async with us.client("flanneld") as client:
        await serve_flanneld(given, client, options.node, ready=ready)


async def _calico(options: Options, ready: Ready) -> None:
    # a speaker and all that it needs: for those who have one
    from netlab.daemons import caliconode

    await caliconode.serve(caliconode.Options(node=options.node), ready=ready)


@asynccontextmanager
async def _source(us: Identity, name: str, wants: Iterable[Want]) -> AsyncIterator[Source]:
    async with us.client(name) as client:
        informers = Informers(client)
        try:
            yield Followed(informers, wants)
        finally:
            await informers.aclose()


async def _proxy(options: Options, us: Identity, ready: Ready) -> None:
    given = ProxyOptions(node=options.node, mode=options.proxy, cluster_cidrs=options.pods, this_machine=True)
    async with _source(us, "proxy", proxy.wants(options.node)) as source:
        await serve_proxy(given, source, ready=ready)


async def _policyd(options: Options, us: Identity, ready: Ready) -> None:
    # Calico hands out addresses of its own blocks, whatever podCIDR the node has
    devices = "cali+" if options.calico else ""
    given = PolicydOptions(node=options.node, devices=devices, bridged=options.bridged, this_machine=True)
    async with _source(us, "policyd", policyd.wants(options.node)) as source:
        await serve_policyd(given, source, ready=ready)


async def _dns(options: Options, us: Identity, ready: Ready) -> None:
    # of the node, and not of its loopback: that is where another resolver of the machine may answer
    given = dns.Options(addresses=options.ips)
    async with _source(us, "dns", dns.wants(given.zone)) as source:
        await dns.serve(given, source, ready=ready)


async def _server(us: Identity) -> None:
    """Until the API server answers. ApiError if it does not know us, NetlabError if it cannot any more."""
    said = False
    if expiry(us.config.cert) < datetime.datetime.now(datetime.UTC):
        raise NetlabError(
            f"the certificate of {us.path} was good until {expiry(us.config.cert)}, and this node was off since",
            hint=f"netlab agent --join makes it a node again; {joining.ANOTHER}",
        )
    async with us.client("agent") as client:
        while True:
            try:
                await client.get("/version")
                return
            except ApiUnavailable as e:
                if not said:
                    log.info("waiting for the API server: %s", e.message)
                    said = True
            await asyncio.sleep(LOOK)


async def serve(options: Options) -> None:
    """Be the node's agent until a signal comes."""
    # the parts tell when they are ready, each by itself: we do so when all are
    listener = os.environ.pop("NOTIFY_SOCKET", "")
    ended, changed = until_told(), asyncio.Event()
    running = parts(options)

    async def work() -> None:
        # one that waits, where each part would try again in its own time
        await _server(Identity(options.kubeconfig))
        await first(tell(), *(part.run(changed.set) for part in running))

    async def tell() -> None:
        while any(part.waiting is not None for part in running):
            await changed.wait()
            changed.clear()
        log.info("ready: %s", ", ".join(part.name for part in running))
        if listener:
            os.environ["NOTIFY_SOCKET"] = listener
            notify()
            del os.environ["NOTIFY_SOCKET"]
        await asyncio.Event().wait()

    word = "stopping; pods and network stay as they are"
    await first(told(ended, log, word), work())


def run(options: Options) -> None:
    """Be it, in this process."""
    import uvloop

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )  # fmt: skip
    gc.set_threshold(20_000, 20, 20)
    # a BGP speaker is asyncio's own: it asks its transports for what uvloop's do not have
    (asyncio.run if options.calico else uvloop.run)(serve(options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a machine is to become. node: its name; ips: its addresses, found if there are none; directory: where what
    it gets is kept; images: the store; pull: whether others may be fetched; root: where this machine's files begin."""

    node: str
    ips: tuple[str, ...] = ()
    directory: Path
    images: Path
    pull: bool = False
    root: Path = Path("/")

    def is_already(self, server: str, ca_hash: str) -> bool:
        """Whether this machine is that node of that cluster."""
        file = self.directory / CONFIG.name
        return (
            file.exists() and Options.read(file).node == self.node and joining.joined(server, ca_hash, self.directory)
        )

    def options(self, ips: Iterable[Address], **more: Any) -> Options:
        """Of the agent. ips: the machine's, if it was not told others."""
        return Options(
            node=self.node, ips=self.ips or tuple(map(str, ips)), kubeconfig=self.directory / "kubelet.conf",
            pki=self.directory, cgroup=f"/netlab.{self.node}", images=self.images, pull=self.pull, **more,
        )  # fmt: skip


def join(invitation: joining.Invitation, asked: Asked) -> bool:
    """Become a node of a cluster: all that `run` needs is in the directory afterwards. False if this machine is that
    node already, and then nothing has changed. See `joining.join` for errors."""
    if asked.is_already(invitation.server, invitation.ca_hash):
        return False
    options = asked.options(own(invitation.host))
    machine = host.info()["machineID"]
    config = asyncio.run(joining.join(invitation, asked.node, asked.directory, machine=machine))
    _write(options, asyncio.run(joining.settings(config)), asked.root)
    return True


def join_here(data_dir: Path, asked: Asked) -> bool:
    """The same for the machine that the server runs on, whose authority is in its data directory: the control plane's
    node, on which others' pods are not placed. InputError if there is no server, NetlabError if it does not run."""
    if not (data_dir / ADMIN).exists():
        raise InputError(f"{data_dir} is no server's", hint="--data-dir says where that of `netlab server` is")
    admin, authority = load(data_dir / ADMIN), Authority.open(data_dir / "pki")
    if asked.is_already(admin.server, joining.fingerprint(authority.pair.cert)):
        return False
    options = asked.options(own(), taints=((CONTROL_PLANE, "", "NoSchedule"),), labels={CONTROL_PLANE: ""})
    settings = asyncio.run(joining.settings(admin))
    ips = tuple(map(ip_address, options.ips))
    for name, content in signed(authority, admin.server, node=asked.node, ips=ips).items():
        put(asked.directory / name, content, mode=0o600)
    _write(options, settings, asked.root)
    return True


def _write(options: Options, found: dict[str, Any], root: Path) -> None:
    """What nodes of the cluster have in common, and this one's options, last: with them it is whole."""
    for name, text in found["files"].items():
        directory = NET_CONF.parent if name == NET_CONF.name else CNI
        put(root / directory.relative_to("/") / name, text.encode())
    whole = {
        **{name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()},
        "proxy": found["proxy"], "pods": found["pods"], "dns": found["dns"],
        "lease": found["lease"],
    }  # fmt: skip
    put(options.pki / CONFIG.name, orjson.dumps(whole, option=orjson.OPT_INDENT_2))


def main(argv: list[str]) -> int:
    """FILE: with the options, as JSON. What a supervisor forks instead of starting Python once more."""
    try:
        run(Options.read(Path(argv[0])))
    except NetlabError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_status
    return 0
