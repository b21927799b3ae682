"""dns: what a name server answers somebody, asked from his namespace and as his resolv.conf says."""

from __future__ import annotations

import secrets
from ipaddress import ip_address

from netlab.base.addresses import Address
from netlab.base.patience import patience
from netlab.dns import asking, message
from netlab.dns.search import Resolver, candidates, parse
from netlab.lab.checks.reach import PATIENCE
from netlab.lab.checks.result import CannotProbe, Context, NotYet
from netlab.lab.checkspec import DnsCheck

PORT = 53


async def dns(spec: DnsCheck, context: Context) -> str:
    """NotYet unless the answer is the one that is asked for."""
    netns = context.netns(spec.from_)
    text = context.resolv_conf(spec.from_)
    resolver = parse(text) if text is not None else Resolver()
    server: Address | None = (
        context.address(spec.server) if spec.server else next(map(ip_address, resolver.servers), None)
    )
    if server is None:
        raise CannotProbe(f"{spec.from_} has no file resolv.conf with a nameserver, and the check names no server")
    asked, kind = asking.reversed_name(spec.name) or (spec.name, spec.type)
    found: list[tuple[str, asking.Said]] = []
    for name in candidates(asked, resolver):
        question = message.question(name, kind, secrets.randbelow(1 << 16))
        got = await context.machine.probes().exchange(netns, server, PORT, question, timeout=patience(PATIENCE))
        if got is None:
            raise NotYet(f"{spec.from_} asks {server} for {name} {kind}: no answer")
        found.append((name, asking.said(kind, got)))
        if found[-1][1].records:
            break
    # as resolvers have it: an answer, else that there is a name without one, else what was said last
    name, said = min(reversed(found), key=lambda pair: (not pair[1].records, pair[1].status != "NOERROR"))
    data = sorted(record.data for record in said.records)
    told = f"{name} {kind}: {', '.join(data) or said.status}"
    if said.status != spec.status:
        raise NotYet(f"{told}, not {spec.status}")
    wanted = sorted(map(context.text, spec.answers)) if spec.answers is not None else None
    if wanted is not None and wanted != data:
        raise NotYet(f"{told}, not {', '.join(wanted) or 'nothing'}")
    return told
