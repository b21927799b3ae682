"""grpc.health.v1.Health/Check, asked over HTTP/2 without TLS: all that a gRPC probe needs of gRPC.

The library `h2` knows the protocol; the two messages have one field each. Source: grpc.io/docs/guides/health-checking,
the gRPC-over-HTTP/2 specification; wording: kubernetes pkg/probe/grpc.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Literal

import h2.config
import h2.connection
import h2.events
import h2.exceptions

Result = tuple[Literal["success", "failure", "unknown"], str]

#: HealthCheckResponse.ServingStatus
STATUS = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
SERVING = 1
#: of grpc-status
_UNIMPLEMENTED = "12"
#: field 1, length-delimited; field 1, a number
_SERVICE, _STATUS = b"\x0a", 0x08


def request(service: str) -> bytes:
    """A HealthCheckRequest, framed for gRPC."""
    name = service.encode()
    message = _SERVICE + _varint(len(name)) + name if name else b""
    return struct.pack(">BI", 0, len(message)) + message


def status_of(body: bytes) -> int:
    """Of a framed HealthCheckResponse; 0 if it says nothing."""
    message = body[5:]
    return message[1] if len(message) > 1 and message[0] == _STATUS else 0


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


async def check(host: str, port: int, service: str, agent: str, seconds: float) -> Result:
    """Whether that service is served."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                headers, body = await _call(reader, writer, shown, service, agent)
            finally:
                writer.close()
    except TimeoutError:
        return "failure", f'timeout: failed to connect service "{shown}" within {seconds:g}s: context deadline exceeded'
    except (OSError, EOFError, h2.exceptions.ProtocolError) as e:
        return "failure", f'error: failed to connect service at "{shown}": {e}'
    code = headers.get("grpc-status", "")
    if code == _UNIMPLEMENTED:
        return "failure", 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ' \
            f"{headers.get('grpc-message', '')}"  # fmt: skip
    if code != "0":
        return "failure", f"error: health rpc probe failed: {headers.get('grpc-message') or f'status {code}'}"
    status = status_of(body)
    if status == SERVING:
        return "success", f'service healthy (responded with "{STATUS[status]}")'
    name = STATUS[status] if status < len(STATUS) else str(status)
    return "failure", f'service unhealthy (responded with "{name}")'


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str, agent: str
) -> tuple[dict[str, str], bytes]:
    """Headers, trailers among them, and body of the answer. EOFError if the server hangs up."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    asked = [
        (":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"), (":authority", authority),
        ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", agent),
    ]  # fmt: skip
    connection.send_headers(stream, asked)
    connection.send_data(stream, request(service), end_stream=True)
    headers: dict[str, str] = {}
    body = b""
    while True:
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(65536)
        if not data:
            raise EOFError("the server hung up")
        for event in connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    headers |= {str(name): str(value) for name, value in event.headers or ()}
                case h2.events.DataReceived():
                    body += event.data or b""
                    connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                case h2.events.StreamEnded():
                    return headers, body
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise EOFError("the server refused the stream")
                case _:
                    pass
