"""Clients that mean no good, or are slow, or many: the others are served, and what is secret is written down nowhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from serving import MAPS, Client, config_map, with_server

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
IDLE, SLOW = 1000, 50
SECRETS = "/api/v1/namespaces/default/secrets"


@contextlib.asynccontextmanager
async def connections(c: Client, number: int, first: bytes = b"") -> AsyncIterator[list[Connection]]:
    """So many connections, each of which has said that much."""
    host, _, port = c.url.removeprefix("http://").partition(":")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * number + 500  # both ends are in this process
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard if hard == resource.RLIM_INFINITY else min(max(soft, wanted), hard), hard)
    )
    made = []
    try:
        for _ in range(number):
            made.append(await asyncio.open_connection(host, int(port)))
            if first:
                made[-1][1].write(first)
                await made[-1][1].drain()
        yield made
    finally:
        for _, writer in made:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in made), return_exceptions=True)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def served(c: Client) -> None:
    """Everybody else is."""
    assert (await c.post(MAPS, config_map("c", a="b"))).status == 201
    assert (await c.get(f"{MAPS}/c")).body["data"] == {"a": "b"}
    assert (await c.delete(f"{MAPS}/c")).status == 200


def test_many_that_say_nothing() -> None:
    async def test(c: Client) -> None:
        async with connections(c, IDLE):
            await served(c)
        await served(c)

    with_server(test)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"GET /api HTTP/1.1\r\nHost: x\r\nX-Slow: ", id="headers"),
        pytest.param(
            b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-token\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
            id="bodies",
        ),
    ],
)
def test_many_that_never_come_to_an_end(first: bytes) -> None:
    async def test(c: Client) -> None:
        async with connections(c, SLOW, first) as slow:
            await served(c)
            assert not any(reader.at_eof() for reader, _ in slow)
        await served(c)

    with_server(test)


def test_secrets_are_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    word = "correct-horse-battery"
    encoded = base64.b64encode(word.encode()).decode()

    async def test(c: Client) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": word}}
        assert (await c.post(SECRETS, body)).status == 201
        assert (await c.get(f"{SECRETS}/s")).body["data"]["password"] == encoded
        assert (await c.patch(f"{SECRETS}/s", {"stringData": {"password": word * 2}})).status == 200
        assert (await c.put(f"{SECRETS}/s", {**body, "kind": "Secrets"})).status == 400
        assert (await c.as_("jane-token").get(f"{SECRETS}/s")).status == 403
        assert (await c.as_(word).get(f"{SECRETS}/s")).status == 401
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": word}}
        assert (await c.post("/apis/authentication.k8s.io/v1/tokenreviews", asked)).status == 201
        assert (await c.delete(f"{SECRETS}/s")).status == 200

    with_server(test, audit_log=tmp_path / "audit.log")
    audit = (tmp_path / "audit.log").read_text()
    assert audit.count('"resource":"secrets"') >= 6
    for said in (audit, caplog.text):
        for secret in (word, encoded, "admin-token", "jane-token"):
            assert secret not in said
