"""Streams as other clients than kubectl speak them, clients that read slowly or nonsense, and logs that grow."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from clients import kubectls
from patience import patience
from streamworld import StreamWorld

from netlab.client.kubeconfig import load
from netlab.kernel import cgroups, netns
from netlab.kubelet import logs
from netlab.kubelet.logs import Wanted

LACKING = [tool for tool in ("runc", "conmon", "busybox") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making containers needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]
POD = "/api/v1/namespaces/default/pods/web"
#: bytes that may lie in all pipes, sockets and clients on the way together
ON_THE_WAY = 64 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamWorld]:
    with StreamWorld(tmp_path_factory.mktemp("wires"), f"sw{os.getpid()}") as made:
        made.pod("web", "exec sleep 100000", namespaces={"network": made.network("web")})
        yield made


@asynccontextmanager
async def session(world: StreamWorld) -> AsyncIterator[tuple[aiohttp.ClientSession, ssl.SSLContext]]:
    async with asyncio.timeout(patience(60)), aiohttp.ClientSession(world.api.url) as made:
        tls = load(world.kubeconfig).tls()
        assert tls is not None
        yield made, tls


def exec_path(*command: str, **more: str) -> str:
    query = [("container", "c"), *more.items(), *(("command", word) for word in command)]
    return f"{POD}/exec?" + "&".join(f"{k}={v}" for k, v in query)


async def said(ws: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """What comes on each channel, to the end."""
    found: dict[int, bytes] = {}
    async for message in ws:
        if message.type == aiohttp.WSMsgType.TEXT:
            channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
        else:
            channel, data = message.data[0], message.data[1:]
        found[channel] = found.get(channel, b"") + data
    return found


def test_channels_of_a_websocket(world: StreamWorld) -> None:
    async def test() -> None:
        async with session(world) as (http, tls):
            path = exec_path("sh", "-c", "cat;echo%20e>%262;exit%203", stdin="1", stdout="1", stderr="1")
            async with http.ws_connect(path, ssl=tls, protocols=["v5.channel.k8s.io"]) as ws:
                await ws.send_bytes(b"\0hello ")
                await ws.send_bytes(b"\0you")
                await ws.send_bytes(b"\xff\0")  # there is no more
                found = await said(ws)
                assert (found[1], found[2], ws.close_code) == (b"hello you", b"e\n", 1000)
                assert json.loads(found[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
            path = exec_path("head", "-n1", stdin="1", stdout="1")
            for name in ("v4.base64.channel.k8s.io", "base64.channel.k8s.io"):
                async with http.ws_connect(path, ssl=tls, protocols=[name]) as ws:
                    await ws.send_str("0" + base64.b64encode(b"line\n").decode())
                    found = await said(ws)
                    assert found[1] == b"line\n"
                    assert found.get(3, b"") == (b'{"metadata":{},"status":"Success"}' if "v4" in name else b"")
            async with http.ws_connect(exec_path("false", stdout="1"), ssl=tls) as ws:
                assert ws.protocol is None
                assert b"exit code 1" in (await said(ws))[3]

    world.do(test())


def test_nonsense_ends_a_session_and_nothing_else(world: StreamWorld) -> None:
    async def test() -> None:
        async with session(world) as (http, tls):
            path = exec_path("cat", stdin="1", stdout="1")
            for wrong in (b"", b"\x09x", b"\xff\x09", "text"):
                async with http.ws_connect(path, ssl=tls, protocols=["v5.channel.k8s.io"]) as ws:
                    await (ws.send_str(wrong) if isinstance(wrong, str) else ws.send_bytes(wrong))
                    await said(ws)
                    assert ws.close_code == 1002
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(path, ssl=tls, protocols=["v9.channel.k8s.io"])
            assert refused.value.status == 400
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(exec_path("cat"), ssl=tls, protocols=["v5.channel.k8s.io"])
            assert refused.value.status == 400
            headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
            for garbage in (
                os.urandom(4096),
                struct.pack(">HHI", 0x8003, 1, 10) + b"\0" * 10,
                b"GET / HTTP/1.1\r\n\r\n",
            ):
                reader, writer = await asyncio.open_connection(*_address(world), ssl=tls)
                lines = [f"POST {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
                writer.write("\r\n".join(lines).encode())
                assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
                writer.write(garbage)
                rest = await reader.read()  # to its end: the server closes
                assert rest == b"" or rest.endswith(struct.pack(">HHIII", 0x8003, 7, 8, 0, 1))
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            async with http.ws_connect(exec_path("echo", "still", stdout="1"), ssl=tls) as ws:
                assert (await said(ws))[1] == b"still\n"

    world.do(test())


def _address(world: StreamWorld) -> tuple[str, int]:
    host, _, port = world.api.url.removeprefix("https://").rpartition(":")
    return host, int(port)


def test_ports_over_channels_of_a_websocket(world: StreamWorld) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def test() -> None:
        with netns.entered(world.pods.nets["default", "web"]):
            sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        listening = await asyncio.start_server(echo, sock=sock)
        async with session(world) as (http, tls), listening:
            path = f"{POD}/portforward?ports={port}&ports=1"
            async with http.ws_connect(path, ssl=tls, protocols=["v4.channel.k8s.io"]) as ws:
                await ws.send_bytes(b"\0hello\n")
                found = await said(ws)
        number, one = struct.pack("<H", port), struct.pack("<H", 1)
        assert (found[0], found[1], found[2]) == (number + b"hello\n", number, one)
        assert found[3].startswith(one) and b"connection refused" in found[3]

    world.do(test())


def _written(world: StreamWorld, mark: str) -> int | None:
    """Bytes that the program with that argument has written; it is in the container's own group."""
    for pid in cgroups.members(f"{world.runtime.cgroup}/web-c"):
        try:
            if mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                return int(fields["wchar"])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return None


@pytest.mark.parametrize("kubectl", [k for k in kubectls() if k.name in ("kubectl.1.27", "kubectl.1.33")] or [None],
                         ids=lambda k: k.name if k else "none")  # fmt: skip
def test_who_does_not_read_is_not_written_to(world: StreamWorld, kubectl: Path | None) -> None:
    if kubectl is None:
        pytest.skip("no kubectl is installed")
    mark = str(1 << 20)  # megabytes; busybox takes `count=` apart where it lies
    environment = {**os.environ, "KUBECONFIG": str(world.kubeconfig), "HOME": str(world.directory / "home")}
    argv = [kubectl, "exec", "web", "--", "dd", "if=/dev/zero", "bs=1M", f"count={mark}"]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE)
    try:
        deadline, seen, calm = time.monotonic() + patience(60), -1, 0
        while calm < 20:  # for a second nothing has been written
            assert time.monotonic() < deadline, f"{seen} bytes, and no end"
            now = _written(world, mark)
            if now is not None:
                assert now < ON_THE_WAY
                calm = calm + 1 if now == seen and now > 0 else 0
                seen = now
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + patience(60)
    while _written(world, mark) is not None:
        assert time.monotonic() < deadline, "the program outlives the client that ran it"
        time.sleep(0.02)


def test_a_log_is_rotated_while_it_is_followed(world: StreamWorld) -> None:
    container = world.pod("chatty", "while read n; do echo line $n; done", stdin=True, stdin_once=True)
    path = Path(world.runtime.status(container).log)

    async def follow() -> bytes:
        from netlab.runtime.streams import attach

        shown = b""
        lines = logs.read(path, Wanted(follow=True), ended=lambda: logs.until_written(world.runtime, container))
        async with attach(world.runtime, container, stdin=True) as door:
            for number in range(8):
                await door.write(f"{number}\n".encode())
                shown += await anext(lines)
                now = datetime.datetime(2024, 1, 1, 0, 0, number, tzinfo=datetime.UTC)
                assert logs.rotate(world.runtime, container, now=now, size=1, files=3)
                assert not logs.rotate(world.runtime, container, now=now, size=1 << 20)
            await door.end_input()
            return shown + b"".join([part async for part in lines])

    async def timely() -> bytes:
        async with asyncio.timeout(patience(60)):
            return await follow()

    assert asyncio.run(timely()) == b"".join(b"line %d\n" % n for n in range(8))
    assert sorted(p.name for p in path.parent.iterdir()) == ["0.log", "0.log.20240101-000006", "0.log.20240101-000007"]


def test_who_has_no_certificate_learns_that_the_node_lives(world: StreamWorld) -> None:
    async def test() -> None:
        config = load(world.kubeconfig)
        nobody = ssl.create_default_context(cadata=(config.ca or b"").decode())
        bob = world.api.authority.issue("bob", ("dev",))
        for name, data in (("bob.crt", bob.cert), ("bob.key", bob.key)):
            (world.directory / name).write_bytes(data)
        somebody = ssl.create_default_context(cadata=(config.ca or b"").decode())
        somebody.load_cert_chain(world.directory / "bob.crt", world.directory / "bob.key")
        url = f"https://127.0.0.1:{world.port}"
        answers: dict[tuple[str, str], Any] = {}
        async with aiohttp.ClientSession() as http:
            for who, tls in (("nobody", nobody), ("bob", somebody)):
                for path in ("/healthz", "/pods", "/exec/default/web/c?command=id&output=1", "/metrics/resource"):
                    async with http.get(f"{url}{path}", ssl=tls) as answer:
                        answers[who, path.split("/")[1]] = (answer.status, await answer.text())
        assert answers["nobody", "healthz"] == answers["bob", "healthz"] == (200, "ok")
        assert {answers["nobody", p] for p in ("pods", "exec", "metrics")} == {(401, "Unauthorized\n")}
        refused = "Forbidden (user=bob, verb=get, resource=nodes, subresource({})=n1)\n"
        assert answers["bob", "exec"] == (403, refused.format("proxy"))
        assert answers["bob", "metrics"] == (403, refused.format("metrics"))

    world.do(test())
