"""The client's end of exec and attach, over SPDY or WebSocket, joined with streams of a container.

Each direction waits for the other end to keep up. When the client goes, `joined` raises; when the container's streams
have ended, their last bytes are sent, then the status, then the connection is closed.
Source: kubernetes pkg/kubelet (cri/streaming/remotecommand), client-go tools/remotecommand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from aiohttp import WSMsgType, web

from netlab.api import Json
from netlab.api.status import ApiError
from netlab.base import upgrades
from netlab.kubelet.serving import channels
from netlab.kubelet.serving.sessions import Session, Stream
from netlab.kubelet.serving.spdy import SpdyError
from netlab.runtime.streams import STDOUT, Streams

#: seconds in which a client has to open all of its streams
OPENING = 30.0
#: bytes of a terminal's size that came in pieces, and messages of standard input that wait
_SIZE_MAX, _WAITING = 1024, 4
#: the versions of the protocol over SPDY, as clients name them; the newest that both know is spoken
SPDY_VERSIONS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which streams the client wants."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Remote(Protocol):
    """The client."""

    async def run(self) -> None:
        """Hear it, until it has gone."""

    def input(self) -> AsyncIterator[bytes]:
        """Standard input, to its end."""

    def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """Each size (width, height) that its terminal takes."""

    async def write(self, which: int, data: bytes) -> None:
        """STDOUT or STDERR; bytes that it does not want are dropped. ConnectionError."""

    async def finish(self, status: Json) -> None:
        """All has been said; how it ended. What still comes is passed over."""

    async def close(self) -> None:
        """Be done with the connection."""


class Sizes:
    """Terminal sizes out of bytes that may come in pieces: JSON objects, one behind the other."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """The sizes that are whole now; what is none is passed over."""
        self._text += data.decode(errors="replace")
        found = []
        while True:
            self._text = self._text.lstrip()
            if not self._text:
                break
            try:
                value, end = json.JSONDecoder().raw_decode(self._text)
            except (ValueError, RecursionError):
                if len(self._text) > _SIZE_MAX or not self._text.startswith("{"):
                    self._text = ""
                break
            self._text = self._text[end:]
            if isinstance(value, dict):
                size = (value.get("Width"), value.get("Height"))
                if all(type(n) is int and 0 < n < 1 << 16 for n in size):
                    found.append(size)
        return found  # type: ignore[return-value]  # both are int


class OverSpdy:
    """A stream for each, by their header `streamtype`."""

    def __init__(self, session: Session, asked: Asked, version: str) -> None:
        self._session, self._json = session, version == SPDY_VERSIONS[0]
        self._wanted = {
            "error", *(["stdin"] if asked.stdin else []), *(["stdout"] if asked.stdout else []),
            *(["stderr"] if asked.stderr and not asked.tty else []),
            *(["resize"] if asked.tty and version in SPDY_VERSIONS[:2] else []),
        }  # fmt: skip
        self._streams: dict[str, Stream] = {}
        self._all = asyncio.Event()

    def opened(self, stream: Stream) -> None:
        """A stream of the session."""
        self._streams.setdefault(stream.headers.get("streamtype", ""), stream)
        if self._wanted <= self._streams.keys():
            self._all.set()

    async def run(self) -> None:
        with contextlib.suppress(SpdyError):  # it has been told
            await self._session.run()

    async def complete(self) -> None:
        """Until all streams are open. TimeoutError."""
        async with asyncio.timeout(OPENING):
            await self._all.wait()

    async def input(self) -> AsyncIterator[bytes]:
        if stream := self._streams.get("stdin"):
            while data := await stream.read():
                yield data

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        if stream := self._streams.get("resize"):
            found = Sizes()
            while data := await stream.read():
                for size in found.feed(data):
                    yield size

    async def write(self, which: int, data: bytes) -> None:
        if stream := self._streams.get("stdout" if which == STDOUT else "stderr"):
            await stream.write(data)

    async def finish(self, status: Json) -> None:
        said = _said(status, whole=self._json)
        if said and "error" in self._streams:
            with contextlib.suppress(OSError):
                await self._streams["error"].write(said)
        for name in ("stdout", "stderr", "error", "stdin", "resize"):
            if name in self._streams:
                await self._streams[name].end()
                await self._streams[name].finish(broken=True)
        await self._session.go_away()

    async def close(self) -> None:
        await self._session.close()


class OverChannels:
    """A channel for each, in the messages of a WebSocket."""

    def __init__(self, ws: web.WebSocketResponse, asked: Asked, protocol: channels.Protocol) -> None:
        self._ws, self._asked, self._protocol = ws, asked, protocol
        self._input: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue(_WAITING)
        self._finished = False

    async def begin(self) -> None:
        """Tell the client that it is connected: an empty message of the first channel that it reads."""
        asked = self._asked
        first = channels.STDOUT if asked.stdout else channels.STDERR if asked.stderr else channels.ERROR
        await self._send(first, b"")

    async def _send(self, channel: int, data: bytes) -> None:
        message = self._protocol.packed(channel, data)
        await (self._ws.send_str(message) if isinstance(message, str) else self._ws.send_bytes(message))

    async def run(self) -> None:
        sizes = Sizes()
        async for message in self._ws:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            try:
                channel, data = self._protocol.unpacked(message.data)
            except channels.ChannelError as e:
                await self._ws.close(code=1002, message=str(e).encode()[:100])
                return
            if self._finished:
                continue
            if channel == channels.STDIN and data != b"":  # an empty message is nothing, as to the original
                await self._input.put(data or b"")
            elif channel == channels.RESIZE and data:
                for size in sizes.feed(data):
                    await self._sizes.put(size)

    async def input(self) -> AsyncIterator[bytes]:
        while self._asked.stdin and (data := await self._input.get()):
            yield data

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        while True:
            yield await self._sizes.get()

    async def write(self, which: int, data: bytes) -> None:
        if self._asked.stdout if which == STDOUT else self._asked.stderr:
            await self._send(channels.STDOUT if which == STDOUT else channels.STDERR, data)

    async def finish(self, status: Json) -> None:
        self._finished = True
        for queue in (self._input, self._sizes):
            while not queue.empty():  # whoever waits for room has nobody to wait for
                queue.get_nowait()
        with contextlib.suppress(OSError):
            if said := _said(status, whole=self._protocol.json):
                await self._send(channels.ERROR, said)
        await self._ws.close()

    async def close(self) -> None:
        await self._ws.close()


def _said(status: Json, *, whole: bool) -> bytes:
    """What the error channel tells: the Status, or, of the first versions, what is wrong."""
    if whole:
        return orjson.dumps(status)
    return b"" if status["status"] == "Success" else str(status["message"]).encode()


async def joined(remote: Remote, streams: Streams) -> None:
    """Carry everything, until the container's streams have ended. ConnectionError if the client goes first.

    The caller has `remote.run()` under way, and cancels whoever waits here when that ends.
    """

    async def take_input() -> None:
        async for data in remote.input():
            await streams.write(data)
        await streams.end_input()

    async def take_sizes() -> None:
        async for width, height in remote.sizes():
            streams.resize(width, height)

    async def say(which: int, outputs: AsyncIterator[bytes]) -> None:
        async for data in outputs:
            await remote.write(which, data)

    taking = [asyncio.create_task(take_input()), asyncio.create_task(take_sizes())]
    saying = [asyncio.create_task(say(which, outputs)) for which, outputs in streams.outputs()]
    try:
        await asyncio.gather(*saying)
    finally:
        for task in (*taking, *saying):
            task.cancel()
        await asyncio.gather(*taking, *saying, return_exceptions=True)


async def while_there(remote: Remote, work: Callable[[], Coroutine[Any, Any, Json]]) -> None:
    """Do the work while the client is there, and tell it how that ended. The work is cancelled if it goes."""
    hearing, working = asyncio.create_task(remote.run()), asyncio.create_task(work())
    try:
        await asyncio.wait((hearing, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            with contextlib.suppress(ConnectionError):
                await remote.finish(working.result())
                # what it still sends would make the kernel throw away what we said
                await asyncio.wait((hearing,), timeout=upgrades.LINGER)
    finally:
        for task in (hearing, working):
            task.cancel()
        await asyncio.gather(hearing, working, return_exceptions=True)
        await remote.close()


SUCCESS: Json = {"metadata": {}, "status": "Success"}


def exited(argv: list[str], code: int) -> Json:
    """How a command has ended."""
    if code == 0:
        return SUCCESS
    ran = f"error executing command [{' '.join(argv)}], exit code {code}"
    return {
        "metadata": {}, "status": "Failure", "message": f"command terminated with non-zero exit code: {ran}",
        "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }  # fmt: skip


def failed(why: str) -> Json:
    """That it could not be done."""
    found = ApiError(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})
    return found.status()
