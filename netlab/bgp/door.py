"""The listening side: sockets that wait for peers, their passwords, and who is let in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from netlab.base.addresses import Address
from netlab.bgp import sockets
from netlab.bgp.config import Config
from netlab.bgp.peer import Connection

#: from whom (address, zone of a link-local one) and over which socket, to the protocol for it or None
Admission = Callable[[Address, str, socket.socket], Connection | None]


class Door:
    """Listens where it is told. admit: decides about each connection."""

    def __init__(self, admit: Admission) -> None:
        self._admit = admit
        self._listeners: dict[tuple[Address, int], tuple[socket.socket, asyncio.Server]] = {}

    async def listen(self, wanted: Iterable[tuple[Address, int]]) -> None:
        """Listen there and nowhere else. MachineError if an address is not there or taken."""
        wanted = list(wanted)
        for key in self._listeners.keys() - set(wanted):
            sock, server = self._listeners.pop(key)
            server.close()
            sock.close()
        for key in wanted:
            if key not in self._listeners:
                sock = sockets.listening(*key)
                server = await asyncio.get_running_loop().create_server(lambda: _Doorman(self), sock=sock)
                self._listeners[key] = (sock, server)

    def sign(self, old: Config, new: Config) -> None:
        """Passwords of those who connect to us. The kernel wants them at the listening socket, before they come."""
        passwords = {p.address: p.password for p in new.peers if p.password}
        gone = {p.address for p in old.peers if p.password} - set(passwords)
        for (address, _), (sock, _server) in self._listeners.items():
            for peer, password in [*((p, None) for p in gone), *passwords.items()]:
                if peer.version == address.version:
                    sockets.set_password(sock, peer, password)

    def close(self) -> None:
        """Listen no more."""
        for sock, server in self._listeners.values():
            server.close()
            sock.close()
        self._listeners.clear()

    def who(self, transport: asyncio.Transport) -> Connection | None:
        """The protocol for a connection that came in."""
        name = transport.get_extra_info("peername")
        if name is None:
            return None  # gone already
        host, _, zone = str(name[0]).partition("%")
        return self._admit(ip_address(host), zone, transport.get_extra_info("socket"))


class _Doorman(asyncio.Protocol):
    """Stands at a listening socket until it is clear who comes, and then hands over."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        connection = self._door.who(transport)
        if connection is None:
            transport.abort()
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)
