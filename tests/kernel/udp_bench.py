"""The underlay, the fast way and the plain way against each other, in turns, so that a busy machine is busy for all.

    python tests/kernel/udp_bench.py [ROUNDS] [SECONDS]        prints medians, and ratios to the underlay

UDP_WITH="chrt -r 1" in the environment keeps what else runs on the machine out of it.
No test: nothing collects it. `netlab bench overlays` is what users run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import statistics
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from udp_network import CONTAINER, OUTER, Network, network  # noqa: E402


def tcp(net: Network, where: tuple[str, str], to: str, flows: int, seconds: float) -> float:
    """Gbit/s that arrived."""
    server = subprocess.Popen(net.argv(where[1], "iperf3", "-s", "-1", "-J"), stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            said = net.run(where[0], "iperf3", "-c", to, "-J", "-t", str(seconds), "-P", str(flows))
            with contextlib.suppress(ValueError, KeyError):
                return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9
            if server.poll() is not None:
                break
            select.select([], [], [], 0.02)
        raise RuntimeError(said[-400:])
    finally:
        server.terminate()
        server.wait()


def arrived(net: Network, where: str) -> int:
    """UDP datagrams that have reached a namespace, read by somebody or not."""
    udp = [line.split() for line in net.run(where, "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    found = dict(zip(udp[0], udp[1], strict=True))
    return int(found["InDatagrams"]) + int(found["InErrors"])


def rate(net: Network, where: tuple[str, str], to: str, seconds: float) -> float:
    """64-byte UDP packets (36 of payload) that arrived per second, sent as fast as one process can.

    Nobody reads them: what is measured is the way, not a receiver in Python.
    """
    code = (
        "import socket,time\n"
        f"s=socket.socket(2,2);s.connect(('{to}',7777));d=bytes(36);b=time.monotonic();e=b+{seconds}\n"
        "while time.monotonic()<e:\n for _ in range(50):s.send(d)\n"
        "print(time.monotonic()-b)"
    )
    with net.socket(where[1], socket.SOCK_DGRAM) as sink:
        sink.bind((to, 7777))
        before = arrived(net, where[1])
        took = float(net.run(where[0], sys.executable, "-c", code))
        return (arrived(net, where[1]) - before) / took


def round_trip(net: Network, where: tuple[str, str], to: str) -> float:
    """Median microseconds of 300 pings."""
    said = net.run(where[0], "ping", "-c", "300", "-i", "0.003", to)
    times = [float(found) * 1000 for found in re.findall(r"time=([\d.]+)", said)]
    return statistics.median(times)


def main(rounds: int, seconds: float) -> None:
    figures: dict[tuple[str, str], list[float]] = {}
    with network(f"ub{os.getpid()}f") as fast, network(f"ub{os.getpid()}p", (False, False)) as plain:
        ways = {
            "underlay": (fast, (fast.n1, fast.n2), OUTER[1]),
            "fast": (fast, (fast.c1, fast.c2), CONTAINER[1]),
            "plain": (plain, (plain.c1, plain.c2), CONTAINER[1]),
        }
        for _ in range(rounds):
            for name, (net, where, to) in ways.items():
                for what, value in (
                    ("TCP, 1 flow, Gbit/s", tcp(net, where, to, 1, seconds)),
                    ("TCP, 8 flows, Gbit/s", tcp(net, where, to, 8, seconds)),
                    ("UDP, 64 bytes, packets/s", rate(net, where, to, seconds / 2)),
                    ("round trip, µs", round_trip(net, where, to)),
                ):
                    figures.setdefault((what, name), []).append(value)
    print(f"{'median of ' + str(rounds):28}{'underlay':>10}{'fast':>10}{'plain':>10}   fast/underlay  fast/plain")
    for what in dict.fromkeys(key[0] for key in figures):
        line = [statistics.median(figures[what, name]) for name in ways]
        ratios = [f / u for u, f in zip(figures[what, "underlay"], figures[what, "fast"], strict=True)]
        print(
            f"{what:28}{line[0]:10.4g}{line[1]:10.4g}{line[2]:10.4g}{statistics.median(ratios):12.1%}{line[1] / line[2]:12.2f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, float(sys.argv[2]) if len(sys.argv) > 2 else 2)
