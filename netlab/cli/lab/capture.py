"""capture."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, TextIO

import click

from netlab.base.errors import InputError, NetlabError
from netlab.cli import output
from netlab.cli.completing import complete_lab
from netlab.cli.lab.common import engine, on_clusters, running_name
from netlab.lab.journal import on_cluster

if TYPE_CHECKING:
    from netlab.lab.capture.packet import Packet, Place
    from netlab.lab.capture.session import Count
    from netlab.lab.engine import Engine
    from netlab.lab.journal import Record
    from netlab.lab.machine import Machine


@click.command(
    epilog=output.examples(
        "netlab lab capture docker0 nginx-1:eth0 node1:docker0 'node1:veth*' -f 'icmp or arp'",
        "netlab lab capture docker0 '*:eth0' -f icmp --follow     # at Ctrl-C, the way of each packet",
        "netlab lab capture docker0 -w out.pcapng --for 10        # everywhere, for 10 seconds",
        "netlab lab capture docker0 node1:docker0 --wireshark",
        "netlab lab capture docker0 node1:eth0 -q -w - | tshark -r -",
        "netlab lab capture --read out.pcapng 'nginx-1:*'         # no lab, no root",
        "netlab lab capture cluster-first 'pod/*:eth0' node1:flannel.1   # of a lab on a cluster",
    )
)
@click.argument("lab", metavar="[LAB]", required=False, shell_complete=complete_lab)
@click.argument("places", metavar="[NODE:DEVICE]...", nargs=-1)
@click.option("-f", "--filter", "expression", metavar="EXPR", default="", help="In the words of pcap-filter(7).")
@click.option("-w", "--write", "file", metavar="FILE", help="Write a pcapng file; - is stdout.")
@click.option("--wireshark", is_flag=True, help="Show it in Wireshark as it comes.")
@click.option("--read", "source", metavar="FILE", help="Read a pcapng or pcap file instead; - is stdin.")
@click.option("-c", "--count", "limit", metavar="N", type=click.IntRange(1), help="End after N packets.")
@click.option("--for", "seconds", metavar="S", type=click.FloatRange(0, min_open=True), help="End after S seconds.")
@click.option("--follow", is_flag=True, help="At the end, print the way of each packet and what changed on it.")
@click.option("-q", "--quiet", is_flag=True, help="Print no line for each packet.")
@output.json_option
def capture(
    lab: str | None, places: tuple[str, ...], expression: str, file: str | None, wireshark: bool, source: str | None,
    limit: int | None, seconds: float | None, follow: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Capture at many devices of a lab at once, in time order, until Ctrl-C.

    Both sides of NODE:DEVICE may have wildcards; NODE alone means all its devices; no place at all means every device
    but lo. A line says when and where, > for out and < for in, and what the packet is. The file has one interface for
    each place. --json prints each packet as one object on one line, with its fields.
    """
    kept: list[Packet] = []
    # a file on stdout has stdout for itself
    lines = Lines(sys.stderr if file == "-" else sys.stdout, as_json=as_json)

    def show(packet: Packet) -> None:
        if not quiet:
            lines.packet(packet)
        if follow:
            kept.append(packet)

    counts: list[Count] = []
    if source is not None:
        others = {"-f": expression, "-w": file, "--wireshark": wireshark, "--for": seconds}
        if any(others.values()):
            named = next(name for name, value in others.items() if value)
            raise click.UsageError(f"{named} is for a capture; --read takes places, -c, --follow, -q and --json")
        for packet in _chosen(source, [lab, *places] if lab else [], limit):
            show(packet)
    elif lab is None:
        raise click.UsageError("name the LAB to capture in, or a file to --read")
    elif file and wireshark:
        raise click.UsageError("either -w or --wireshark")
    elif file == "-" and sys.stdout.isatty():
        raise click.UsageError("-w - would write a binary file to the terminal: name a file, or pipe it on")
    else:
        e = engine()
        e.machine.require_root()
        name = running_name(lab)
        record = on_clusters().with_pods(name) if on_cluster(name) else e.record(name)
        where = _select(e, record, places)
        with _target(e.machine, file, wireshark=wireshark) as stream:
            counts = _listen(e.machine, record, where, expression, stream, show, limit=limit, seconds=seconds)
    if follow:
        lines.journeys(kept)
    _summary(counts)


class Lines:
    """Packets and journeys on a stream: lines for people, or one JSON object per line."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream, self._json = stream, as_json

    def _json_line(self, value: object) -> None:
        import orjson

        click.echo(orjson.dumps(value).decode(), file=self._stream)

    def packet(self, packet: Packet) -> None:
        """One packet."""
        from netlab.lab.capture import decode

        if not self._json:
            click.echo(decode.line(packet), file=self._stream)
            return
        self._json_line({
            "time_ns": packet.time_ns, "place": str(packet.place), "outgoing": packet.outgoing,
            "length": packet.wire_length, "fields": decode.fields(packet),
        })  # fmt: skip

    def journeys(self, packets: Sequence[Packet]) -> None:
        """The way of each packet, a block of hops each."""
        from netlab.lab.capture import decode, identity, path

        for journey in identity.journeys(packets):
            hops = path.hops(journey)
            if self._json:
                self._json_line({
                    "journey": [
                        {"place": str(h.place), "outgoing": h.outgoing, "offset_us": h.offset_us, "changes": h.changes}
                        for h in hops
                    ]
                })  # fmt: skip
                continue
            first = journey[0].packet
            click.echo("", file=self._stream)
            words = decode.words(journey[0].levels, first.wire_length)
            click.echo(f"{decode.clock(first.time_ns)} {output.style(words, 'cyan', self._stream)}", file=self._stream)
            for hop in hops:
                click.echo(f"  {hop}", file=self._stream)


def _chosen(source: str, patterns: Sequence[str], limit: int | None) -> Iterator[Packet]:
    """The packets of a file at the places that match; InputError if a pattern matches none of them."""
    from netlab.lab.capture import places, reading

    packets = reading.read_stream(sys.stdin.buffer, "stdin") if source == "-" else reading.read(source)
    if patterns:
        listed = list(packets)
        there: dict[str, list[str]] = {}
        for place in dict.fromkeys(packet.place for packet in listed):
            there.setdefault(place.node, []).append(place.device)
        wanted = set(places.select(patterns, there))
        packets = (packet for packet in listed if packet.place in wanted)
    yield from itertools.islice(packets, limit)


def _select(e: Engine, record: Record, patterns: Sequence[str]) -> list[Place]:
    """The places that the patterns name. A guest is known by its own name, but a wildcard meets each namespace once."""
    from netlab.lab.capture.places import select

    named = {pattern.partition(":")[0] for pattern in patterns}
    own = [
        place
        for place, netns in record.places.items()
        if place in named or netns == f"{record.name}.{place}" or place.startswith("pod/")
    ]
    there = {place: e.machine.devices(record.places[place]) for place in own}
    if patterns:
        return select(patterns, there)
    return select(["*"], {place: [name for name in names if name != "lo"] for place, names in there.items()})


@contextlib.contextmanager
def _target(machine: Machine, file: str | None, *, wireshark: bool) -> Iterator[BinaryIO | None]:
    """Where the pcapng goes, open for writing; None for nowhere."""
    if wireshark:
        try:
            with machine.wireshark() as stream:
                yield stream
        except BrokenPipeError:
            raise NetlabError("Wireshark ended before the capture began", hint="try it alone: wireshark") from None
    elif file is None or file == "-":
        yield sys.stdout.buffer if file else None
    else:
        try:
            opened = open(file, "wb")  # noqa: SIM115, PTH123 - closed below; the errors of opening are the user's
        except OSError as e:
            raise InputError(f"{file} cannot be written: {e.strerror}") from e
        try:
            with opened:
                yield opened
        except OSError as e:  # a full disk, at the latest when the rest is flushed
            raise NetlabError(f"{file}: {e.strerror}; the capture ended there") from e


def _listen(
    machine: Machine, record: Record, places: Sequence[Place], expression: str, stream: BinaryIO | None,
    show: Callable[[Packet], None], *, limit: int | None, seconds: float | None,
) -> list[Count]:  # fmt: skip
    from netlab.lab.capture import session
    from netlab.lab.capture.packet import Interface
    from netlab.lab.capture.pcapng import Writer

    with machine.taps([(record.places[p.node], p.device) for p in places], expression) as taps, _interrupts() as stop:
        interfaces = [
            Interface(place, kind, f"{place.device} of {place.node}, lab {record.name}", expression)
            for place, kind in zip(places, taps.linktypes, strict=True)
        ]
        writer = Writer(stream, interfaces) if stream else None
        output.note(f"listening at {len(places)} place{'s' * (len(places) != 1)}; Ctrl-C ends it")
        return session.run(
            taps.listener, interfaces, writer=writer, show=show, duration=seconds, limit=limit, stop=stop
        )


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether somebody wants it to end: Ctrl-C and TERM become an answer, so that nothing is lost by them."""
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _frame: asked.append(got)) for number in numbers]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _summary(counts: Sequence[Count]) -> None:
    width = max((len(str(count.place)) for count in counts), default=0)
    for count in counts:
        dropped = output.style(f", {count.dropped} dropped", "red", sys.stderr) if count.dropped else ""
        output.note(f"{count.place!s:{width}}  {count.packets} packet{'s' * (count.packets != 1)}{dropped}")
