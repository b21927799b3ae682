"""path: one packet, followed through every device that the check names."""

from __future__ import annotations

import asyncio
from typing import Any

from netlab.base.addresses import Address
from netlab.base.errors import NetlabError
from netlab.base.patience import patience
from netlab.lab.capture.packet import Interface, Packet, Place
from netlab.lab.checks import reach
from netlab.lab.checks.result import CannotProbe, Context, NotYet
from netlab.lab.checkspec import PathCheck, Reach

#: seconds for which the devices are watched after the answer, for what is still on its way
LINGER = 0.05


async def path(spec: PathCheck, context: Context) -> tuple[str, dict[str, Any]]:
    """Send the probe while all the devices are watched, then compare. NotYet tells what was not as expected."""
    from netlab.lab.capture import path as judge

    watched, devices = taps([*(hop.at for hop in spec.hops), *spec.watch], context)
    to = next((a for a in reach.targets(spec.probe, context) if a.version == spec.family), None)
    if to is None:
        raise CannotProbe(f"{spec.probe.to} has no IPv{spec.family} address")
    try:
        packets = await watch(context, spec.probe, to, watched, devices)
    except OSError as e:
        raise CannotProbe(f"cannot watch {', '.join(map(str, watched))}: {e}") from e
    expected = [judge.Expected(hop.at, context.where(hop.where), hop.outgoing) for hop in spec.hops]
    result = judge.check(packets, _flow(spec, to), expected, exactly=spec.exactly)
    seen = [str(hop).strip() for hop in result.hops]
    if not result.passed:
        raise NotYet(
            "; ".join(result.mismatches) + (f" (seen: {' → '.join(str(h.place) for h in result.hops)})" if seen else "")
        )
    return " → ".join(str(hop.place) for hop in result.hops), {"hops": seen}


def taps(texts: list[str], context: Context) -> tuple[list[Place], list[tuple[str, str]]]:
    """Places, and for each the (namespace, device) to listen at: a name that stands for several pods is there as often.
    CannotProbe."""
    places = dict.fromkeys(map(_place, texts))
    found = [(place, tap) for place in places for tap in context.taps(place.node, place.device)]
    return [place for place, _ in found], [tap for _, tap in found]


def _place(text: str) -> Place:
    try:
        return Place.parse(text)
    except (NetlabError, ValueError) as e:
        raise CannotProbe(str(e)) from e


async def watch(
    context: Context, probe: Reach, to: Address, watched: list[Place], devices: list[tuple[str, str]]
) -> list[Packet]:
    """Send the probe while the devices are watched; everything that was seen there."""
    from netlab.lab.capture import session

    packets: list[Packet] = []
    done = asyncio.Event()
    with context.machine.taps(devices) as taps:
        interfaces = [Interface(place, kind) for place, kind in zip(watched, taps.linktypes, strict=True)]
        running = asyncio.create_task(
            asyncio.to_thread(session.run, taps.listener, interfaces, show=packets.append, stop=done.is_set)
        )
        try:
            await reach.probe(probe, context.netns(probe.from_), to, context)
            await asyncio.sleep(patience(LINGER))
        finally:
            done.set()
            await running
    return packets


def _flow(spec: PathCheck, to: Address) -> dict[str, Any]:
    """What the packet to follow looks like somewhere on its way."""
    ip, icmp = ("ip", "icmp") if spec.family == 4 else ("ip6", "icmp6")
    ask, answer = (8, 0) if spec.family == 4 else (128, 129)
    side = "src" if spec.reply else "dst"
    flow: dict[str, Any] = {f"{ip}.{side}": str(to)}
    probe = spec.probe
    if probe.icmp:
        flow[f"{icmp}.type"] = answer if spec.reply else ask
    elif probe.udp:
        flow["udp.sport" if spec.reply else "udp.dport"] = probe.udp
    else:
        port = probe.tcp or probe.http
        assert port is not None
        flow["tcp.sport" if spec.reply else "tcp.dport"] = port
        flow["tcp.flags"] = "SA" if spec.reply else "S"
    return flow
