"""subnet.env: the original's lines, written as a whole, read with care."""

import json
import os
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.base.errors import InputError, MachineError
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Subnet
from netlab.overlay.subnetenv import SubnetEnv, previous, read, write

TEXT = "FLANNEL_NETWORK=100.96.0.0/16\nFLANNEL_SUBNET=100.96.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
DUAL = (
    "FLANNEL_NETWORK=100.96.0.0/16\nFLANNEL_SUBNET=100.96.1.1/24\n"
    "FLANNEL_IPV6_NETWORK=fd00:10::/48\nFLANNEL_IPV6_SUBNET=fd00:10:0:1::1/64\n"
    "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n"
)
SUBNET = Subnet(IPv4Network("100.96.1.0/24"))
BOTH = Subnet(IPv4Network("100.96.1.0/24"), IPv6Network("fd00:10:0:1::/64"))


def config(**data: object) -> NetworkConfig:
    return NetworkConfig.parse(json.dumps(data), place="test")


def test_as_the_original_writes_it() -> None:
    env = SubnetEnv.of(config(Network="100.96.0.0/16"), SUBNET, mtu=1450, masq=True)
    assert env.render() == TEXT and env.subnet == SUBNET
    dual = config(Network="100.96.0.0/16", EnableIPv6=True, IPv6Network="fd00:10::/48")
    env = SubnetEnv.of(dual, BOTH, mtu=1430, masq=False)
    assert env.render() == DUAL and env.subnet == BOTH
    six = config(EnableIPv4=False, EnableIPv6=True, IPv6Network="fd00:10::/48")
    env = SubnetEnv.of(six, Subnet(None, BOTH.ipv6), mtu=1430, masq=False)
    assert env.render() == "".join(DUAL.splitlines(keepends=True)[2:])


gateways4 = st.builds(lambda a, n: IPv4Interface((a, n)), st.integers(0, 2**32 - 1), st.integers(0, 32))
gateways6 = st.builds(lambda a, n: IPv6Interface((a, n)), st.integers(0, 2**128 - 1), st.integers(0, 128))


@settings(deadline=None)
@given(st.none() | gateways4, st.none() | gateways6, st.integers(1, 65535), st.booleans())
def test_round_trip(ipv4: IPv4Interface | None, ipv6: IPv6Interface | None, mtu: int, masq: bool) -> None:
    if ipv4 is None and ipv6 is None:
        return
    env = SubnetEnv(
        network=ipv4.network.supernet(new_prefix=ipv4.network.prefixlen // 2) if ipv4 else None, gateway=ipv4,
        ipv6_network=ipv6.network.supernet(new_prefix=ipv6.network.prefixlen // 2) if ipv6 else None,
        ipv6_gateway=ipv6, mtu=mtu, masq=masq,
    )  # fmt: skip
    assert SubnetEnv.parse(env.render(), place="f") == env


def test_written_by_hand() -> None:
    text = '# mine\n\n export=1\nFLANNEL_SUBNET="100.96.1.1/24" \r\n' + TEXT.replace(
        "FLANNEL_SUBNET=100.96.1.1/24\n", ""
    )
    assert SubnetEnv.parse(text, place="f").render() == TEXT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "neither FLANNEL_SUBNET nor"),
        (TEXT.replace("=100.96.1.1/24", "=100.96.1.1"), "f:2: FLANNEL_SUBNET is '100.96.1.1', expected"),
        (TEXT.replace("100.96.1.1/24", "fd00::1/64"), "f:2: FLANNEL_SUBNET is"),
        (TEXT.replace("1450", "65536"), "f:3: FLANNEL_MTU is '65536', expected a number from 1 to 65535"),
        (TEXT.replace("true", "maybe"), "f:4: FLANNEL_IPMASQ is 'maybe', expected true or false"),
        (TEXT.replace("100.96.1.1", "10.96.1.1"), "is not in FLANNEL_NETWORK"),
        (TEXT.replace("FLANNEL_NETWORK=100.96.0.0/16\n", ""), "FLANNEL_SUBNET is there without its other half"),
        (TEXT.replace("FLANNEL_MTU=1450", "FLANNEL_MTU"), "FLANNEL_MTU is missing"),
        (TEXT + "garbage\n", "f:5: 'garbage' is not NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_said(text: str, expected: str) -> None:
    with pytest.raises(InputError) as found:
        SubnetEnv.parse(text, place="f")
    assert expected in str(found.value)


@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from([*DUAL.splitlines(), "FLANNEL_MTU=", "x"])).map("\n".join))
def test_any_text_is_an_env_or_an_input_error(text: str) -> None:
    try:
        env = SubnetEnv.parse(text, place="f")
    except InputError as e:
        assert e.problems
        return
    assert SubnetEnv.parse(env.render(), place="f") == env


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "run" / "flannel" / "subnet.env"
    reports: list[str] = []
    assert read(file) is None and previous(file, report=reports.append) is None and reports == []
    env = SubnetEnv.parse(DUAL, place="f")
    write(file, env)
    write(file, env)
    assert file.read_text() == DUAL and read(file) == env
    assert previous(file, report=reports.append) == BOTH and reports == []
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(file.parent) == ["subnet.env"]  # noqa: PTH208


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"FLANNEL_SUBNET=1", TEXT.encode()[:40]])
def test_a_broken_file_is_reported_and_no_reason_to_stop(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "subnet.env"
    file.write_bytes(content)
    reports: list[str] = []
    assert previous(file, report=reports.append) is None
    assert len(reports) == 1 and str(file) in reports[0]
    with pytest.raises(InputError):
        read(file)


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = SubnetEnv.parse(TEXT, place="f")
    with pytest.raises(MachineError, match="cannot be written"):
        write(tmp_path / "file" / "subnet.env", env)
    (tmp_path / "subnet.env").mkdir()
    with pytest.raises(MachineError, match="cannot be written"):
        write(tmp_path / "subnet.env", env)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "subnet.env"]
    reports: list[str] = []
    assert previous(tmp_path / "subnet.env", report=reports.append) is None and len(reports) == 1
