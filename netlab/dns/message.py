"""Questions and answers on the wire: from bytes to bytes, without I/O. dnspython knows the format.

RFC 1035, EDNS (RFC 6891), one question per message (RFC 9619). What is not answered by records is answered by a status:
FORMERR, NOTIMP, REFUSED, BADVERS. What is no question at all gets no answer, so that two servers cannot talk forever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from netlab.dns.records import Answer, Labels, Record

#: bytes of a header; of an answer by UDP without EDNS; of one with it, which no path fragments (DNS flag day 2020)
HEADER, PLAIN_MAX, UDP_MAX = 12, 512, 1232
STREAM_MAX = 65535
_QR, _OPCODE, _RD = 0x80, 0x78, 0x01


@dataclass(frozen=True, slots=True)
class Query:
    """A question that was understood. limit: bytes that the asker takes by UDP; kind: A, AAAA, SRV …"""

    wire: bytes
    message: dns.message.Message
    labels: Labels
    kind: str
    limit: int

    @property
    def name(self) -> dns.name.Name:
        """The name that was asked for, as it was spelt."""
        return self.message.question[0].name


def read(wire: bytes) -> Query | bytes | None:
    """A question, or the answer to what is none; None where silence is the answer."""
    if len(wire) < HEADER or wire[2] & _QR:
        return None
    if wire[2] & _OPCODE:
        return _bare(wire, dns.rcode.NOTIMP)
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return _bare(wire, dns.rcode.FORMERR)
    if len(message.question) != 1 or int.from_bytes(wire[4:6]) != 1:
        return _bare(wire, dns.rcode.FORMERR)
    (question,) = message.question
    limit = PLAIN_MAX if message.edns < 0 else min(max(PLAIN_MAX, message.payload), UDP_MAX)
    labels = tuple(label.decode("latin-1") for label in question.name.labels[:-1])
    query = Query(wire, message, labels, dns.rdatatype.to_text(question.rdtype), limit)
    if message.edns > 0:
        return status(query, "BADVERS")
    if question.rdclass != dns.rdataclass.IN:
        return status(query, "REFUSED")
    return query


def _bare(wire: bytes, code: dns.rcode.Rcode) -> bytes:
    """An answer to what could not be read: nothing but the header."""
    return wire[:2] + bytes([_QR | (wire[2] & (_OPCODE | _RD)), int(code)]) + bytes(8)


def _skeleton(query: Query, *, recursion: bool) -> dns.message.Message:
    return dns.message.make_response(query.message, recursion_available=recursion, our_payload=UDP_MAX, pad=0)


def status(query: Query, code: str, *, recursion: bool = False) -> bytes:
    """An answer without records. code: SERVFAIL, REFUSED …"""
    response = _skeleton(query, recursion=recursion)
    response.set_rcode(dns.rcode.from_text(code))
    return response.to_wire(max_size=PLAIN_MAX, prefer_truncation=True)


def reply(
    query: Query, answer: Answer, *, stream: bool, recursion: bool = False, more: Iterable[dns.rrset.RRset] = ()
) -> bytes:
    """The cluster's answer. stream: by TCP, which takes it whole; more: what the alias at its end leads to.

    dnspython shuffles the records of a name: whoever takes the first one spreads over all.
    """
    response = _skeleton(query, recursion=recursion)
    response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.from_text(answer.status))
    response.answer = [*_rrsets(answer.records, query), *more]
    response.authority = _rrsets(answer.authority, query)
    response.additional = _rrsets(answer.additional, query)
    return response.to_wire(max_size=STREAM_MAX if stream else query.limit, prefer_truncation=True)


def _rrsets(records: Iterable[Record], query: Query) -> list[dns.rrset.RRset]:
    """Records of one name and type together, in the order of the first of each."""
    found: dict[tuple[str, str], dns.rrset.RRset] = {}
    for record in records:
        key = (record.name, record.type)
        if key not in found:
            found[key] = dns.rrset.RRset(_name(record.name), dns.rdataclass.IN, dns.rdatatype.from_text(record.type))
        found[key].add(_rdata(record.type, record.data), record.ttl)
    return list(found.values())


@lru_cache(1 << 12)
def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


@lru_cache(1 << 14)
def _rdata(kind: str, data: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, kind, data)


def question(name: str, kind: str, ident: int) -> bytes:
    """A question of our own, to an upstream server. InputError is the caller's: the name has to be one."""
    made = dns.message.make_query(name, kind, use_edns=0, payload=UDP_MAX, id=ident)
    return made.to_wire()


def answers(wire: bytes) -> list[dns.rrset.RRset] | None:
    """What an upstream server has found; None if it is not to be used."""
    try:
        found = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    return list(found.answer) if found.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) else None


def truncated(wire: bytes) -> bool:
    """Whether an answer by UDP is not whole."""
    return bool(wire[2] & 0x02)


def told(wire: bytes) -> str:
    """The status of an answer, in letters."""
    return dns.rcode.to_text(dns.rcode.Rcode(wire[3] & 0x0F))
