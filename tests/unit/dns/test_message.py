"""The wire: what comes back to right and to wrong questions, and that nothing can stop the door."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from dnsworld import TEXT, cluster
from hypothesis import example, given
from hypothesis import strategies as st

from netlab.dns import message
from netlab.dns.message import Query
from netlab.dns.records import Records, ZoneConfig

RECORDS = Records.of(cluster(), ZoneConfig())


def ask(wire: bytes, *, stream: bool = False, records: Records = RECORDS) -> dns.message.Message:
    query = message.read(wire)
    assert query is not None
    if isinstance(query, bytes):
        return dns.message.from_wire(query)
    answer = records.look(query.labels, query.kind)
    assert answer is not None
    return dns.message.from_wire(message.reply(query, answer, stream=stream))


def question(name: str, kind: str = "A", **more: object) -> dns.message.Message:
    return dns.message.make_query(name, kind, **more)  # type: ignore[arg-type]


def test_an_answer() -> None:
    asked = question("HostNames.default.svc.Cluster.local")
    got = ask(asked.to_wire())
    assert got.id == asked.id and got.rcode() == dns.rcode.NOERROR
    assert got.flags & dns.flags.AA and got.flags & dns.flags.RD and not got.flags & dns.flags.RA
    (rrset,) = got.answer
    assert rrset.to_text() == "HostNames.default.svc.Cluster.local. 5 IN A 10.96.0.5"
    assert got.edns == -1


def test_137_every_byte_of_the_name_comes_back_as_it_was() -> None:
    asked = question("nGiNx.DeFaUlT.svc.cluster.local")
    got = ask(asked.to_wire())
    assert got.question[0].name.to_text() == got.answer[0].name.to_text() == "nGiNx.DeFaUlT.svc.cluster.local."


def test_srv_txt_ptr_and_soa_on_the_wire() -> None:
    srv = ask(question("_web._tcp.nginx.default.svc.cluster.local", "SRV").to_wire())
    assert len(srv.answer[0]) == 3 and {r.rdtype for r in srv.additional} == {dns.rdatatype.A}
    assert "1.1.0" in ask(question("dns-version.cluster.local", "TXT").to_wire()).answer[0].to_text()
    assert ask(question("5.0.96.10.in-addr.arpa", "PTR").to_wire()).answer[0].rdtype == dns.rdatatype.PTR
    none = ask(question("gone.default.svc.cluster.local").to_wire())
    assert none.rcode() == dns.rcode.NXDOMAIN and none.authority[0].rdtype == dns.rdatatype.SOA


def many(count: int) -> Records:
    pods = "".join(
        f"\n---\nkind: Pod\nmetadata: {{name: p{n}, labels: {{app: many}}}}\nstatus: {{podIP: 10.1.{n // 250}.{n % 250 + 1}}}\n"
        for n in range(count)
    )
    service = "\n---\nkind: Service\nmetadata: {name: many}\nspec: {clusterIP: None, selector: {app: many}}\n"
    return Records.of(cluster(TEXT + service + pods), ZoneConfig())


def test_142_what_is_too_long_for_udp_comes_by_tcp() -> None:
    records = many(100)
    wire = question("many.default.svc.cluster.local").to_wire()
    query = message.read(wire)
    assert isinstance(query, Query)
    short = message.reply(query, records.look(query.labels, "A"), stream=False)  # type: ignore[arg-type]
    assert len(short) <= 512 and message.truncated(short)
    assert dns.message.from_wire(short).flags & dns.flags.TC
    whole = ask(wire, stream=True, records=records)
    assert len(whole.answer[0]) == 100 and not whole.flags & dns.flags.TC
    # with EDNS there is room for more, but not for what a path would fragment
    edns = question("many.default.svc.cluster.local", use_edns=0, payload=4096).to_wire()
    query = message.read(edns)
    assert isinstance(query, Query)
    got = message.reply(query, records.look(query.labels, "A"), stream=False)  # type: ignore[arg-type]
    assert message.truncated(got) and len(got) <= 1232
    fits = many(60)
    got = message.reply(query, fits.look(query.labels, "A"), stream=False)  # type: ignore[arg-type]
    assert not message.truncated(got) and 512 < len(got) <= 1232


def test_additional_records_that_do_not_fit_are_no_loss() -> None:
    records = Records.of(cluster(TEXT), ZoneConfig(zone="a-rather-long-name." * 2 + "cluster.local"))
    name = "_web._tcp.nginx.default.svc." + "a-rather-long-name." * 2 + "cluster.local"
    got = ask(question(name, "SRV").to_wire(), records=records)
    assert not got.flags & dns.flags.TC and len(got.answer[0]) == 3


def test_edns() -> None:
    got = ask(question("hostnames.default.svc.cluster.local", use_edns=0, payload=1400).to_wire())
    assert (got.edns, got.payload) == (0, 1232)
    got = ask(question("hostnames.default.svc.cluster.local", use_edns=1).to_wire())
    assert got.rcode() == dns.rcode.BADVERS and not got.answer
    tiny = message.read(question("a.b", use_edns=0, payload=12).to_wire())
    assert isinstance(tiny, Query) and tiny.limit == 512


def test_what_is_no_question_gets_no_answer() -> None:
    asked = question("hostnames.default.svc.cluster.local")
    assert message.read(b"") is None
    assert message.read(asked.to_wire()[:11]) is None
    asked.flags |= dns.flags.QR
    assert message.read(asked.to_wire()) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: w[:2] + bytes([0x28]) + w[3:], dns.rcode.NOTIMP),  # UPDATE
        (lambda w: w[:-3], dns.rcode.FORMERR),  # cut off
        (lambda w: w[:4] + b"\0\2" + w[6:] + w[12:], dns.rcode.FORMERR),  # two questions
        (lambda w: w[:4] + b"\0\0" + w[6:12], dns.rcode.FORMERR),  # none
        (lambda w: w[:-2] + b"\0\3", dns.rcode.REFUSED),  # class CHAOS
        (lambda w: w[:12] + b"\xc0\x0c" + w[-4:], dns.rcode.FORMERR),  # a name that points to itself
    ],
)
def test_what_is_wrong_is_told(change: object, code: dns.rcode.Rcode) -> None:
    wire = change(question("hostnames.default.svc.cluster.local").to_wire())  # type: ignore[operator]
    answer = message.read(wire)
    assert isinstance(answer, bytes)
    got = dns.message.from_wire(answer, question_only=True)
    assert got.rcode() == code and got.id == int.from_bytes(wire[:2]) and got.flags & dns.flags.QR


GOOD = [
    question("hostnames.default.svc.cluster.local").to_wire(),
    question("_web._tcp.nginx.default.svc.cluster.local", "SRV", use_edns=0, payload=1232).to_wire(),
    question("a.b", "TXT", use_edns=0, options=[]).to_wire(),
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    wire = bytearray(draw(st.sampled_from(GOOD)))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, len(wire) - 1), st.integers(0, 255)), max_size=8)):
        wire[at] = byte
    cut = draw(st.integers(0, len(wire)))
    return bytes(wire[:cut] if draw(st.booleans()) else wire) + draw(st.binary(max_size=40))


@given(st.binary(max_size=80) | mangled())
@example(b"\0\0\1\0\0\1\0\0\0\0\0\0\x3f" + b"a" * 63 + b"\0\0\1\0\1")
def test_whatever_comes_something_readable_or_nothing_goes_out(wire: bytes) -> None:
    query = message.read(wire)
    if query is None:
        return
    answer: bytes
    if isinstance(query, bytes):
        answer = query
    else:
        found = RECORDS.look(query.labels, query.kind)
        if found is None or found.status in ("REFUSED", "SERVFAIL"):
            answer = message.status(query, found.status if found else "REFUSED")
        else:
            answer = message.reply(query, found, stream=False)
            assert len(answer) <= query.limit
        assert len(answer) <= 1232
    assert answer[:2] == wire[:2] and answer[2] & 0x80
    dns.message.from_wire(answer)
    assert message.told(answer)


@given(st.binary(max_size=80) | mangled())
def test_an_upstreams_answer_may_be_anything(wire: bytes) -> None:
    assert message.answers(wire) is None or isinstance(message.answers(wire), list)
