"""resolv.conf: which names are tried, and in which order (points 144 and 145)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.dns.hosts import Hosts
from netlab.dns.records import Answer
from netlab.dns.search import Resolver, candidates, parse

POD = """# as the kubelet writes it
nameserver 10.96.0.10
search default.svc.cluster.local svc.cluster.local cluster.local.
options ndots:5 edns0
"""


def test_144_a_pods_resolv_conf() -> None:
    assert parse(POD) == Resolver(
        ("10.96.0.10",), ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"), 5
    )


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("hostnames", "hostnames.default.svc.cluster.local", "hostnames"),
        ("web-0.nginx", "web-0.nginx.default.svc.cluster.local", "web-0.nginx"),
        ("hostnames.x", "hostnames.x.default.svc.cluster.local", "hostnames.x"),
        ("a.b.c.d.e.f", "a.b.c.d.e.f", "a.b.c.d.e.f.cluster.local"),
        ("example.com.", "example.com", "example.com"),
    ],
)
def test_145_what_is_tried(name: str, first: str, last: str) -> None:
    tried = candidates(name, parse(POD))
    assert (tried[0], tried[-1]) == (first, last)


def test_without_a_list() -> None:
    assert candidates("web", parse("")) == ["web"]
    assert parse("search a b\nsearch c\noptions ndots:x ndots:99\nnameserver").search == ("c",)


@given(st.text(max_size=60), st.text(max_size=20))
def test_nonsense_is_passed_over(text: str, name: str) -> None:
    assert candidates(name, parse(text))


def test_a_file_of_names() -> None:
    hosts = Hosts.parse("# names\n198.51.100.10 my.database.example.com db\nfd00::10 db.\n", "hosts", 5)
    found = hosts.look(("My", "database", "example", "com"), "A")
    assert found and [(r.name, r.data) for r in found.records] == [("My.database.example.com", "198.51.100.10")]
    six = hosts.look(("db",), "AAAA")
    assert six and six.records[0].data == "fd00::10"
    assert hosts.look(("db",), "TXT") == Answer() and hosts.look(("example", "com"), "A") is None
    with pytest.raises(InputError) as error:
        Hosts.parse("198.51.100.10\nnonsense db\n10.0.0.1 a_b", "hosts", 5)
    assert [p.place for p in error.value.problems] == ["hosts:1", "hosts:2", "hosts:3"]
