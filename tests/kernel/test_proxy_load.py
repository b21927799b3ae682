"""A steady stream of new connections through a Service, while its endpoints come and go, and its proxy, too.

NETLAB_CHURN says how often they do (500 for the long run); the default is for every day.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import worlds
from podnet import Net, pods_of
from proxying import Known, Manifests, Proxy, firewall, until
from servicejudge import endpoints, service

from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("two hundred connections a second are more than an emulator can do"),
]
CHURN = int(os.environ.get("NETLAB_CHURN", "25"))
VIP = "10.96.0.20"
#: new connections a second, and the seconds after which one has failed
RATE, GIVEN_UP = 200, 5.0
MODES = [("legacy", "iptables"), ("nft", "iptables"), ("nft", "nftables")]


@pytest.fixture(params=MODES, ids="-".join)
def net(request: pytest.FixtureRequest) -> Iterator[tuple[Net, str, str]]:
    variant, mode = request.param
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=False, variant=variant)
    with made.up():
        yield made, variant, mode


class Load:
    """RATE connections a second from a namespace to the Service, each answered by one of its pods, or a failure."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.begun = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        chosen, started = selectors.DefaultSelector(), time.monotonic()
        open_: dict[socket.socket, float] = {}
        with netns.entered(self.where):
            while not self._stop.is_set() or open_:
                now = time.monotonic()
                if not self._stop.is_set() and self.begun < (now - started) * RATE:
                    self.begun += 1
                    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                    code = sock.connect_ex((VIP, 80))
                    if code not in (0, errno.EINPROGRESS):
                        self.failures.append(os.strerror(code))
                        sock.close()
                        continue
                    chosen.register(sock, selectors.EVENT_READ)
                    open_[sock] = now
                for key, _ in chosen.select(1 / RATE):
                    self._ended(key.fileobj, chosen, open_)  # type: ignore[arg-type]
                for sock in [s for s, begun in itertools.islice(open_.items(), 5) if now - begun > GIVEN_UP]:
                    self.failures.append("no answer")
                    chosen.unregister(sock)
                    sock.close()
                    del open_[sock]

    def _ended(self, sock: socket.socket, chosen: selectors.BaseSelector, open_: dict[socket.socket, float]) -> None:
        try:
            said = sock.recv(100).decode().split()
            self.answers[said[0]] += 1
        except (OSError, IndexError) as e:
            self.failures.append(str(e))
        chosen.unregister(sock)
        sock.close()
        del open_[sock]


@contextlib.contextmanager
def serving(net: Net, variant: str, mode: str, home: Path) -> Iterator[Proxy]:
    manifests = Manifests(home / "manifests")
    manifests.put("nodes", [worlds.node(name) for name in worlds.NODES])
    ports = [{"name": "p", "port": 80}, {"name": "u", "port": 8053, "protocol": "UDP"}]
    manifests.put("service", [service(ports=ports)])
    put(manifests, "abc")
    where = net.ns("n1")
    with Proxy(where, "n1", manifests, home, "--mode", mode, "--iptables", variant) as proxy:
        until(lambda: net.ask([("x-a", VIP, "tcp", 80)])[0][0] in ("x-a", "x-b", "x-c"), "the Service")
        yield proxy


def put(manifests: Manifests, letters: str) -> None:
    """The endpoints, of both ports at once."""
    manifests.put("slices", [endpoints(*letters), endpoints(*letters, port="u", proto="UDP", number=8053)])


def subsets(count: int) -> list[str]:
    """Endpoints that come and go: never none, and never the same twice."""
    dice, found = random.Random(7), ["abc"]
    ways = ["a", "b", "c", "ab", "bc", "ac", "abc"]
    while len(found) <= count:
        found.append(dice.choice([way for way in ways if way != found[-1]]))
    return found[1:]


def test_endpoints_come_and_go_and_no_connection_fails(net: tuple[Net, str, str], tmp_path: Path) -> None:
    made, variant, mode = net
    with serving(made, variant, mode, tmp_path) as proxy, netns.entered(made.ns("x-a")):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("", 40053))
        udp.settimeout(0.05)

        def answerer() -> str:
            try:
                udp.sendto(b"?", (VIP, 8053))
                return udp.recv(100).decode().split()[0].removeprefix("x-")
            except OSError:
                return ""

        with udp, Load(made.ns("x-a")) as load:
            for letters in subsets(CHURN):
                put(proxy.manifests, letters)
                # the same socket, the same port: it follows to those that are left
                until(lambda letters=letters: answerer() in letters, f"an answer of one of {letters}")
    assert load.failures == []
    assert set(load.answers) == {"x-a", "x-b", "x-c"} and sum(load.answers.values()) == load.begun
    # the last endpoints are those that the kernel has
    assert {a[0] for a in made.ask([("x-a", VIP, "tcp", 80)] * 40)} == {f"x-{one}" for one in letters}


def test_the_proxy_is_killed_and_comes_back_and_no_connection_fails(net: tuple[Net, str, str], tmp_path: Path) -> None:
    made, variant, mode = net
    with serving(made, variant, mode, tmp_path) as proxy, Load(made.ns("x-a")) as load:
        for letters in subsets(max(3, CHURN // 25)):
            put(proxy.manifests, letters)
            proxy.end(signal.SIGKILL)  # in the midst of it, or before it
            proxy.start()
            until(
                lambda letters=letters: {a[0] for a in made.ask([("x-a", VIP, "tcp", 80)] * 20)} <= {f"x-{o}" for o in letters},
                f"answers of {letters} alone",
            )  # fmt: skip
    assert load.failures == []
    assert sum(load.answers.values()) == load.begun > RATE / 4  # a busy machine begins fewer


def test_nothing_is_left_to_do_after_it_was_killed(net: tuple[Net, str, str], tmp_path: Path) -> None:
    """What a proxy claims after a kill in the midst of its work is all that it has ever made."""
    made, variant, mode = net
    where = made.ns("n1")
    with serving(made, variant, mode, tmp_path) as proxy:
        for letters in subsets(4):
            put(proxy.manifests, letters)
            proxy.end(signal.SIGKILL)
            proxy.start()
        proxy.end()
        Kernel(LinuxBackend(iptables=variant), Known(proxy.claims, where)).apply(where, "proxy", HostState())
        assert firewall(where) == []
