"""What a cluster begins with, made through an API that has its bad moments."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from netlab.client.rest import ApiError, ApiUnavailable
from netlab.daemons.creating import create


class Server:
    """Does not answer so many times; then knows no object but those that were made."""

    def __init__(self, silent: int) -> None:
        self.silent = silent
        self.made: list[str] = []

    def _answer(self) -> None:
        if self.silent:
            self.silent -= 1
            raise ApiUnavailable("no answer in 5 s")

    async def get(self, path: str) -> Any:
        self._answer()
        raise ApiError("not found", code=404, reason="NotFound")

    async def create(self, path: str, body: Any) -> None:
        self._answer()
        self.made.append(body["metadata"]["name"])


def begin(server: Server, limit: float) -> None:
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "a"}},
    ]
    asyncio.run(create(cast(Any, server), objects, limit=limit))


def test_a_server_that_is_busy_is_asked_again() -> None:
    server = Server(silent=3)
    begin(server, 60)
    assert server.made == ["a", "b"]


def test_one_that_never_answers_is_told_of() -> None:
    with pytest.raises(ApiUnavailable):
        begin(Server(silent=10**9), 0)
