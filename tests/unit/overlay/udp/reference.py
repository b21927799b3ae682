"""Packets byte by byte: what the fast code is held against. Slow, and as near to the RFCs as can be."""

from __future__ import annotations

import struct


def checksum(data: bytes) -> int:
    """RFC 1071, word by word."""
    if len(data) % 2:
        data += b"\0"
    number = sum(struct.unpack(f">{len(data) // 2}H", data))
    while number >> 16:
        number = (number & 0xFFFF) + (number >> 16)
    return ~number & 0xFFFF


def ipv4(
    payload: bytes,
    *,
    protocol: int = 17,
    src: int = 0x64600102,
    dst: int = 0x64600203,
    ident: int = 7,
    fragment: int = 0x4000,
    ttl: int = 64,
    tos: int = 0,
    ip_options: bytes = b"",
) -> bytes:
    size = 20 + len(ip_options)
    head = struct.pack(
        ">BBHHHBBHII", 0x40 | size // 4, tos, size + len(payload), ident, fragment, ttl, protocol, 0, src, dst
    )
    head += ip_options
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def _summed(l4: bytes, at: int, protocol: int, src: int, dst: int) -> bytes:
    l4 = l4[:at] + b"\0\0" + l4[at + 2 :]
    number = checksum(struct.pack(">IIHH", src, dst, protocol, len(l4)) + l4)
    return l4[:at] + (number or (0xFFFF if protocol == 17 else 0)).to_bytes(2, "big") + l4[at + 2 :]


def tcp(
    payload: bytes, *, seq: int = 1000, ack: int = 5, flags: int = 0x10, window: int = 500, ports: tuple[int, int] = (1, 2),
    options: bytes = b"", src: int = 0x64600102, dst: int = 0x64600203, **ip: int,
) -> bytes:  # fmt: skip
    head = struct.pack(">HHIIBBHHH", *ports, seq, ack, (20 + len(options)) << 2, flags, window, 0, 0) + options
    return ipv4(_summed(head + payload, 16, 6, src, dst), protocol=6, src=src, dst=dst, **ip)  # type: ignore[arg-type]


def udp(
    payload: bytes, *, ports: tuple[int, int] = (1, 2), src: int = 0x64600102, dst: int = 0x64600203, **ip: int
) -> bytes:
    head = struct.pack(">HHHH", *ports, 8 + len(payload), 0)
    return ipv4(_summed(head + payload, 6, 17, src, dst), protocol=17, src=src, dst=dst, **ip)  # type: ignore[arg-type]


def right(packet: bytes) -> bool:
    """Whether all checksums of an unfragmented TCP or UDP packet are right, and its lengths."""
    size = (packet[0] & 15) * 4
    if checksum(packet[:size]) or int.from_bytes(packet[2:4], "big") != len(packet):
        return False
    pseudo = packet[12:20] + struct.pack(">HH", packet[9], len(packet) - size)
    return checksum(pseudo + packet[size:]) == 0


def segment(packet: bytes, gso_size: int) -> list[bytes]:
    """What the kernel's software segmentation makes of a super packet (net/ipv4/tcp_offload.c, udp_offload.c)."""
    size = (packet[0] & 15) * 4
    protocol = packet[9]
    header = size + ((packet[size + 12] >> 4) * 4 if protocol == 6 else 8)
    src, dst = struct.unpack(">II", packet[12:20])
    data = packet[header:]
    parts = [data[n : n + gso_size] for n in range(0, len(data), gso_size)]
    out = []
    for n, part in enumerate(parts):
        l4 = bytearray(packet[size:header])
        if protocol == 6:
            l4[4:8] = ((int.from_bytes(l4[4:8], "big") + n * gso_size) % 2**32).to_bytes(4, "big")
            if n < len(parts) - 1:
                l4[13] &= ~0x09 & 0xFF
            if n > 0:
                l4[13] &= 0x7F
        else:
            l4[4:6] = (8 + len(part)).to_bytes(2, "big")
        body = _summed(bytes(l4) + part, 16 if protocol == 6 else 6, protocol, src, dst)
        head = bytearray(packet[:size])
        head[2:4] = (size + len(body)).to_bytes(2, "big")
        head[4:6] = ((int.from_bytes(packet[4:6], "big") + n) % 65536).to_bytes(2, "big")
        head[10:12] = b"\0\0"
        head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
        out.append(bytes(head) + body)
    return out


def hop(packet: bytes) -> bytes:
    """One hop less, the header's checksum computed anew."""
    size = (packet[0] & 15) * 4
    head = bytearray(packet[:size])
    head[8] -= 1
    head[10:12] = b"\0\0"
    head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
    return bytes(head) + packet[size:]


def unfinished(packet: bytes) -> bytes:
    """As the kernel leaves a packet with NEEDS_CSUM: the pseudo header's sum where the checksum goes."""
    size = (packet[0] & 15) * 4
    at = size + (16 if packet[9] == 6 else 6)
    pseudo = packet[12:20] + struct.pack(">HH", packet[9], len(packet) - size)
    return packet[:at] + (~checksum(pseudo) & 0xFFFF).to_bytes(2, "big") + packet[at + 2 :]
