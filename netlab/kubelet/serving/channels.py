"""Streams over WebSocket messages: `*.channel.k8s.io`, in bytes or in base64. No I/O.

A message begins with its channel's number (as a digit where it is text), the rest are bytes of that channel. In v5 a
message of channel 255 says that the channel of its one byte has ended. Of the older ones none can say so.
Source: apimachinery pkg/util/remotecommand, apiserver pkg/util/wsstream, client-go tools/remotecommand.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


class ChannelError(Exception):
    """The peer's message is none of the protocol."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """name: as it is asked for; text: base64 in text messages; json: whether the error channel tells a Status, not its
    message alone; closes: whether a channel's end can be told; channels: how many there are."""

    name: str
    text: bool = False
    json: bool = True
    closes: bool = False
    channels: int = 5

    def packed(self, channel: int, data: bytes | memoryview) -> bytes | str:
        """A message: text as str."""
        if self.text:
            return chr(ord("0") + channel) + base64.b64encode(data).decode()
        return bytes((channel,)) + data

    def unpacked(self, message: bytes | str) -> tuple[int, bytes | None]:
        """The channel, and its bytes, None for its end. ChannelError."""
        if not message:
            raise ChannelError("a message without a channel")
        # the kind of a message says nothing, as to the original: some clients send text in both
        if self.text:
            word = message if isinstance(message, str) else message.decode("latin-1")
            channel, data = ord(word[0]) - ord("0"), b""
            try:
                data = base64.b64decode(word[1:], validate=True)
            except (binascii.Error, ValueError) as e:
                raise ChannelError(f"a message that is no base64: {e}") from e
        else:
            packed = message.encode(errors="surrogatepass") if isinstance(message, str) else bytes(message)
            channel, data = packed[0], packed[1:]
            if self.closes and channel == CLOSE:
                if len(data) != 1 or data[0] >= self.channels:
                    raise ChannelError("a close signal names one channel")
                return data[0], None
        if not 0 <= channel < self.channels:
            raise ChannelError(f"there is no channel {channel}")
        return channel, data


#: for exec and attach, those that the server likes best first
REMOTE = (
    Protocol("v5.channel.k8s.io", closes=True), Protocol("v4.channel.k8s.io"),
    Protocol("v4.base64.channel.k8s.io", text=True), Protocol("channel.k8s.io", json=False, channels=4),
    Protocol("base64.channel.k8s.io", text=True, json=False, channels=4),
)  # fmt: skip


def forwarding(ports: int) -> Sequence[Protocol]:
    """Those of port-forward with so many ports: two channels for each."""
    return (
        Protocol("v4.channel.k8s.io", channels=2 * ports),
        Protocol("v4.base64.channel.k8s.io", text=True, channels=2 * ports),
    )


def chosen(offered: Sequence[str], known: Sequence[Protocol]) -> Protocol | None:
    """The first that the client offers and we know; None if there is none. Who offers nothing gets bytes."""
    if not offered:
        return Protocol("", json=False, channels=min(p.channels for p in known))
    return next((p for name in offered for p in known if p.name == name), None)
