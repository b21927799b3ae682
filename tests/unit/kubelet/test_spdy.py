"""SPDY frames and sessions: two of ours against each other, and bytes that are none."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.kubelet.serving import spdy
from netlab.kubelet.serving.spdy import (
    Ended,
    Event,
    GoneAway,
    Opened,
    Received,
    Replied,
    Reset,
    Session,
    SpdyError,
    WasReset,  # fmt: skip
)


def pair() -> tuple[Session, Session]:
    return Session(server=False), Session(server=True)


def told(source: Session, to: Session) -> list[Event]:
    return to.receive(source.taken())


def control(kind: int, body: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(body)) + body


def test_the_dictionary_is_the_protocols() -> None:
    # the checksum that every SPDY/3 stream of headers begins with
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_streams_are_opened_accepted_and_carry_bytes_both_ways() -> None:
    client, server = pair()
    number = client.open({"streamType": "stdin", "port": "80"})
    assert number == 1
    assert told(client, server) == [Opened(1, {"streamtype": "stdin", "port": "80"})]
    assert told(server, client) == [Replied(1)]
    assert client.send(1, b"up") and server.send(1, b"down" * 20_000)
    assert told(client, server) == [Received(1, b"up")]
    parts = told(server, client)
    assert b"".join(p.data for p in parts if isinstance(p, Received)) == b"down" * 20_000
    assert all(len(p.data) <= spdy.DATA_MAX for p in parts if isinstance(p, Received))
    client.end(1)
    assert not client.send(1, b"more")
    assert told(client, server) == [Ended(1)]
    assert server.send(1, b"last")
    server.end(1)
    assert told(server, client) == [Received(1, b"last"), Ended(1)]
    assert not server.send(1, b"")
    # headers go through one compressor: the second block stands on the first
    assert client.open({"streamtype": "error"}) == 3
    assert told(client, server) == [Opened(3, {"streamtype": "error"})]


def test_resets_pings_and_farewells() -> None:
    client, server = pair()
    client.open({}, fin=True)
    assert told(client, server) == [Opened(1, {}), Ended(1)]
    told(server, client)
    server.reset(1)
    assert told(server, client) == [WasReset(1, Reset.CANCEL)]
    assert server.receive(control(6, struct.pack(">I", 7))) == []
    assert server.taken() == control(6, struct.pack(">I", 7))
    assert server.receive(control(6, struct.pack(">I", 8))) == []  # the answer to one of ours
    assert server.taken() == b""
    client.go_away()
    client.go_away()
    assert told(client, server) == [GoneAway()]
    assert server.receive(control(4, b"\0" * 4)) == []  # SETTINGS
    server.go_away()
    assert server.taken() == control(7, struct.pack(">II", 1, 0))
    client.open({})
    assert told(client, server) == []  # who has said good-bye opens nothing


def test_what_is_consumed_is_granted() -> None:
    client, server = pair()
    client.open({})
    told(client, server)
    server.taken()
    server.consumed(1, spdy.GRANT - 1)
    assert server.taken() == b""
    server.consumed(1, 1)
    assert server.taken() == control(9, struct.pack(">II", 1, spdy.GRANT))
    assert client.receive(control(9, struct.pack(">II", 1, 5))) == []


def test_bytes_for_what_is_closed_are_nobodys() -> None:
    client, server = pair()
    client.open({})
    told(client, server)
    server.reset(1)
    assert client.send(1, b"late")
    assert told(client, server) == []
    client.open({}, fin=True)
    told(client, server)
    assert server.receive(struct.pack(">II", 3, 1) + b"x") == [WasReset(3, Reset.STREAM_ALREADY_CLOSED)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (control(1, b"", version=2), "version 2"),
        (struct.pack(">HHI", 0x8003, 1, 0xFFFFFF), "16777215 bytes"),
        (control(1, b"\0\0\0"), "unpack"),
        (control(1, b"\0\0\0\2" + b"\0" * 6 + b"no zlib"), "header"),
        (control(7, b""), "unpack"),
        (struct.pack(">II", 5, 1) + b"x", "nobody has opened"),
    ],
)
def test_a_peer_that_speaks_otherwise_is_told_good_bye(data: bytes, why: str) -> None:
    _, server = pair()
    with pytest.raises(SpdyError, match=why):
        server.receive(data)
    assert server.taken() == control(7, struct.pack(">II", 0, 1))


def block(count: int, *words: bytes) -> bytes:
    packer = zlib.compressobj(zdict=spdy.DICTIONARY)
    body = struct.pack(">I", count) + b"".join(words)
    return packer.compress(body) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (block(1 << 30), "headers in"),
        (block(1, struct.pack(">I", 99), b"x" * 8), "longer than its block"),
        (block(1, b"\0" * spdy.HEADERS_MAX * 4), "more than"),
        (block(1, struct.pack(">I", 1), b"\xff", struct.pack(">I", 1), b"x"), "utf-8"),
    ],
)
def test_headers_that_are_none(packed: bytes, why: str) -> None:
    _, server = pair()
    with pytest.raises(SpdyError, match=why):
        server.receive(control(1, b"\0\0\0\1" + b"\0" * 6 + packed))


def test_stream_numbers_grow() -> None:
    for numbers in ((3, 1), (1, 1), (2,), (0,)):
        server, packer = Session(server=True), zlib.compressobj(zdict=spdy.DICTIONARY)
        with pytest.raises(SpdyError, match="is opened after"):
            for number in numbers:
                packed = packer.compress(b"\0\0\0\0") + packer.flush(zlib.Z_SYNC_FLUSH)
                server.receive(control(1, struct.pack(">IIH", number, 0, 0) + packed))


def test_more_streams_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spdy, "STREAMS_MAX", 2)
    client, server = pair()
    for _ in range(3):
        client.open({})
    assert len(told(client, server)) == 2
    assert WasReset(5, Reset.REFUSED_STREAM) in told(server, client)


@given(st.lists(st.binary(max_size=200)), st.booleans())
def test_no_bytes_do_more_than_end_the_session(chunks: list[bytes], server: bool) -> None:
    session = Session(server=server)
    for chunk in chunks:
        try:
            session.receive(chunk)
        except SpdyError:
            return
        session.taken()


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.binary(max_size=40)), max_size=12))
def test_no_frames_do_more_than_end_the_session(frames: list[tuple[int, int, bytes]]) -> None:
    client, server = pair()
    client.open({"a": "b"})
    told(client, server)
    for kind, flags, body in frames:
        try:
            server.receive(control(kind, body, flags) if kind else struct.pack(">II", 1, len(body)) + body)
        except SpdyError:
            return


@given(st.data())
def test_where_bytes_are_cut_does_not_matter(data: st.DataObject) -> None:
    client, server = pair()
    said: dict[int, bytes] = {}
    for _ in range(data.draw(st.integers(1, 4))):
        number = client.open({"n": "v" * data.draw(st.integers(0, 50))})
        said[number] = data.draw(st.binary(max_size=300))
        client.send(number, said[number])
        client.end(number)
    wire, events = client.taken(), list[Event]()
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        events += server.receive(wire[:size])
        wire = wire[size:]
    got = dict.fromkeys(said, b"")
    for event in events:
        if isinstance(event, Received):
            got[event.stream] += event.data
    assert got == said
    assert [e.stream for e in events if isinstance(e, Ended)] == list(said)
