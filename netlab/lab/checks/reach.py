"""reach and deny: packets from one place to another."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from netlab.base.addresses import Address
from netlab.base.patience import patience
from netlab.lab.checks.result import CannotProbe, Context, NotYet
from netlab.lab.checkspec import Reach
from netlab.lab.machine import Answer

#: seconds to wait for one answer; on one machine answers take well under a millisecond
PATIENCE = 0.8


def targets(spec: Reach, context: Context) -> list[Address]:
    """The addresses that a probe goes to: one given, or those of a place in the families that the sender has, too."""
    try:
        return [ip_address(spec.to)]
    except ValueError:
        pass
    here = {a.version for a in context.addresses(spec.from_)}
    found = [a for a in context.addresses(spec.to) if a.version in here and spec.family in (None, a.version)]
    if not found:
        raise CannotProbe(f"{spec.from_} and {spec.to} have no addresses of one family")
    return found


async def probe(spec: Reach, netns: str, to: Address, context: Context, *, timeout: float | None = None) -> Answer:
    """Send what the check says from a namespace to an address."""
    probes = context.machine.probes()
    timeout = patience(PATIENCE) if timeout is None else timeout
    if spec.tcp:
        return await probes.tcp(netns, to, spec.tcp, timeout=timeout)
    if spec.udp:
        return await probes.udp(netns, to, spec.udp, timeout=timeout)
    if spec.http:
        return await probes.http(netns, to, spec.http, path="/", timeout=timeout)
    return await probes.icmp(netns, to, timeout=timeout, size=spec.size)


def words(spec: Reach) -> str:
    """What is sent, for people: `ping`, `tcp 80`, `http 8080`."""
    for kind in ("tcp", "udp", "http"):
        port = getattr(spec, kind)
        if port:
            return f"{kind} {port}"
    return "ping"


async def reach(spec: Reach, context: Context) -> str:
    """NotYet unless every address answers, with what it should."""
    netns = context.netns(spec.from_)
    seen = await asyncio.gather(*(_reached(spec, netns, to, context) for to in targets(spec, context)))
    return f"{spec.from_} → {', '.join(seen)}"


async def _reached(spec: Reach, netns: str, to: Address, context: Context) -> str:
    answer = await probe(spec, netns, to, context)
    if answer.outcome != "answered":
        raise NotYet(f"{spec.from_} → {to} {words(spec)}: {answer.outcome}, {answer.detail}")
    if spec.http and not answer.detail.startswith("2"):
        raise NotYet(f"{spec.from_} → {to} {words(spec)}: status {answer.detail}")
    wanted = context.text(spec.answers) if spec.answers else ""
    if wanted not in answer.body:
        raise NotYet(f"{spec.from_} → {to} {words(spec)}: the answer does not contain {wanted!r}")
    client = answer.headers.get("x-client-address", "")
    if spec.seen_as:
        asker = context.address(spec.seen_as, to.version)
        if not client or _host(client) != asker:
            raise NotYet(f"{spec.from_} → {to} {words(spec)}: the server saw {client or 'nobody'}, not {asker}")
    return f"{to} in {answer.seconds * 1000:.1f} ms" + (f" (server saw {_host(client)})" if client else "")


async def deny(spec: Reach, context: Context) -> str:
    """NotYet if an address answers. CannotProbe if it would not answer anybody: then silence proves nothing."""
    netns = context.netns(spec.from_)
    silent = await asyncio.gather(*(_silent(spec, netns, to, context) for to in targets(spec, context)))
    return f"{spec.from_} → {', '.join(silent)}"


async def _silent(spec: Reach, netns: str, to: Address, context: Context) -> str:
    if context.is_place(spec.to):
        await _must_be_alive(spec, to, context)
    answer = await probe(spec, netns, to, context)
    if answer.outcome in ("answered", "refused"):
        raise NotYet(f"{spec.from_} → {to} {words(spec)}: {answer.outcome}, though it must not be reached")
    if answer.outcome == "failed":
        raise CannotProbe(f"{spec.from_} → {to} {words(spec)}: {answer.detail}")
    return f"{to} {answer.outcome}"


async def _must_be_alive(spec: Reach, to: Address, context: Context) -> None:
    home = await probe(spec, context.netns(spec.to), to, context)
    if home.outcome != "answered":
        text = f"{spec.to} does not answer {words(spec)} on {to} even from inside ({home.outcome}, {home.detail})"
        raise CannotProbe(f"{text}: silence would prove nothing")


def _host(client: str) -> Address | None:
    host = client.rpartition(":")[0].strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
