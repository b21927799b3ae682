"""A lease's key and value: flannel's, byte for byte."""

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.overlay.lease import Lease, LeaseAttrs, Subnet

ipv4_networks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False), st.integers(0, 2**32 - 1), st.integers(1, 32)
)
ipv6_networks = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)
subnets = (
    st.builds(Subnet, ipv4_networks) | st.builds(Subnet, ipv4_networks, ipv6_networks)
    | st.builds(Subnet, st.none(), ipv6_networks)
)  # fmt: skip
objects = st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=3)
attrs = st.builds(
    LeaseAttrs,
    public_ip=st.none() | st.builds(IPv4Address, st.integers(1, 2**32 - 1)),
    public_ipv6=st.none() | st.builds(IPv6Address, st.integers(1, 2**128 - 1)),
    backend_type=st.sampled_from(["", "udp", "vxlan", "host-gw"]),
    backend_data=st.none() | objects,
    backend_v6_data=st.none() | objects,
)


@settings(deadline=None)
@given(subnets)
def test_keys_round_trip(subnet: Subnet) -> None:
    assert Subnet.parse(subnet.key) == subnet
    assert Subnet.parse(f"/coreos.com/network/subnets/{subnet.key}") == subnet
    assert "/" not in subnet.key


@settings(deadline=None)
@given(attrs)
def test_values_round_trip(value: LeaseAttrs) -> None:
    assert LeaseAttrs.parse(value.to_json()) == value
    assert LeaseAttrs.parse(value.to_json().encode()) == value


def test_spelling() -> None:
    both = Subnet(IPv4Network("100.96.1.0/24"), IPv6Network("fc00:0:0:1::/64"))
    assert both.key == "100.96.1.0-24&fc00:0:0:1::-64"
    assert both.networks == (both.ipv4, both.ipv6) and str(both) == "100.96.1.0/24 and fc00:0:0:1::/64"
    assert Subnet(None, IPv6Network("fc00:0:0:1::/64")).key == "0.0.0.0-0&fc00:0:0:1::-64"
    vxlan = LeaseAttrs(
        public_ip=IPv4Address("10.168.0.2"),
        backend_type="vxlan",
        backend_data={"VNI": 1, "VtepMAC": "aa:bb:cc:dd:ee:ff"},
    )
    assert vxlan.to_json() == (
        '{"PublicIP":"10.168.0.2","PublicIPv6":null,"BackendType":"vxlan",'
        '"BackendData":{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}}'
    )
    assert LeaseAttrs(public_ipv6=IPv6Address("fd00::1")).to_json() == '{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1"}'


def test_what_older_ones_write() -> None:
    assert LeaseAttrs.parse('{"PublicIP":"10.0.0.1"}') == LeaseAttrs(public_ip=IPv4Address("10.0.0.1"))
    found = LeaseAttrs.parse('{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"udp","BackendData":null,"New":1}')
    assert found == LeaseAttrs(public_ip=IPv4Address("10.0.0.1"), backend_type="udp")


def test_the_revision_does_not_make_another_lease() -> None:
    subnet, value = Subnet(IPv4Network("10.0.0.0/24")), LeaseAttrs()
    assert Lease(subnet=subnet, attrs=value, revision=1) == Lease(subnet=subnet, attrs=value, revision=2)


@pytest.mark.parametrize(
    "key",
    ["", "config", "100.96.1.0", "100.96.1.0-33", "100.96.1.1-24", "1.2.3-24", "10.0.0.0-8&-64", "10.0.0.0-8&x-1"],
)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError):
        Subnet.parse(key)


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[\d.]{1,16}-\d{1,4}(&[a-f\d:]{1,40}-\d{1,4})?", fullmatch=True))
def test_any_text_is_a_key_or_a_value_error(text: str) -> None:
    try:
        found = Subnet.parse(text)
    except ValueError:
        return
    assert Subnet.parse(found.key) == found


_parts = st.fixed_dictionaries(
    {},
    optional={
        name: st.none()
        | st.integers()
        | st.text(max_size=9)
        | st.sampled_from(["10.0.0.1", "::1", "0.0.0.0"])
        | objects
        for name in ("PublicIP", "PublicIPv6", "BackendType", "BackendData", "BackendV6Data")
    },
)


@settings(deadline=None)
@given(st.binary(max_size=40) | _parts.map(lambda data: json.dumps(data).encode()))
def test_any_bytes_are_a_value_or_a_value_error(text: bytes) -> None:
    try:
        found = LeaseAttrs.parse(text)
    except ValueError:
        return
    assert LeaseAttrs.parse(found.to_json()) == found
