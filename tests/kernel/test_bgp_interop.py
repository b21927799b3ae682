"""Our bgpd and BIRD, FRR and GoBGP: every attribute sent is what they hold, and the other way round."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bgp_world import MISSING, World

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm(
        "timers of real peers, which an emulator does not keep; the kernel has no part in it but routes"
    ),
]

V4, V6 = "192.0.2.0/24", "2001:db8:a::/48"
THEIRS4, THEIRS6 = "198.51.100.0/24", "2001:db8:b::/48"


def ours(peer_as: int, transport: int) -> dict[str, Any]:
    extras: dict[str, Any] = {
        "communities": ["65001:7", "no-export-subconfed"] if peer_as == 65001 else ["65001:7"],
        "large_communities": ["65001:1:2"], "extended_communities": ["rt:65001:9"], "med": 50, "origin": "incomplete",
    }  # fmt: skip
    return {
        "networks": [{"prefix": p, **extras} | ({"local_pref": 250} if peer_as == 65001 else {}) for p in (V4, V6)],
        "peers": [
            {
                "name": "them", "address": "10.0.0.2" if transport == 4 else "fd00::2", "as": peer_as,
                "families": ["ipv4", "ipv6"], "import": "all", "export": "all", "connect_retry": 1,
            }
        ],
    }  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as w:
        yield w


def check_theirs(got: dict[str, Any], *, ibgp: bool, hop: str, large: bool = True) -> None:
    """What they send: origin EGP or incomplete, MED 77, communities, a path of their own before the route's."""
    assert got["as_path"].split()[-2:] == ["4200000001", "64999"]
    assert got["as_path"].split()[0] == ("4200000001" if ibgp else "65002")
    assert got["next_hop"] == hop
    assert got["med"] == 77
    assert "65002:8" in got["communities"]
    if large:
        assert got["large_communities"] == ["65002:3:4"]
    assert got["extended_communities"] == ["rt:65002:11"]
    assert got.get("local_pref") == (333 if ibgp else None)


BIRD = """
protocol static s4 {{ ipv4; route {t4} blackhole {{ {attrs} }}; }}
protocol static s6 {{ ipv6; route {t6} blackhole {{ {attrs} }}; }}
protocol bgp x {{ local {me} as {asn}; neighbor {us} as 65001; connect delay time 1; connect retry time 1;
  error wait time 1,2;
  ipv4 {{ import all; export filter {{ bgp_med = 77; accept; }}; next hop address 10.0.0.2; }};
  ipv6 {{ import all; export filter {{ bgp_med = 77; accept; }}; next hop address fd00::2; }}; }}
"""
BIRD_ATTRS = (
    "bgp_origin = ORIGIN_EGP; bgp_path.prepend(64999); bgp_path.prepend(4200000001); bgp_med = 77;"
    " bgp_local_pref = 333; bgp_community.add((65002,8)); bgp_large_community.add((65002,3,4));"
    " bgp_ext_community.add((rt,65002,11));"
)


@pytest.mark.parametrize("transport", [4, 6])
@pytest.mark.parametrize("kind", ["ebgp", "ibgp"])
@pytest.mark.skipif(MISSING["bird"] is not None, reason=str(MISSING["bird"]))
def test_bird(world: World, kind: str, transport: int) -> None:
    asn = 65002 if kind == "ebgp" else 65001
    me, us = ("10.0.0.2", "10.0.0.1") if transport == 4 else ("fd00::2", "fd00::1")
    world.bird(BIRD.format(t4=THEIRS4, t6=THEIRS6, attrs=BIRD_ATTRS, me=me, us=us, asn=asn))
    world.bgpd(ours(asn, transport))
    world.up("them")
    ibgp = kind == "ibgp"
    check_theirs(world.learnt(THEIRS4), ibgp=ibgp, hop="10.0.0.2")
    check_theirs(world.learnt(THEIRS6), ibgp=ibgp, hop="fd00::2")
    assert world.learnt(THEIRS4)["origin"] == "egp"
    for prefix, hop in ((V4, "10.0.0.1"), (V6, "fd00::1")):
        world.until(lambda: "BGP.as_path" in world.birdc("show", "route", prefix, "all"), "BIRD to hold it")  # noqa: B023
        held = world.birdc("show", "route", prefix, "all")
        found = dict(re.findall(r"(BGP\.[a-z_]+): ?(.*)", held))
        assert found["BGP.origin"] == "Incomplete"
        assert found["BGP.as_path"] == ("" if ibgp else "65001")
        assert found["BGP.next_hop"].split()[0] == hop
        assert found["BGP.med"] == "50"
        assert found["BGP.local_pref"] == ("250" if ibgp else "100")
        assert "(65001,7)" in found["BGP.community"]
        assert found["BGP.large_community"] == "(65001, 1, 2)"
        assert found["BGP.ext_community"] == "(rt, 65001, 9)"
    world.until(lambda: THEIRS4 in world.kernel(1) and THEIRS6 in world.kernel(1, 6), "the kernel to hold them")
    assert "via 10.0.0.2 dev eth0" in world.kernel(1)[THEIRS4]
    assert "via fd00::2 dev eth0" in world.kernel(1, 6)[THEIRS6]


FRR = """
router bgp {asn}
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {us} remote-as 65001
 neighbor {us} timers connect 1
 bgp default local-preference 333
 address-family ipv4 unicast
  network {t4} route-map R
  neighbor {us} activate
  neighbor {us} route-map OUT4 out
 exit-address-family
 address-family ipv6 unicast
  network {t6} route-map R
  neighbor {us} activate
  neighbor {us} route-map OUT6 out
 exit-address-family
route-map R permit 10
 set origin egp
 set as-path prepend 4200000001 64999
 set metric 77
 set community 65002:8
 set large-community 65002:3:4
 set extcommunity rt 65002:11
route-map OUT4 permit 10
 set ip next-hop 10.0.0.2
route-map OUT6 permit 10
 set ipv6 next-hop global fd00::2
"""


@pytest.mark.parametrize("transport", [4, 6])
@pytest.mark.parametrize("kind", ["ebgp", "ibgp"])
@pytest.mark.skipif(MISSING["frr"] is not None, reason=str(MISSING["frr"]))
def test_frr(world: World, kind: str, transport: int) -> None:
    asn = 65002 if kind == "ebgp" else 65001
    world.frr(FRR.format(t4=THEIRS4, t6=THEIRS6, us="10.0.0.1" if transport == 4 else "fd00::1", asn=asn))
    world.bgpd(ours(asn, transport))
    world.up("them")
    ibgp = kind == "ibgp"
    check_theirs(world.learnt(THEIRS4), ibgp=ibgp, hop="10.0.0.2")
    check_theirs(world.learnt(THEIRS6), ibgp=ibgp, hop="fd00::2")
    for family, prefix, hop in (("ipv4", V4, "10.0.0.1"), ("ipv6", V6, "fd00::1")):

        def held() -> dict[str, Any]:
            return dict(json.loads(world.vtysh(f"show bgp {family} unicast {prefix} json") or "{}"))  # noqa: B023

        world.until(lambda: held().get("paths"), "FRR to hold it")
        (path,) = held()["paths"]
        assert path["origin"] == "incomplete"
        assert path["aspath"]["string"] == ("Local" if ibgp else "65001")
        assert path["metric"] == 50
        assert "65001:7" in path["community"]["string"]
        assert path["largeCommunity"]["string"] == "65001:1:2"
        assert path["extendedCommunity"]["string"] == "RT:65001:9"
        assert path["nexthops"][0]["ip"] == hop
        assert path.get("locPrf", 250) == (250 if ibgp else path.get("locPrf", 250))


@pytest.mark.parametrize("transport", [4, 6])
@pytest.mark.parametrize("kind", ["ebgp", "ibgp"])
@pytest.mark.skipif(MISSING["gobgp"] is not None, reason=str(MISSING["gobgp"]))
def test_gobgp(world: World, kind: str, transport: int) -> None:
    asn = 65002 if kind == "ebgp" else 65001
    us = "10.0.0.1" if transport == 4 else "fd00::1"
    families = "".join(
        f'[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "ipv{v}-unicast"\n' for v in (4, 6)
    )
    world.gobgpd(
        f'[global.config]\nas = {asn}\nrouter-id = "10.0.0.2"\n[[neighbors]]\n[neighbors.config]\n'
        f'neighbor-address = "{us}"\npeer-as = 65001\n[neighbors.timers.config]\nconnect-retry = 1\n{families}'
    )
    world.bgpd(ours(asn, transport))
    world.up("them")
    ibgp = kind == "ibgp"
    extras = ["origin", "egp", "aspath", "4200000001 64999", "med", "77", "community", "65002:8"]
    extras += ["large-community", "65002:3:4", "rt", "65002:11", "local-pref", "333"]
    for family, prefix, hop in (("ipv4", THEIRS4, "10.0.0.2"), ("ipv6", THEIRS6, "fd00::2")):
        world.gobgp(2, "global", "rib", "add", "-a", family, prefix, "nexthop", hop, *extras)
        if family.endswith(str(transport)) or ibgp:
            check_theirs(world.learnt(prefix), ibgp=ibgp, hop=hop)
    for family, prefix, hop in (("ipv4", V4, "10.0.0.1"), ("ipv6", V6, "fd00::1")):

        def held() -> dict[str, Any]:
            return dict(json.loads(world.gobgp(2, "global", "rib", "-a", family, prefix, "-j", check=False) or "{}"))  # noqa: B023

        world.until(lambda: held().get(prefix) or held().get("paths"), "GoBGP to hold it")  # noqa: B023
        (path,) = held().get(prefix) or held()["paths"]
        attrs = {a["type"]: a for a in path["attrs"]}
        assert attrs[1]["value"] == 2
        assert [s["asns"] for s in attrs[2]["as_paths"]] == ([] if ibgp else [[65001]])
        assert attrs[4]["metric"] == 50
        assert 65001 << 16 | 7 in attrs[8]["communities"]
        assert attrs[32]["value"] == [{"ASN": 65001, "LocalData1": 1, "LocalData2": 2}]
        assert attrs[16]["value"][0]["value"] == "65001:9"
        assert (attrs.get(3) or attrs[14])["nexthop"] == hop
        assert attrs.get(5, {}).get("value") == (250 if ibgp else None)
