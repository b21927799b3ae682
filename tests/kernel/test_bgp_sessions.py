"""What happens to sessions: restarts, crashes, silence, collisions, passwords, TTLs, reloads; with real peers."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bgp_world import MISSING, World

from netlab.kernel import netns, processes

pytestmark = [
    pytest.mark.not_in_vm(
        "timers of real peers, which an emulator does not keep; the kernel has no part in it but routes"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(MISSING["bird"] is not None, reason=str(MISSING["bird"])),
]

THEIRS = "198.51.100.0/24"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as w:
        yield w


def peer(**more: Any) -> dict[str, Any]:
    usual = {"name": "them", "address": "10.0.0.2", "as": 65002, "import": "all", "export": "all", "connect_retry": 1}
    return {**usual, **more}


def config(**more: Any) -> dict[str, Any]:
    return {"networks": ["192.0.2.0/24"], "peers": [peer(**more)]}


def bird(extra: str = "", *, routes: str = f"route {THEIRS} blackhole;", us: str = "10.0.0.1") -> str:
    me, family = ("10.0.0.2", "ipv4") if "." in us else ("fd00::2", "ipv6")
    return (
        f"protocol static st {{ {family}; {routes} }}\n"
        f"protocol bgp x {{ local {me} as 65002; neighbor {us} as 65001; connect delay time 1; connect retry time 1;\n"
        f"error wait time 1,2; {extra} {family} {{ import all; export all; }}; }}\n"
    )


def down(world: World) -> str:
    """Why the session ended, once it has."""
    world.until(lambda: any(e.get("event") == "down" for e in world.events()), "the session to end")
    return str([e["why"] for e in world.events() if e.get("event") == "down"][-1])


def test_a_peer_that_restarts_comes_back(world: World) -> None:
    world.bird(bird("graceful restart off;"))
    world.bgpd(config())
    world.learnt(THEIRS)
    world.until(lambda: THEIRS in world.kernel(1), "the kernel to hold it")
    world.end("bird")
    world.until(lambda: THEIRS not in world.kernel(1), "the route to go")
    assert "cease" in down(world)
    world.bird(bird("graceful restart off;"))
    world.learnt(THEIRS)
    world.until(lambda: THEIRS in world.kernel(1), "the kernel to hold it again")


def test_a_peer_that_crashes_is_noticed_at_once(world: World) -> None:
    world.bird(bird("graceful restart off;"))
    world.bgpd(config(graceful_restart=False))
    world.until(lambda: THEIRS in world.kernel(1), "the kernel to hold it")
    world.end("bird", signal.SIGKILL)
    world.until(lambda: THEIRS not in world.kernel(1), "the route to go")
    assert "peer closed" in down(world) or "broke" in down(world)


def test_silence_until_the_hold_time_is_over(world: World) -> None:
    world.bird(bird("hold time 3; keepalive time 1;"))
    world.bgpd(config(hold_time=3))
    world.until(lambda: THEIRS in world.kernel(1), "the kernel to hold it")
    processes.send(world.running["bird"], signal.SIGSTOP)
    assert "hold timer" in down(world)
    world.until(lambda: THEIRS not in world.kernel(1), "the route to go")
    processes.send(world.running["bird"], signal.SIGCONT)
    world.up("them")
    assert "Hold timer expired" in world.birdc("show", "protocols", "all", "x") or world.state("them")
    sent = [e for e in world.events() if e.get("message") == "NOTIFICATION" and e["direction"] == "out"]
    assert (sent[0]["code"], sent[0]["subcode"]) == (4, 0)


def test_the_words_of_a_shutdown_reach_both_sides(world: World) -> None:
    world.bird(bird())
    world.bgpd(config())
    world.up("them")
    world.birdc("disable", "x", '"maintenance, back at five"')
    assert "administrative shutdown (maintenance, back at five)" in down(world)
    world.birdc("enable", "x")
    world.up("them")
    world.ask("reset", peer="them", text="schönes Wochenende")
    world.until(lambda: "schönes Wochenende" in world.birdc("show", "protocols", "all", "x"), "BIRD to show our words")


@pytest.mark.parametrize("peers", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_both_connect_at_once_and_one_connection_stays(world: World, peers: tuple[str, str]) -> None:
    """Two of ours, which begin together, many times over: always one session, and both agree which."""
    one = {"peers": [peer(address=peers[1])]}
    two = {"router": {"as": 65002, "id": "10.0.0.2"}, "peers": [peer(name="them", address=peers[0], **{"as": 65001})]}
    world.bgpd(one, 1, "one")
    world.bgpd(two, 2, "two")
    for turn in range(1, 8):
        for name in ("one", "two"):
            world.up("them", name)
        ends = [world.ask("neighbors", name)[0]["opened_by"] for name in ("one", "two")]
        assert sorted(ends) == ["peer", "us"]
        for name in ("one", "two"):
            world.ask("reset", name)
        world.until(
            lambda t=turn: all(world.ask("neighbors", n)[0]["established"] > t for n in ("one", "two")),  # type: ignore[misc]
            "the next session",
        )


def test_route_refresh_in_both_directions(world: World) -> None:
    world.bird(bird())
    world.bgpd(config())
    world.learnt(THEIRS)

    def updates() -> int:
        told = [e for e in world.events() if e.get("message") == "UPDATE" and e["direction"] == "in"]
        return sum(THEIRS in a["prefixes"] for e in told for a in e.get("announced", []))

    before = updates()
    assert world.ask("refresh", peer="them") == {"asked": 1}
    world.until(lambda: updates() > before, "BIRD to send it again")
    world.birdc("reload", "in", "x")
    world.until(
        lambda: any(e.get("message") == "ROUTE-REFRESH" and e["direction"] == "in" for e in world.events()),
        "BIRD to ask us",
    )
    sent = [e for e in world.events() if e.get("message") == "ROUTE-REFRESH" and e["direction"] == "out"]
    assert [e["subtype"] for e in sent][:1] == ["request"]
    world.until(
        lambda: (
            [e["subtype"] for e in world.events() if e.get("message") == "ROUTE-REFRESH" and e["direction"] == "out"]
            == ["request", "begin", "end"]
        ),
        "the answer to have a begin and an end",
    )


class Pings:
    """One ping each 10 ms, for as long as the body runs. lost: how many had no answer."""

    def __init__(self, where: str, address: str) -> None:
        self.lost, self.sent = -1, 0
        with netns.entered(where):
            self._process = subprocess.Popen(
                ["ping", "-i", "0.01", "-W", "1", "-q", address], stdout=subprocess.PIPE, text=True
            )

    def __enter__(self) -> Pings:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        said = self._process.communicate(timeout=10)[0]
        words = next(line for line in said.splitlines() if "received" in line).split()
        self.sent, received = int(words[0]), int(words[3])
        self.lost = self.sent - received


@pytest.mark.parametrize("family", [4, 6])
def test_our_own_crash_and_return_loses_no_packet(world: World, family: int) -> None:
    address, prefix = ("198.51.100.1", THEIRS) if family == 4 else ("2001:db8:b::1", "2001:db8:b::/48")
    us, gone = ("10.0.0.1", "198.51.100.64/26") if family == 4 else ("fd00::1", "2001:db8:b:1::/64")
    world.run(
        2, "ip", "addr", "add", f"{address}/{32 if family == 4 else 128}", "dev", "lo", *(["nodad"] * (family == 6))
    )
    routes = f"route {prefix} blackhole; route {gone} blackhole;"
    world.bird(bird("graceful restart on;", routes=routes, us=us))
    c = config(address="10.0.0.2" if family == 4 else "fd00::2")
    world.bgpd(c)
    world.until(lambda: {prefix, gone} <= set(world.kernel(1, family)), "the kernel to hold them")
    with Pings(world.ns(1), address) as pings:
        world.end("bgpd", signal.SIGKILL)
        assert prefix in world.kernel(1, family)
        # while we are away, one of the two routes goes
        text = (world.folder / "bird.conf").read_text().replace(f"route {gone} blackhole;", "")
        (world.folder / "bird.conf").write_text(text)
        world.birdc("configure")
        (world.folder / "bgpd.sock").unlink()
        world.bgpd(config(address="10.0.0.2" if family == 4 else "fd00::2"))
        world.up("them")
        world.until(lambda: not world.ask("summary")["restarting"], "our restart to be over")
        world.until(lambda: gone not in world.kernel(1, family), "what nobody announces any more to go")
        assert prefix in world.kernel(1, family)
    assert pings.sent > 20
    assert pings.lost == 0


def test_a_peer_that_restarts_gracefully_loses_no_packet(world: World) -> None:
    world.run(2, "ip", "addr", "add", "198.51.100.1/32", "dev", "lo")
    world.bird(bird("graceful restart on;") + "protocol kernel { ipv4 { export none; }; }\n")
    world.bgpd(config())
    world.until(lambda: THEIRS in world.kernel(1), "the kernel to hold it")
    with Pings(world.ns(1), "198.51.100.1") as pings:
        world.end("bird", signal.SIGKILL)
        world.until(lambda: "keeping its routes" in world.state("them"), "us to help")
        assert THEIRS in world.kernel(1)
        (world.folder / "bird.ctl").unlink(missing_ok=True)
        config_ = bird("graceful restart on;") + "protocol kernel { ipv4 { export none; }; }\n"
        world.bird(config_, 2, "bird", "-R")
        world.up("them")
        world.until(
            lambda: len([e for e in world.events() if e.get("event") == "end of rib"]) >= 2, "all routes to be back"
        )
        assert THEIRS in world.kernel(1)
    assert pings.lost == 0
    assert not world.rib()[THEIRS][0]["stale"]


def test_a_connection_on_which_nothing_comes_does_not_keep_the_next_one_out(world: World) -> None:
    world.bgpd(config(passive=True))
    with netns.entered(world.ns(2)):
        silent = socket.socket()
    with silent:
        silent.bind(("10.0.0.2", 0))
        world.until(lambda: silent.connect_ex(("10.0.0.1", 179)) in (0, errno.EISCONN), "a connection")
        world.until(lambda: world.state("them") == "OpenSent", "us to say OPEN")
        world.bird(bird("graceful restart off;"))
        world.up("them")


def dropped(world: World, counter: str) -> int:
    """How many packets the kernel has refused on either side (proc_net_netstat(5), TcpExt)."""
    total = 0
    for i in (1, 2):
        names, values = world.run(i, "cat", "/proc/net/netstat").splitlines()[:2]
        total += int(dict(zip(names.split(), values.split(), strict=True))[counter])
    return total


def supports_md5() -> bool:
    from netlab.base.errors import MachineError
    from netlab.bgp.sockets import set_password

    with socket.socket() as s:
        from ipaddress import ip_address

        try:
            set_password(s, ip_address("127.0.0.1"), "x")
        except MachineError:
            return False
    return True


@pytest.mark.skipif(not supports_md5(), reason="this kernel has no TCP_MD5SIG (CONFIG_TCP_MD5SIG)")
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("passive", [False, True])
def test_the_password_has_to_be_right(world: World, family: int, passive: bool) -> None:
    address, us = ("10.0.0.2", "10.0.0.1") if family == 4 else ("fd00::2", "fd00::1")
    routes = "" if family == 6 else f"route {THEIRS} blackhole;"
    world.bird(bird('password "secret";', routes=routes, us=us))
    world.bgpd(config(address=address, password="wrong", passive=passive))
    world.until(lambda: dropped(world, "TCPMD5Failure") > 1, "segments to be refused")
    assert world.state("them") != "Established"
    world.configure(config(address=address, password="secret", passive=passive))
    world.ask("reload")
    world.up("them")


@pytest.mark.parametrize("family", [4, 6])
def test_ttl_security(world: World, family: int) -> None:
    address, us = ("10.0.0.2", "10.0.0.1") if family == 4 else ("fd00::2", "fd00::1")
    routes = "" if family == 6 else f"route {THEIRS} blackhole;"
    world.bird(bird("", routes=routes, us=us))  # BIRD sends TTL 1
    world.bgpd(config(address=address, ttl_security=1))
    world.until(lambda: dropped(world, "TCPMinTTLDrop") > 1, "packets to be refused")
    assert world.state("them") != "Established"
    world.end("bird")
    (world.folder / "bird.ctl").unlink(missing_ok=True)
    world.bird(bird("ttl security on;", routes=routes, us=us))
    world.up("them")


def test_a_wrong_as_is_told(world: World) -> None:
    world.bird(bird())
    world.bgpd(config(**{"as": 65009}))
    assert "bad peer AS" in down(world)
    assert "AS 65002, expected 65009" in down(world)


def test_reload_leaves_alone_what_it_does_not_change(world: World) -> None:
    world.bird(bird())
    world.bgpd(config())
    world.learnt(THEIRS)
    new = config()
    new["networks"] = ["192.0.2.0/24", {"prefix": "203.0.113.0/24", "blackhole": True}]
    new["policies"] = {"low": {"rules": [{"set": {"local_pref": 50, "add_communities": "65001:5"}}]}}
    new["peers"][0]["import"] = "low"
    world.configure(new)
    processes.send(world.running["bgpd"], signal.SIGHUP)
    world.until(lambda: world.learnt(THEIRS).get("local_pref") == 50, "the new policy")
    world.until(lambda: "203.0.113.0/24" in world.birdc("show", "route"), "BIRD to hold the new network")
    assert world.ask("neighbors")[0]["established"] == 1
    world.until(lambda: "blackhole" in world.kernel(1).get("203.0.113.0/24", ""), "the blackhole route")
    (world.folder / "bgpd.yaml").write_text("router: {as: 0}\nnonsense: 1\n")
    answer = world.ask("reload")
    assert "bgpd.yaml:1: router.as: 0 is not an AS number" in answer["error"]
    assert "unknown key 'nonsense'" in answer["error"]
    assert world.state("them") == "Established"


def test_the_end_takes_our_routes_and_nobody_elses(world: World) -> None:
    world.run(1, "ip", "route", "add", "203.0.113.0/24", "via", "10.0.0.2")
    world.bird(bird(routes=f"route {THEIRS} blackhole; route 203.0.113.0/24 blackhole;"))
    world.bgpd(config())
    world.until(lambda: len(world.kernel(1)) == 2, "the kernel to hold them")
    world.end("bgpd")
    assert world.kernel(1) == {}
    assert world.run(1, "ip", "route", "show", "203.0.113.0/24").strip() == "203.0.113.0/24 via 10.0.0.2 dev eth0"


def test_the_machines_own_namespace_is_refused(tmp_path: Path) -> None:
    import sys

    (tmp_path / "c.yaml").write_text("router: {as: 1, id: 1.1.1.1, listen: []}\n")
    argv = [sys.executable, "-m", "netlab.cli.main", "bgpd", "--config", "c.yaml", "--socket", "c.sock", "--json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 3
    assert "machine's own network namespace" in json.loads(done.stdout)["error"]
