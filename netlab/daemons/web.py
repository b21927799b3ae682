"""The small server that answers in a lab's containers: HTTP with a welcome page, and UDP echo.

    python -m netlab.daemons.web --name nginx-1 --tcp 80 [--udp 53] [--page TEXT]

Every answer says who answers (`X-Server-Name`) and whom the server sees (`X-Client-Address`): the latter is where a
learner sees masquerading. GET and HEAD of / and /index.html give the page, /whoami both names as text, the rest is 404.

One thread, one selector, no import beyond the standard library's small ones: there may be forty of these, and they
are to be up before a person would notice. Also runs as a plain script. HTTP/1.1 as far as RFC 9112 asks it of a server
without bodies: keep-alive, pipelining, HEAD; a request is at most 64 KiB.
"""

from __future__ import annotations

import contextlib
import errno
import html
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable

REQUEST_MAX = 64 * 1024
#: seconds that a silent connection is kept, and connections beyond which the oldest is dropped
IDLE, CONNECTIONS_MAX = 60.0, 512
#: bytes of answers that may wait for a client who sends requests but does not read
BACKLOG_MAX = 256 * 1024

_PAGE = """<!DOCTYPE html>
<html>
<head>
<title>Welcome to {name}!</title>
<style>
body {{ width: 35em; margin: 0 auto; font-family: Tahoma, Verdana, Arial, sans-serif; }}
</style>
</head>
<body>
<h1>Welcome to {name}!</h1>
<p>If you see this page, your packets have found their way to {name}, and its answer has found its way back.</p>
<p><em>{text}</em></p>
</body>
</html>
"""
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
            431: "Request Header Fields Too Large", 505: "HTTP Version Not Supported"}  # fmt: skip


def spell(address: tuple[str, int]) -> str:
    """`172.17.0.2:51234` or `[fd00::2]:51234`; an IPv4 peer of a dual-stack socket is spelled as IPv4."""
    host = address[0].removeprefix("::ffff:").partition("%")[0]
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def page(name: str, text: str = "Thank you for using netlab.") -> bytes:
    """The welcome page of the server `name`."""
    return _PAGE.format(name=html.escape(name), text=html.escape(text)).encode()


class Site:
    """What is served: pure, from a request to an answer. name: the server's; text: the page's last line."""

    def __init__(self, name: str, text: str = "Thank you for using netlab.") -> None:
        self.name = name
        self.page = page(name, text)

    def answer(self, head: bytes, client: str) -> tuple[bytes, int, bool]:
        """(answer, status, whether the connection stays open) to a request's head without its closing blank line."""
        first, *lines = head.split(b"\r\n")
        parts = first.split(b" ")
        fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(b":") for line in lines)}
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/"):
            return self.response(400, client, False)
        method, target, version = parts
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            return self.response(505, client, False)
        wish = fields.get(b"connection", b"").lower()
        keep = wish == b"keep-alive" if version == b"HTTP/1.0" else wish != b"close"
        if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
            keep = False  # a body that nobody reads would be taken for the next request
        if method not in (b"GET", b"HEAD"):
            return self.response(405, client, keep)
        path = target.partition(b"?")[0]
        if path in (b"/", b"/index.html"):
            return self.response(200, client, keep, self.page, "text/html; charset=utf-8", method == b"HEAD")
        if path == b"/whoami":
            text = f"server {self.name}\nclient {client}\n".encode()
            return self.response(200, client, keep, text, head=method == b"HEAD")
        return self.response(404, client, keep, head=method == b"HEAD")

    def response(
        self,
        status: int,
        client: str,
        keep: bool,
        body: bytes | None = None,
        kind: str = "text/plain",
        head: bool = False,
    ) -> tuple[bytes, int, bool]:
        """An answer; without a body it says its own status."""
        if body is None:
            body = f"{status} {_REASONS[status]}\n".encode()
        lines = [
            f"HTTP/1.1 {status} {_REASONS[status]}", "Server: netlab", f"X-Server-Name: {self.name}",
            f"X-Client-Address: {client}", f"Content-Type: {kind}", f"Content-Length: {len(body)}",
            f"Connection: {'keep-alive' if keep else 'close'}", *(["Allow: GET, HEAD"] if status == 405 else []),
        ]  # fmt: skip
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if head else body), status, keep


class Connection:
    """One client: what it has sent and not yet been answered, what is still to be sent to it."""

    def __init__(self, server: Server, sock: socket.socket, address: tuple[str, int]) -> None:
        self.server, self.sock, self.client = server, sock, spell(address)
        self.received, self.pending = bytearray(), bytearray()
        self.closing = False  # after what is pending
        self.heard = time.monotonic()

    def ready(self, mask: int) -> None:
        """Read, answer, write, as far as it goes without waiting."""
        try:
            if mask & selectors.EVENT_READ:
                data = self.sock.recv(65536)
                self.heard = time.monotonic()
                if not data:  # its end; but it may still read (`nc -N`)
                    self.closing = True
                elif not self.closing:
                    self.received += data
            self._answer()
            if self.pending:
                del self.pending[: self.sock.send(self.pending)]
        except BlockingIOError:
            pass
        except OSError:  # reset by the peer, or no way back to it
            self.server.drop(self)
            return
        if self.closing and not self.pending:
            self.server.drop(self)
            return
        events = selectors.EVENT_WRITE if self.pending else 0
        if not self.closing and len(self.pending) < BACKLOG_MAX:
            events |= selectors.EVENT_READ
        self.server.selector.modify(self.sock, events, self.ready)

    def _answer(self) -> None:
        """Turn complete requests into answers."""
        while len(self.pending) < BACKLOG_MAX:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                if len(self.received) > REQUEST_MAX:
                    self._say(b"", self.server.site.response(431, self.client, False))
                return
            head = bytes(self.received[:end]).lstrip(b"\r\n")
            del self.received[: end + 4]
            self._say(head, self.server.site.answer(head, self.client))
            if self.closing:
                return

    def _say(self, head: bytes, said: tuple[bytes, int, bool]) -> None:
        answer, status, keep = said
        self.pending += answer
        if not keep:
            self.closing = True
            self.received.clear()
        # escaped, as a client could otherwise write lines of its own into the log
        first = ascii(head.split(b"\r\n")[0].decode(errors="replace"))[1:-1]
        self.server.log(f'{self.client} "{first}" {status} {len(answer)}')


class Server:
    """Sockets and loop. tcp, udp: ports to listen on, 0 for any; `ports` tells which they became."""

    def __init__(self, site: Site, *, tcp: list[int], udp: list[int], log: Callable[[str], None]) -> None:
        self.site, self.log = site, log
        self.selector = selectors.DefaultSelector()
        self.connections: dict[socket.socket, Connection] = {}  # oldest first
        self.listening: list[socket.socket] = []
        try:
            for kind, ports in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
                for port in ports:
                    self._listen(kind, port)
        except BaseException:
            self.close()
            raise

    @property
    def ports(self) -> list[int]:
        """The local ports, TCP before UDP, in the order given."""
        return [sock.getsockname()[1] for sock in self.listening]

    def _listen(self, kind: socket.SocketKind, port: int) -> None:
        sock = _bound(kind, port)
        self.listening.append(sock)
        if kind == socket.SOCK_STREAM:
            sock.listen(128)
        self.selector.register(
            sock,
            selectors.EVENT_READ,
            (lambda _: self._accept(sock)) if kind == socket.SOCK_STREAM else (lambda _: self._echo(sock)),
        )

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE):  # make room, or we would spin
                self._drop_oldest()
            return
        sock.setblocking(False)
        connection = Connection(self, sock, address[:2])
        self.connections[sock] = connection
        self.selector.register(sock, selectors.EVENT_READ, connection.ready)
        if len(self.connections) > CONNECTIONS_MAX:
            self._drop_oldest()

    def _echo(self, sock: socket.socket) -> None:
        # recvmsg with IP_PKTINFO would let us answer from the address that was asked; a container has just one
        try:
            data, address = sock.recvfrom(65535)
            self.log(f"{spell(address[:2])} udp {len(data)}")
            sock.sendto(f"{self.site.name}: ".encode() + data, address)
        except OSError:  # an ICMP error of an earlier answer, or no way back
            pass

    def _drop_oldest(self) -> None:
        if self.connections:
            self.drop(next(iter(self.connections.values())))

    def drop(self, connection: Connection) -> None:
        """Forget a client."""
        if self.connections.pop(connection.sock, None):
            self.selector.unregister(connection.sock)
            connection.sock.close()

    def run_once(self, timeout: float | None = None) -> None:
        """Serve what is there, waiting at most `timeout` seconds for it."""
        if self.connections:
            timeout = IDLE if timeout is None else min(timeout, IDLE)
        for key, mask in self.selector.select(timeout):
            if key.fileobj in self.connections or key.fileobj in self.listening:  # not dropped by one before it
                key.data(mask)
        now = time.monotonic()
        for connection in [c for c in self.connections.values() if now - c.heard > IDLE]:
            self.drop(connection)

    def close(self) -> None:
        """Close everything."""
        for sock in (*self.connections, *self.listening):
            sock.close()
        self.selector.close()


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket for both families, or for IPv4 alone where IPv6 is off. OSError if the port is taken."""
    for family, anywhere in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        sock = None
        try:
            sock = socket.socket(family, kind)
            sock.setblocking(False)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((anywhere, port))
            return sock
        except OSError as e:
            if sock is not None:
                sock.close()
            # no IPv6 in the kernel, or disable_ipv6=1
            if family == socket.AF_INET or e.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise OSError(e.errno, f"port {port}: {e.strerror}") from None
    raise AssertionError


def main(argv: list[str]) -> int:
    """--name NAME [--tcp PORT]... [--udp PORT]... [--page TEXT]; 0 at SIGTERM, 1 for a taken port, 2 for bad input."""
    name, text = "", "Thank you for using netlab."
    tcp: list[int] = []
    udp: list[int] = []
    try:
        for option, value in zip(argv[::2], argv[1::2], strict=True):
            if option == "--name" and "\n" not in value and "\r" not in value:
                name = value
            elif option == "--page":
                text = value
            else:
                {"--tcp": tcp, "--udp": udp}[option].append(int(value))
        if not name or not (tcp or udp) or not all(0 <= port < 65536 for port in tcp + udp):
            raise ValueError
    except (ValueError, KeyError):
        print("usage: web --name NAME [--tcp PORT]... [--udp PORT]... [--page TEXT]", file=sys.stderr)
        return 2
    with contextlib.suppress(ValueError):  # SIGTERM is the usual way to end
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = Server(Site(name, text), tcp=tcp, udp=udp, log=lambda line: print(line, flush=True))
    except OSError as e:
        print(f"{name}: {e}", file=sys.stderr)
        return 1
    print(f"{name} listens on {', '.join(map(str, server.ports))}", flush=True)
    while True:
        server.run_once()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
