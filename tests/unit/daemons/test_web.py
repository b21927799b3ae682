"""The web server of the labs, over loopback, and its answers as values."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from netlab.daemons.web import REQUEST_MAX, Server, Site, main, spell

PATIENCE = 5.0  # seconds until a wait is given up


class Running:
    """A server in a thread, which is stopped by a byte on a socket of its own."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.server = Server(Site("nginx-1", "a < b"), tcp=[0], udp=[0], log=self.lines.append)
        self.tcp, self.udp = self.server.ports
        self.ours, theirs = socket.socketpair()
        self.theirs = theirs
        self.server.selector.register(theirs, 1, lambda _: None)
        self.server.listening.append(theirs)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self._told():
            self.server.run_once()

    def _told(self) -> bool:
        try:
            return bool(self.theirs.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.tcp), PATIENCE)

    def stop(self) -> None:
        self.ours.send(b"x")
        self.thread.join(PATIENCE)
        self.ours.close()
        self.server.close()


@pytest.fixture
def running() -> Iterator[Running]:
    server = Running()
    yield server
    server.stop()


def answer(sock: socket.socket, *, body: bool = True) -> tuple[str, dict[str, str], bytes]:
    """(status line, header fields, body) of one answer; waits for exactly that."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536 if body else 1)
        assert part, f"the connection ended after {data!r}"
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    while body and len(rest) < int(fields["Content-Length"]):
        rest += sock.recv(65536)
    return status, fields, rest


def get(path: str = "/", *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: x", *fields, "", ""]).encode()


def test_the_page_says_who_answers_and_to_whom(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(get())
        status, fields, body = answer(sock)
        own = "{}:{}".format(*sock.getsockname())
    assert status == "HTTP/1.1 200 OK"
    assert b"<title>Welcome to nginx-1!</title>" in body and b"a &lt; b" in body
    assert fields["Server"] == "netlab" and fields["X-Server-Name"] == "nginx-1"
    assert fields["X-Client-Address"] == own
    assert running.lines == [f'{own} "GET / HTTP/1.1" 200 {running.lines[0].split()[-1]}']


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6_clients_are_served_by_the_same_socket(running: Running) -> None:
    with running.connect("::1") as sock:
        sock.sendall(get("/whoami"))
        _, fields, body = answer(sock)
        assert fields["X-Client-Address"] == f"[::1]:{sock.getsockname()[1]}"
        assert body == f"server nginx-1\nclient {fields['X-Client-Address']}\n".encode()


def test_a_connection_is_kept_and_requests_may_be_pipelined(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(get("/whoami") * 2 + get("/nothing") + get("/whoami", "Connection: close"))
        data = b""
        while part := sock.recv(65536):
            data += part
    assert data.count(b"HTTP/1.1 200 OK") == 3 and data.count(b"HTTP/1.1 404 Not Found") == 1
    assert data.count(b"Connection: keep-alive") == 3 and data.count(b"Connection: close") == 1


def test_head_has_no_body(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(get("/index.html", method="HEAD") + get("/whoami"))
        status, fields, _ = answer(sock, body=False)
        assert status == "HTTP/1.1 200 OK" and int(fields["Content-Length"]) > 100
        assert answer(sock)[2].startswith(b"server nginx-1")


def test_a_slow_client_does_not_hold_up_the_others(running: Running) -> None:
    with running.connect() as slow, running.connect() as quick:
        slow.sendall(get("/whoami")[:10])
        quick.sendall(get("/whoami"))
        assert answer(quick)[0] == "HTTP/1.1 200 OK"
        slow.sendall(get("/whoami")[10:])
        assert answer(slow)[0] == "HTTP/1.1 200 OK"


def test_a_client_that_has_said_all_still_gets_its_answer(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(get("/whoami"))
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock)[0] == "HTTP/1.1 200 OK"
        assert sock.recv(1) == b""


def test_a_request_without_end_is_refused(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * REQUEST_MAX)
        assert answer(sock)[0] == "HTTP/1.1 431 Request Header Fields Too Large"


def test_many_clients_at_once(running: Running) -> None:
    socks = [running.connect() for _ in range(50)]
    try:
        for sock in socks:
            sock.sendall(get("/whoami"))
        assert {answer(sock)[0] for sock in socks} == {"HTTP/1.1 200 OK"}
    finally:
        for sock in socks:
            sock.close()


def test_udp_echoes_with_its_name(running: Running) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.sendto(b"hello", ("127.0.0.1", running.udp))
        assert sock.recv(100) == b"nginx-1: hello"


@pytest.mark.parametrize(
    ("request_", "status", "keep"),
    [
        (get(), 200, True),
        (get("/?x=1"), 200, True),
        (get("/", version="HTTP/1.0"), 200, False),
        (get("/", "Connection: Keep-Alive", version="HTTP/1.0"), 200, True),
        (get("/", "connection:close"), 200, False),
        (get("/", method="POST"), 405, True),
        (get("/", "Content-Length: 3", method="POST"), 405, False),
        (get("/", "Transfer-Encoding: chunked", method="PUT"), 405, False),
        (get("/", version="HTTP/2.0"), 505, False),
        (b"nonsense\r\n\r\n", 400, False),
    ],
)
def test_answers(request_: bytes, status: int, keep: bool) -> None:
    said, given, kept = Site("a").answer(request_.removesuffix(b"\r\n\r\n"), "10.0.0.1:1")
    assert (given, kept) == (status, keep)
    assert said.startswith(f"HTTP/1.1 {status} ".encode())


def test_addresses_are_spelled_as_the_family_has_them() -> None:
    assert spell(("::ffff:172.17.0.2", 51234)) == "172.17.0.2:51234"
    assert spell(("172.17.0.2", 51234)) == "172.17.0.2:51234"
    assert spell(("fe80::1%eth0", 80)) == "[fe80::1]:80"


@pytest.mark.parametrize("argv", [[], ["--name", "a"], ["--tcp", "80"], ["--name", "a", "--tcp", "x"], ["--name"]])
def test_bad_flags(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage" in capsys.readouterr().err


def test_a_taken_port_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--name", "a", "--tcp", str(port)]) == 1
    assert f"port {port}" in capsys.readouterr().err
