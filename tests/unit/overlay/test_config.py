"""The network's configuration: flannel's names, defaults and limits."""

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.overlay.config import NetworkConfig


def parse(**data: object) -> NetworkConfig:
    return NetworkConfig.parse(json.dumps(data), place="etcd")


def problems(text: str) -> str:
    with pytest.raises(InputError) as found:
        NetworkConfig.parse(text, place="etcd")
    assert all(problem.place == "etcd" for problem in found.value.problems)
    return str(found.value)


def test_defaults() -> None:
    config = parse(Network="10.244.0.0/16")
    assert config.ipv6 is None and config.backend_type == "vxlan" and config.backend == {}
    assert config.ipv4
    assert (config.ipv4.network, config.ipv4.length) == (IPv4Network("10.244.0.0/16"), 24)
    assert (str(config.ipv4.first), str(config.ipv4.last), config.ipv4.count) == ("10.244.1.0", "10.244.255.0", 255)


@pytest.mark.parametrize(
    ("network", "length"), [("10.0.0.0/8", 24), ("10.0.0.0/22", 24), ("10.0.0.0/23", 25), ("10.0.0.0/28", 30)]
)
def test_length_of_small_networks(network: str, length: int) -> None:
    config = parse(Network=network)
    assert config.ipv4 and config.ipv4.length == length


def test_ipv6_only() -> None:
    config = parse(EnableIPv4=False, EnableIPv6=True, IPv6Network="fd00::/48", Backend={"Type": "host-gw"})
    assert config.ipv4 is None and config.ipv6
    assert (config.ipv6.network, config.ipv6.length) == (IPv6Network("fd00::/48"), 64)
    assert (str(config.ipv6.first), str(config.ipv6.last)) == ("fd00:0:0:1::", "fd00:0:0:ffff::")
    assert config.backend_type == "host-gw"


def test_bounds_and_backend() -> None:
    config = parse(Network="10.5.0.0/16", SubnetLen=28, SubnetMin="10.5.1.16", SubnetMax="10.5.2.0",
                   Backend={"Type": "VXLAN", "VNI": 7})  # fmt: skip
    assert config.ipv4 and config.ipv4.first == IPv4Address("10.5.1.16")
    assert config.ipv4.nth(1) == IPv4Network("10.5.1.32/28") and config.ipv4.nth(1) in config.ipv4
    assert IPv4Network("10.5.2.16/28") not in config.ipv4
    assert config.backend_type == "vxlan" and config.backend["VNI"] == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is an object"),
        ("{}", "Network is missing"),
        ('{"Network": 7}', "is not a network"),
        ('{"Network": false}', "is not a network"),
        ('{"Network": "10.0.0.0/31"}', "too small"),
        ('{"Network": "10.0.0.0/16", "SubnetMin": 5}', "is not an IPv4 address"),
        ('{"Network": "7"}', "is not a network"),
        ('{"Network": "10.0.0.1/16"}', "is not a network"),
        ('{"network": "10.0.0.0/16"}', "did you mean 'Network'?"),
        ('{"Network": "10.0.0.0/16", "SubnetLen": 16}', "expected 17 to 30"),
        ('{"Network": "10.0.0.0/16", "SubnetLen": true}', "expected 17 to 30"),
        ('{"Network": "10.0.0.0/16", "SubnetMin": "10.1.0.0"}', "is not in 10.0.0.0/16"),
        ('{"Network": "10.0.0.0/16", "SubnetMin": "10.0.0.9"}', "write 10.0.0.0"),
        ('{"Network": "10.0.0.0/16", "SubnetMin": "10.0.9.0", "SubnetMax": "10.0.1.0"}', "is above"),
        ('{"Network": "10.0.0.0/16", "Backend": {"Type": "magic"}}', "expected one of udp, vxlan"),
        ('{"Network": "10.0.0.0/16", "Backend": {"Type": 3}}', "expected one of udp, vxlan"),
        ('{"Network": "10.0.0.0/16", "Backend": "vxlan"}', "expected an object"),
        ('{"Network": "10.0.0.0/16", "EnableIPv6": true}', "IPv6Network is missing"),
        ('{"Network": "10.0.0.0/16", "EnableIPv6": "yes"}', "expected true or false"),
        ('{"EnableIPv4": false}', "there is no network to make"),
    ],
)
def test_what_is_wrong_is_said(text: str, expected: str) -> None:
    assert expected in problems(text)


def test_all_problems_at_once() -> None:
    found = problems('{"Netwok": 1, "EnableIPv6": true, "IPv6Network": "x", "Backend": {"Type": "y"}}')
    assert all(part in found for part in ("'Netwok'", "Network is missing", "'x' is not", "'y'"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["10.0.0.0/16", "fd00::/48", "10.0.5.0", "vxlan", "::", "0.0.0.0/0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("Type"), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_names = st.sampled_from([
    "EnableIPv4", "EnableIPv6", "Network", "IPv6Network", "SubnetLen", "SubnetMin", "SubnetMax", "IPv6SubnetLen",
    "IPv6SubnetMin", "IPv6SubnetMax", "Backend", "EnableNFTables",
])  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(_names, _json))
def test_any_object_is_a_configuration_or_an_input_error(data: dict[str, object]) -> None:
    try:
        config = NetworkConfig.parse(json.dumps(data), place="etcd")
    except InputError as e:
        assert e.problems
        return
    for pool in (config.ipv4, config.ipv6):
        assert pool is None or (pool.count >= 1 and pool.nth(0) in pool and pool.nth(pool.count - 1) in pool)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_configuration_or_an_input_error(text: bytes) -> None:
    try:
        NetworkConfig.parse(text, place="etcd")
    except InputError as e:
        assert e.problems
