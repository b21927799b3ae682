"""What a TCP segment says in BGP: fields of the first message of each kind in it, by netlab's own codec."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from netlab.bgp import nlri
from netlab.bgp.attributes import Attrs
from netlab.bgp.codes import ProtocolError
from netlab.bgp.message import Codec, Framer, Open, Update

Value = int | str


def fields(payload: bytes) -> Iterator[tuple[str, Value]]:
    """bgp.as and its like of an OPEN, bgp.nlri and its like of an UPDATE. Nothing of what makes no sense."""
    framer = Framer()
    # AS numbers of four octets, as all that is on the way in a lab can; a segment alone does not tell
    codec = Codec(ebgp=True, as4=True)
    opened = updated = False
    try:
        framer.feed(payload)
        for kind, body in framer.frames():
            message = codec.decode(kind, body)
            if isinstance(message, Open) and not opened:
                opened = True
                yield "bgp.as", message.real_asn
                yield "bgp.hold_time", message.hold_time
                yield "bgp.router_id", str(message.router_id)
            elif isinstance(message, Update) and (message.announced or message.withdrawn) and not updated:
                updated = True
                yield from _update(message)
    except (ProtocolError, ValueError, IndexError, struct.error):
        return  # the rest is in another segment, or no BGP


def _update(message: Update) -> Iterator[tuple[str, Value]]:
    gone = [nlri.text(key, family) for family, keys in message.withdrawn for key in keys]
    if gone:
        yield "bgp.withdrawn", ", ".join(gone)
    for family, attrs, keys in message.announced[:1]:
        yield "bgp.nlri", ", ".join(nlri.text(key, family) for key in keys)
        yield from _attributes(attrs)


def _attributes(attrs: Attrs) -> Iterator[tuple[str, Value]]:
    said = attrs.as_json()
    yield "bgp.as_path", str(said["as_path"])
    for key in ("next_hop", "local_pref", "med"):
        if key in said:
            yield f"bgp.{key}", said[key]
    if attrs.communities:
        yield "bgp.communities", " ".join(said["communities"])
