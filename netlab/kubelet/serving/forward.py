"""Port-forward: connections of a client to ports of a pod, over SPDY (a pair of streams each) or WebSocket channels.

Each connection is one of its own in the pod's network namespace. One that fails says so on its error stream; the others
go on. Source: kubernetes pkg/kubelet (cri/streaming/portforward), client-go tools/portforward.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from aiohttp import WSMsgType, web

from netlab.kubelet.serving import channels
from netlab.kubelet.serving.sessions import Session, Stream
from netlab.kubelet.serving.spdy import SpdyError

#: the protocol over SPDY, and of a WebSocket that carries SPDY
PROTOCOL, TUNNEL = "portforward.k8s.io", "SPDY/3.1+portforward.k8s.io"
#: seconds that a stream waits for its other half, as the original's
PAIRING = 30.0
#: bytes that are carried at once
_CHUNK = 64 * 1024

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
#: a connection to a port of the pod. OSError.
Dial = Callable[[int], Awaitable[Connection]]


def refused(port: int, pod: str, uid: str, e: OSError) -> str:
    """What the client is told of a port where nobody answers."""
    why = "connection refused" if e.errno == errno.ECONNREFUSED else os.strerror(e.errno) if e.errno else str(e)
    return (
        f"error forwarding port {port} to pod {pod}, uid {uid}: failed to connect to localhost:{port} inside the pod's "
        f"network namespace: dial tcp 127.0.0.1:{port}: connect: {why}"
    )


async def _carried(
    connection: Connection,
    read: Callable[[], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
    broken: Callable[[], bool] = lambda: False,
) -> None:
    """Both ways; ends when the pod's end has said all, or the client is gone. broken: whether the end of what is read
    is the end of everything."""
    reader, writer = connection

    async def up() -> None:
        with contextlib.suppress(OSError):
            while data := await read():
                writer.write(data)
                await writer.drain()
            if broken():
                writer.close()
            else:
                writer.write_eof()

    taking = asyncio.create_task(up())
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await write(data)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        writer.close()


class OverSpdy:
    """Pairs of streams with the same `requestid`: one of `streamtype` data, one of error."""

    def __init__(self, dial: Dial, *, pod: str, uid: str) -> None:
        self._dial, self._pod, self._uid = dial, pod, uid
        self._halves: dict[str, tuple[Stream, asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: Session | None = None

    async def serve(self, session: Session) -> None:
        """Until the client has gone. `opened` has been told of the session's streams."""
        self._session = session
        try:
            with contextlib.suppress(SpdyError, OSError):
                await session.run()
        finally:
            for _, timer in self._halves.values():
                timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await session.close()

    def opened(self, stream: Stream) -> None:
        """A stream of the session."""
        kind, port = stream.headers.get("streamtype", ""), stream.headers.get("port", "")
        # old clients say no id, and number their streams so that the two of a pair follow each other
        request = stream.headers.get("requestid") or str(stream.number if kind == "error" else stream.number - 2)
        if kind not in ("data", "error") or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            self._begin(stream.reset())
            return
        if request not in self._halves:
            timer = asyncio.get_running_loop().call_later(PAIRING, self._unpaired, request)
            self._halves[request] = (stream, timer)
            return
        other, timer = self._halves.pop(request)
        timer.cancel()
        if other.headers["streamtype"] == kind:
            self._begin(other.reset())
            self._begin(stream.reset())
            return
        data, error = (stream, other) if kind == "data" else (other, stream)
        self._begin(self._forward(int(port), data, error))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _unpaired(self, request: str) -> None:
        self._begin(self._halves.pop(request)[0].reset())

    async def _forward(self, port: int, data: Stream, error: Stream) -> None:
        try:
            try:
                connection = await self._dial(port)
            except OSError as e:
                with contextlib.suppress(OSError):
                    await error.write(refused(port, self._pod, self._uid, e).encode())
            else:
                await _carried(connection, data.read, data.write, lambda: data.broken)
        finally:
            for stream in (data, error):
                await stream.end()
                await stream.finish(broken=True)
                if self._session is not None:
                    self._session.forget(stream)


async def over_channels(
    ws: web.WebSocketResponse, protocol: channels.Protocol, ports: Sequence[int], dial: Dial, *, pod: str, uid: str
) -> None:
    """The older way over WebSocket: channels 2n (data) and 2n + 1 (error) of the n-th port, one connection each."""
    queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(4) for _ in ports]
    done: set[int] = set()

    async def send(channel: int, data: bytes) -> None:
        message = protocol.packed(channel, data)
        await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))

    async def forward(number: int, port: int) -> None:
        for channel in (2 * number, 2 * number + 1):  # the port, so that the client knows which is which
            await send(channel, struct.pack("<H", port))
        try:
            connection = await dial(port)
        except OSError as e:
            await send(2 * number + 1, refused(port, pod, uid, e).encode())
        else:
            await _carried(connection, queues[number].get, lambda data: send(2 * number, data))
        done.add(number)
        while not queues[number].empty():  # whoever waits for room has nobody to wait for
            queues[number].get_nowait()

    async def hear() -> None:
        async for message in ws:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            try:
                channel, data = protocol.unpacked(message.data)
            except channels.ChannelError as e:
                await ws.close(code=1002, message=str(e).encode()[:100])
                return
            if channel % 2 == 0 and data and channel // 2 not in done:
                await queues[channel // 2].put(data)

    hearing = asyncio.create_task(hear())
    forwards = asyncio.gather(*(forward(*each) for each in enumerate(ports)))
    try:
        await asyncio.wait((hearing, forwards), return_when=asyncio.FIRST_COMPLETED)
        if forwards.done():
            await ws.close()
    finally:
        for task in (hearing, forwards):
            task.cancel()
        await asyncio.gather(hearing, forwards, return_exceptions=True)
        await ws.close()
