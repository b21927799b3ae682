"""A steady stream of new connections through a Service, for tests of a proxy whose endpoints come and go, as it does."""

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

from oracle import worlds
from patience import patience
from podnet import Net
from proxying import Manifests, Proxy, until
from servicejudge import endpoints, service

from netlab.kernel import netns

VIP = "10.96.0.20"
#: seconds after which a new connection has failed
GIVEN_UP = patience(5.0)


class Load:
    """So many connections a second from a namespace to the Service, each answered by one of its pods, or a failure."""

    def __init__(self, where: str, rate: int) -> None:
        self.where, self.rate = where, rate
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
                if not self._stop.is_set() and self.begun < (now - started) * self.rate:
                    self.begun += 1
                    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                    code = sock.connect_ex((VIP, 80))
                    if code not in (0, errno.EINPROGRESS):
                        self.failures.append(os.strerror(code))
                        sock.close()
                        continue
                    chosen.register(sock, selectors.EVENT_READ)
                    open_[sock] = now
                for key, _ in chosen.select(1 / self.rate):
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
        except BlockingIOError:
            return  # woken for nothing: who has no answer at last is told as such
        except (OSError, IndexError) as e:
            self.failures.append(str(e))
        chosen.unregister(sock)
        sock.close()
        del open_[sock]


@contextlib.contextmanager
def serving(net: Net, variant: str, mode: str, home: Path, *options: str) -> Iterator[Proxy]:
    manifests = Manifests(home / "manifests")
    manifests.put("nodes", [worlds.node(name) for name in worlds.NODES])
    ports = [{"name": "p", "port": 80}, {"name": "u", "port": 8053, "protocol": "UDP"}]
    manifests.put("service", [service(ports=ports)])
    put(manifests, "abc")
    where = net.ns("n1")
    with Proxy(where, "n1", manifests, home, "--mode", mode, "--iptables", variant, *options) as proxy:
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


def come_and_go(net: Net, proxy: Proxy, churn: int, rate: int) -> None:
    """Under load, endpoints come and go: no connection fails, and a UDP client with a port of its own follows."""
    client = net.ns("x-a")
    with netns.entered(client):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("", 40053))
        udp.settimeout(0.05)

        def answerer() -> str:
            try:
                udp.sendto(b"?", (VIP, 8053))
                return udp.recv(100).decode().split()[0].removeprefix("x-")
            except OSError:
                return ""

        with udp, Load(client, rate) as load:
            for letters in subsets(churn):
                put(proxy.manifests, letters)
                # the same socket, the same port: it follows to those that are left
                until(lambda letters=letters: answerer() in [*letters], f"an answer of one of {letters}")
    assert load.failures == [], Counter(load.failures)
    assert set(load.answers) == {"x-a", "x-b", "x-c"} and sum(load.answers.values()) == load.begun
    # the last endpoints are those that the kernel has, or will have: the UDP client follows none if its own is one of them
    there = {f"x-{one}" for one in letters}
    until(
        lambda: {a[0] for a in net.ask([("x-a", VIP, "tcp", 80)] * 40)} == there, f"answers of all of {letters} alone"
    )


def die_and_come_back(net: Net, proxy: Proxy, lives: int, rate: int) -> None:
    """Under load, the proxy is killed and started again: no connection fails."""
    with Load(net.ns("x-a"), rate) as load:
        for letters in subsets(lives):
            put(proxy.manifests, letters)
            proxy.end(signal.SIGKILL)  # in the midst of it, or before it
            proxy.start()
            until(
                lambda letters=letters: {a[0] for a in net.ask([("x-a", VIP, "tcp", 80)] * 20)} <= {f"x-{o}" for o in letters},
                f"answers of {letters} alone",
            )  # fmt: skip
    assert load.failures == [], Counter(load.failures)
    assert sum(load.answers.values()) == load.begun > rate / 4  # a busy machine begins fewer
