"""A small cluster network of namespaces for kernel tests: nodes on a switch, pods on them, a client outside.

Pods hang on a bridge (cni0, like the books') or are routed by a /32 each; between the nodes are host routes. Every pod
answers `name client-address` on TCP, UDP and, where the kernel has it, SCTP. All namespaces are named rl<pid>.… and deleted by the names noted here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from patience import patience

from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.commands import run_in
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import (
    Address,
    Bridge,
    BridgePort,
    HostState,
    Item,
    Link,
    Loopback,
    Neighbour,
    Route,
    Sysctl,
    Veth,
)

LO = Link(name="lo", kind=Loopback())
TCP_PORTS, UDP_PORTS = (80, 81, 8080, 8081), (80, 8080, 8081, 8053, 8054)
SCTP_PORTS = (80, 81)
OUTSIDE = "203.0.113.9"
GATEWAY = ip_address("169.254.1.1")
#: seconds without any answer after which those that are missing are packets dropped; SYNs are sent anew after one
PATIENCE = max(2.5, patience(0.5))


def _has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


#: whether this kernel has SCTP; where it does not, its rules are tested without packets
SCTP = _has_sctp()
#: kind of socket and protocol
_KINDS = {
    "tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}  # fmt: skip


@dataclass(frozen=True)
class Pod:
    name: str
    node: str
    ip: str


class Net:
    """nodes: name to address in 192.168.0.0/24; the pods of a node are in one /24."""

    def __init__(self, nodes: dict[str, str], pods: Sequence[Pod], *, routed: bool, variant: str) -> None:
        self.prefix = f"rl{os.getpid()}"
        self.nodes, self.pods, self.routed = nodes, list(pods), routed
        self.names: list[str] = []
        self.kernel = Kernel(LinuxBackend(iptables=variant), MemoryLedger())
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def ns(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    @contextlib.contextmanager
    def up(self) -> Iterator[Net]:
        states = self._states()
        self.names = list(states)
        try:
            self.kernel.apply_all("net", states)
            self._serve()
            yield self
        finally:
            self._stop.set()
            if self._thread:
                self._thread.join()
            for sock in self._sockets:
                sock.close()
            for name in self.names:
                netns.delete(name)

    def _states(self) -> dict[str, HostState]:
        switch = self.ns("sw")
        far: dict[str, list[Item]] = {switch: [LO, Link(name="br0", kind=Bridge())]}
        blocks = {
            node: ip_network(f"{pod.ip}/24", strict=False)
            for node in self.nodes
            for pod in self.pods
            if pod.node == node
        }
        quiet = [Sysctl(name=f"net/ipv4/conf/{d}/rp_filter", value="0") for d in ("all", "default")]
        # many clients are refused at once, and the kernel would keep most of the refusals to itself
        quiet.append(Sysctl(name="net/ipv4/icmp_ratelimit", value="0"))
        for node, ip in [*self.nodes.items(), ("ext", "192.168.0.254")]:
            far[switch].append(Link(name=f"v-{node}", kind=Veth("eth0", self.ns(node)), master="br0"))
            far[self.ns(node)] = [
                LO, *quiet, Sysctl(name="net/ipv4/ip_forward", value="1"),
                Link(name="eth0", kind=Veth(f"v-{node}", switch)),
                Address(dev="eth0", address=ip_interface(f"{ip}/24")),
            ]  # fmt: skip
        ext = far[self.ns("ext")]
        ext.append(Address(dev="eth0", address=ip_interface(f"{OUTSIDE}/32")))
        middle = self.nodes.get("n2") or next(iter(self.nodes.values()))
        for block in ("10.96.0.0/16", "80.11.12.0/24", "198.51.100.0/24", "10.244.0.0/16"):
            ext.append(Route(dst=ip_network(block), via=ip_address(middle), dev="eth0", src=ip_address(OUTSIDE)))
        for node in self.nodes:
            mine = far[self.ns(node)]
            mine.append(Route(dst=ip_network("0.0.0.0/0"), via=ip_address("192.168.0.254"), dev="eth0"))
            for other, block in blocks.items():
                if other != node:
                    mine.append(Route(dst=block, via=ip_address(self.nodes[other]), dev="eth0"))
            if not self.routed and node in blocks:
                mine.append(Link(name="cni0", kind=Bridge()))
                mine.append(Address(dev="cni0", address=ip_interface(f"{blocks[node][1]}/24")))
        for number, pod in enumerate(self.pods):
            mine, own, port = far[self.ns(pod.node)], self.ns(pod.name), f"veth{number}"
            mac = f"02:00:0a:f4:00:{number:02x}"
            kind = Veth("eth0", own)
            inside: list[Item] = [LO, Link(name="eth0", kind=Veth(port, self.ns(pod.node)))]
            if self.routed:
                mine.append(Link(name=port, kind=kind, mac=mac))
                mine.append(Route(dst=ip_network(f"{pod.ip}/32"), dev=port))
                inside += [
                    Address(dev="eth0", address=ip_interface(f"{pod.ip}/32")),
                    Route(dst=ip_network("169.254.1.1/32"), dev="eth0"),
                    Route(dst=ip_network("0.0.0.0/0"), via=GATEWAY, dev="eth0"),
                    Neighbour(address=GATEWAY, dev="eth0", mac=mac),
                ]
            else:
                mine.append(Link(name=port, kind=kind, master="cni0", port=BridgePort(hairpin=True)))
                block = ip_network(f"{pod.ip}/24", strict=False)
                inside += [
                    Address(dev="eth0", address=ip_interface(f"{pod.ip}/24")),
                    Route(dst=ip_network("0.0.0.0/0"), via=block[1], dev="eth0"),
                ]
            far[own] = inside
        return {name: HostState.of(items) for name, items in far.items()}

    def forget(self) -> None:
        """Flush connection tracking: a port that is used again would else be an old connection, which may go on (N20)."""
        for node in self.nodes:
            run_in(self.ns(node), ["conntrack", "-F"])

    # -- servers

    def _serve(self) -> None:
        chosen = selectors.DefaultSelector()
        places = [(pod.name, self.ns(pod.name)) for pod in self.pods] + [(n, self.ns(n)) for n in self.nodes]
        for name, where in places:
            with netns.entered(where):
                served = {"tcp": TCP_PORTS, "udp": UDP_PORTS, "sctp": SCTP_PORTS if SCTP else ()}
                for protocol, ports in served.items():
                    kind, number = _KINDS[protocol]
                    for port in ports:
                        sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK, number)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        sock.bind(("0.0.0.0", port))
                        if kind == socket.SOCK_STREAM:
                            sock.listen(1024)  # a queue that overflows looks like a rule that drops
                        chosen.register(sock, selectors.EVENT_READ, name)
                        self._sockets.append(sock)

        def run() -> None:
            while not self._stop.is_set():
                for key, _ in chosen.select(0.1):
                    _answer(key.fileobj, key.data)  # type: ignore[arg-type]

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    # -- clients

    def ask(self, requests: Sequence[tuple[str, str, str, int]]) -> list[Any]:
        """All at once: (namespace's short name, address, protocol, port) to `(pod, client's address)`, `refused`, `drop`."""
        answers: list[Any] = [None] * len(requests)
        chosen = selectors.DefaultSelector()
        for at, (name, dst, protocol, port) in enumerate(requests):
            kind, number = _KINDS[protocol]
            with netns.entered(self.ns(name)):
                sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK, number)
            if name == "ext":
                sock.bind((OUTSIDE, 0))
            code = sock.connect_ex((dst, port))
            if code not in (0, errno.EINPROGRESS):
                answers[at] = "refused"
                sock.close()
                continue
            if kind == socket.SOCK_DGRAM:
                with contextlib.suppress(OSError):
                    sock.send(b"?")
            chosen.register(sock, selectors.EVENT_READ, at)
        # not all of them within a time: a slow machine is busy with the others' for longer than a packet takes
        while chosen.get_map() and (ready := chosen.select(PATIENCE)):
            for key, _ in ready:
                sock = key.fileobj
                try:
                    data = sock.recv(200)  # type: ignore[union-attr]
                    answers[key.data] = tuple(data.decode().split()) if data else "refused"
                except OSError:
                    answers[key.data] = "refused"
                chosen.unregister(sock)
                sock.close()  # type: ignore[union-attr]
        for key in list(chosen.get_map().values()):
            answers[key.data] = "drop"
            key.fileobj.close()  # type: ignore[union-attr]
        chosen.close()
        return answers


def _answer(sock: socket.socket, name: str) -> None:
    try:
        if sock.type & socket.SOCK_DGRAM:
            _, peer = sock.recvfrom(100)
            sock.sendto(f"{name} {peer[0]}".encode(), peer)
        else:
            conn, peer = sock.accept()
            with conn:
                conn.send(f"{name} {peer[0]}".encode())
    except OSError:
        pass


def pods_of(objects: Iterable[dict[str, Any]]) -> list[Pod]:
    """The pods of API objects, named `ns-name`."""
    return [
        Pod(f"{o['metadata']['namespace']}-{o['metadata']['name']}", o["spec"]["nodeName"], o["status"]["podIP"])
        for o in objects
        if o["kind"] == "Pod" and not o["spec"].get("hostNetwork")
    ]
