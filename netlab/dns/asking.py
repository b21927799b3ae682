"""One question as a person asks it: through the search list, of a server or of the manifests themselves."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.rdatatype
import dns.reversename

from netlab.base.errors import InputError, NetlabError, Problem
from netlab.compile.objects import Objects
from netlab.dns import message
from netlab.dns.records import Answer, Labels, Record, Records, ZoneConfig
from netlab.dns.search import Resolver, candidates
from netlab.dns.upstream import Server, Upstreams


@dataclass(frozen=True, slots=True)
class Said:
    """What was answered about one type."""

    type: str
    status: str
    records: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A name that was tried, and what was said about it."""

    name: str
    answers: tuple[Said, ...]


#: a name and a type to what is said about them
Ask = Callable[[str, str], Said]


def in_objects(objects: Objects, config: ZoneConfig, name: str, kind: str, resolver: Resolver) -> list[Found]:
    """Out of a cluster's objects, without any server. An alias that leads out of it is where it ends."""
    records = Records.of(objects, config)

    def ask(full: str, wanted: str) -> Said:
        labels: Labels = tuple(full.split("."))
        answer = records.look(labels, wanted) or Answer("REFUSED")
        return Said(wanted, answer.status, answer.records)

    return _tried(name, kind, resolver, ask)


def by_wire(server: Server, name: str, kind: str, resolver: Resolver, *, tcp: bool = False) -> list[Found]:
    """Of a name server. NetlabError if it does not answer."""

    def ask(full: str, wanted: str) -> Said:
        return asyncio.run(_asked(server, full, wanted, tcp=tcp))

    return _tried(name, kind, resolver, ask)


async def _asked(server: Server, name: str, kind: str, *, tcp: bool) -> Said:
    question = message.question(name, kind, secrets.randbelow(1 << 16))
    upstream = Upstreams([server])
    got = await upstream.ask(question, stream=tcp)
    if got is not None and message.truncated(got) and not tcp:
        got = await upstream.ask(question, stream=True)
    if got is None:
        raise NetlabError(f"{server[0]} port {server[1]} does not answer", hint="is it up, and is there a way to it?")
    return said(kind, got)


def said(kind: str, wire: bytes) -> Said:
    """What an answer says, aliases first."""
    found = [
        Record(rrset.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rrset.rdtype), rrset.ttl, item.to_text())
        for rrset in message.answers(wire) or ()
        for item in rrset
    ]
    return Said(kind, message.told(wire), tuple(sorted(found, key=lambda r: r.type != "CNAME")))


def reversed_name(text: str) -> tuple[str, str] | None:
    """The name, and the type, by which one asks what an address is called; None for what is no address."""
    try:
        return dns.reversename.from_address(str(ipaddress.ip_address(text))).to_text(), "PTR"
    except ValueError:
        return None


def _tried(name: str, kind: str, resolver: Resolver, ask: Ask) -> list[Found]:
    """Every candidate until one exists; the last one is the outcome."""
    kinds = [kind.upper()] if kind else ["A", "AAAA"]
    reverse = reversed_name(name)
    if reverse:
        name, kinds = reverse[0], [kind.upper() or reverse[1]]
    for wanted in kinds:
        try:
            dns.rdatatype.from_text(wanted)
        except (dns.rdatatype.UnknownRdatatype, ValueError):
            raise InputError([Problem("TYPE", f"{wanted!r} is no type of record", "such as A, SRV or PTR")]) from None
    found = []
    for candidate in candidates(name, resolver):
        try:
            dns.message.make_query(candidate, "A")
        except (dns.exception.DNSException, UnicodeError) as e:
            raise InputError([Problem("NAME", f"{candidate!r} is no name: {e}")]) from None
        found.append(Found(candidate, tuple(ask(candidate, wanted) for wanted in kinds)))
        if any(said.records for said in found[-1].answers):
            break
    return found
