"""Entries of sets: the spelling of `ipset save` to netlink and back, without a kernel."""

from __future__ import annotations

import pytest

from netlab.kernel.ipset import decode_entry, encode_entry

ENTRIES = [
    ("hash:ip", "10.0.0.1"),
    ("hash:ip", "2001:db8::1"),
    ("hash:net", "10.0.0.0/8"),
    ("hash:net", "10.0.0.1"),
    ("hash:net", "10.1.0.0/16 nomatch"),
    ("hash:net", "2001:db8::/32"),
    ("hash:ip,port", "10.0.0.1,tcp:80"),
    ("hash:ip,port", "10.0.0.1,udp:53"),
    ("hash:ip,port", "10.0.0.1,sctp:9"),
    ("hash:ip,port", "10.0.0.1,icmp:echo-request"),
    ("hash:ip,port", "10.0.0.1,icmp:255/7"),
    ("hash:ip,port", "10.0.0.1,esp:0"),
    ("hash:ip,port", "10.0.0.1,89:0"),
    ("hash:ip,port", "2001:db8::1,ipv6-icmp:neighbour-solicitation"),
    ("hash:ip,port", "2001:db8::1,tcp:65535"),
    ("hash:net,port", "10.0.0.0/24,udp:53"),
    ("hash:ip,port,ip", "10.0.0.1,tcp:80,10.0.0.2"),
    ("hash:ip,port,net", "10.0.0.1,tcp:80,10.0.0.0/24"),
    ("hash:ip,port,net", "2001:db8::1,tcp:80,2001:db8::/64"),
    ("bitmap:port", "30080"),
]


@pytest.mark.parametrize(("set_type", "entry"), ENTRIES)
def test_there_and_back(set_type: str, entry: str) -> None:
    assert decode_entry(set_type, encode_entry(set_type, entry)[4:]) == entry


def test_other_spellings_and_what_counts_down() -> None:
    def respelled(entry: str) -> str:
        return decode_entry("hash:ip,port", encode_entry("hash:ip,port", entry)[4:])

    assert respelled("10.0.0.1,icmp:8/0") == "10.0.0.1,icmp:echo-request"
    assert respelled("10.0.0.1,80") == "10.0.0.1,tcp:80"
    assert respelled("::1,icmpv6:128/0") == "::1,ipv6-icmp:echo-request"
    assert respelled("10.0.0.1,tcp:80 timeout 300") == "10.0.0.1,tcp:80"


@pytest.mark.parametrize(
    ("set_type", "entry"),
    [("hash:ip", "10.0.0"), ("hash:ip,port", "10.0.0.1"), ("hash:ip,port", "10.0.0.1,xyz:1"), ("list:set", "a")],
)
def test_what_is_no_entry(set_type: str, entry: str) -> None:
    with pytest.raises(ValueError):
        encode_entry(set_type, entry)
