"""Where routing comes to rest: what the speakers of a few hosts end up with, computed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_interface
from typing import Any

import yaml

from netlab.bgp.config import Config, loads
from netlab.bgp.steady import routes
from netlab.model import Address, HostState, Link, Loopback, Route
from netlab.model.links import Dummy


def speaker(
    name: str, asn: int, router_id: str, *, networks: Sequence[Any] = (), peers: Sequence[Any] = (), **router: Any
) -> Config:
    data = {
        "router": {"as": asn, "id": router_id, "name": name, **router},
        "networks": list(networks),
        "peers": [{"import": "all", "export": "all", **peer} for peer in peers],
    }
    return loads(yaml.safe_dump(data), name)


def host(*addresses: str) -> HostState:
    links = [Link(name="lo", kind=Loopback()), Link(name="eth0", kind=Dummy())]
    return HostState.of([*links, *(Address(dev="eth0", address=ip_interface(a)) for a in addresses)])


def found(state: HostState) -> dict[str, str]:
    return {str(r.dst): str(r.via or r.type) for r in state.all(Route)}


def test_two_systems_tell_each_other() -> None:
    a = speaker("a", 1, "1.1.1.1", networks=["10.1.0.0/16"], peers=[{"address": "192.0.2.2", "as": 2}])
    b = speaker(
        "b",
        2,
        "2.2.2.2",
        networks=[{"prefix": "10.2.0.0/16", "blackhole": True}],
        peers=[{"address": "192.0.2.1", "as": 1}],
    )
    rest = routes({"a": (a, host("192.0.2.1/24")), "b": (b, host("192.0.2.2/24"))})
    assert found(rest["a"]) == {"10.2.0.0/16": "192.0.2.2"}
    assert found(rest["b"]) == {"10.1.0.0/16": "192.0.2.1", "10.2.0.0/16": "blackhole"}


def test_who_does_not_agree_has_no_session() -> None:
    for wrong in ({"as": 3}, {"password": "x"}, {"shutdown": True}, {"address": "192.0.2.9"}):
        a = speaker("a", 1, "1.1.1.1", networks=["10.1.0.0/16"], peers=[{"address": "192.0.2.2", "as": 2, **wrong}])
        b = speaker("b", 2, "2.2.2.2", peers=[{"address": "192.0.2.1", "as": 1}])
        assert found(routes({"a": (a, host("192.0.2.1/24")), "b": (b, host("192.0.2.2/24"))})["b"]) == {}


def test_internal_peers_do_not_pass_on_unless_they_reflect() -> None:
    for client in (False, True):
        hub = speaker(
            "hub", 1, "1.1.1.1",
            peers=[{"address": f"10.0.0.{i}", "as": 1, "route_reflector_client": client} for i in (2, 3)],
        )  # fmt: skip
        legs = {
            i: speaker(
                f"leg{i}", 1, f"{i}.{i}.{i}.{i}", networks=[f"10.{i}.0.0/16"], peers=[{"address": "10.0.0.1", "as": 1}]
            )
            for i in (2, 3)
        }
        rest = routes(
            {"hub": (hub, host("10.0.0.1/24")), **{f"leg{i}": (c, host(f"10.0.0.{i}/24")) for i, c in legs.items()}}
        )
        assert found(rest["hub"]) == {"10.2.0.0/16": "10.0.0.2", "10.3.0.0/16": "10.0.0.3"}
        assert found(rest["leg2"]) == ({"10.3.0.0/16": "10.0.0.3"} if client else {})


def test_a_session_for_each_family_and_one_for_both() -> None:
    each = [{"address": "10.0.0.2", "as": 1}, {"address": "fd00::2", "as": 1}]
    back = [{"address": "10.0.0.1", "as": 1}, {"address": "fd00::1", "as": 1}]
    networks = ["10.9.0.0/16", "fd00:9::/64"]
    a = speaker("a", 1, "1.1.1.1", networks=networks, peers=each)
    b = speaker("b", 1, "2.2.2.2", peers=back)
    here = {"a": (a, host("10.0.0.1/24", "fd00::1/64")), "b": (b, host("10.0.0.2/24", "fd00::2/64"))}
    assert found(routes(here)["b"]) == {"10.9.0.0/16": "10.0.0.1", "fd00:9::/64": "fd00::1"}
    both = ["ipv4", "ipv6"]
    a = speaker("a", 1, "1.1.1.1", networks=networks, peers=[{**each[0], "families": both}])
    b = speaker("b", 1, "2.2.2.2", peers=[{**back[0], "families": both}])
    here = {"a": (a, host("10.0.0.1/24", "fd00::1/64")), "b": (b, host("10.0.0.2/24", "fd00::2/64"))}
    assert found(routes(here)["b"]) == {"10.9.0.0/16": "10.0.0.1", "fd00:9::/64": "fd00::1"}


def test_a_shorter_path_wins_and_both_may_share() -> None:
    def side(i: int, **more: Any) -> Config:
        peers = [{"address": "10.0.0.1", "as": 1}]
        return speaker(f"s{i}", i, f"{i}.{i}.{i}.{i}", networks=["10.9.0.0/16"], peers=peers, **more)

    a = speaker(
        "a",
        1,
        "1.1.1.1",
        peers=[{"address": f"10.0.0.{i}", "as": i} for i in (2, 3)],
        multipath=2,
        multipath_relax=True,
    )
    here = {"a": (a, host("10.0.0.1/24")), "s2": (side(2), host("10.0.0.2/24")), "s3": (side(3), host("10.0.0.3/24"))}
    route = routes(here)["a"].all(Route)[0]
    assert sorted(str(hop.via) for hop in route.nexthops) == ["10.0.0.2", "10.0.0.3"]
