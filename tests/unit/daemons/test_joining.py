"""What a machine is told that wants to become a node: what it was given, the authority, its clock."""

from __future__ import annotations

import asyncio
import datetime
import types
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any

import pytest

from netlab.apiserver import certs
from netlab.base.errors import InputError, MachineError
from netlab.client.kubeconfig import load
from netlab.client.rest import RestClient
from netlab.cluster import bootstrap
from netlab.daemons import apiserver, joining
from netlab.daemons.creating import create
from netlab.daemons.joining import Invitation

TOKEN, HASH = "abcdef.0123456789abcdef", f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("typed", "server"),
    [
        ("192.168.61.10", "https://192.168.61.10:6443"),
        ("192.168.61.10:7443", "https://192.168.61.10:7443"),
        ("https://server.example:6443/", "https://server.example:6443"),
        ("fd00::10", "https://[fd00::10]:6443"),
        ("https://[fd00::10]:7443", "https://[fd00::10]:7443"),
    ],
)
def test_of_the_server_its_address_is_enough(typed: str, server: str) -> None:
    invitation = Invitation.parse(typed, TOKEN, HASH.upper().replace("SHA", "sha"))
    assert invitation == Invitation(server, TOKEN, HASH)
    assert invitation.command() == (f"netlab agent --this-machine --join {server} --token {TOKEN} --ca-hash {HASH}")


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        Invitation.parse("http://192.168.61.10/api", "abcdef", "0123")
    assert [problem.place for problem in raised.value.problems] == ["--join", "--token", "--ca-hash"]
    # a token that was mistyped is still nobody else's to read
    assert "abcdef'" not in str(raised.value)
    for strange in ("https://:6443", "192.168.61.10:99999", ""):
        with pytest.raises(InputError, match="is no API server"):
            Invitation.parse(strange, TOKEN, HASH)


def with_server(tmp_path: Path, work: Callable[[apiserver.Running, RestClient], Coroutine[Any, Any, None]]) -> None:
    async def test() -> None:
        running = await apiserver.serve(apiserver.Options(tmp_path / "data", store="memory", port=0))
        client = RestClient(replace(load(tmp_path / "data" / "admin.conf"), verify=False))
        try:
            async with asyncio.timeout(60):
                await work(running, client)
        finally:
            await client.aclose()
            await running.aclose()

    asyncio.run(test())


def invited(running: apiserver.Running, token: str = TOKEN) -> Invitation:
    return Invitation(running.url, token, joining.fingerprint(running.authority.pair.cert))


def objects(running: apiserver.Running) -> list[dict[str, Any]]:
    facts = bootstrap.Facts(
        server=running.url, resolver=ip_address("127.0.0.1"), network="flannel-vxlan", proxy="iptables",
        pods=[IPv4Network("10.244.0.0/16")], lease=40,
    )  # fmt: skip
    return bootstrap.objects(facts, ca=running.authority.pair.cert)


def test_a_server_that_lets_nobody_join(tmp_path: Path) -> None:
    async def work(running: apiserver.Running, _: RestClient) -> None:
        with pytest.raises(InputError, match="does not tell who it is") as raised:
            await joining.join(invited(running), "n1", tmp_path / "node", machine="1")
        assert "--no-nodes" in str(raised.value)
        assert not (tmp_path / "node").exists()

    with_server(tmp_path, work)


def test_a_clock_that_is_behind_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.now(tz) + datetime.timedelta(days=1)

    clock = types.SimpleNamespace(datetime=Tomorrow, timedelta=datetime.timedelta, UTC=datetime.UTC)

    async def work(running: apiserver.Running, client: RestClient) -> None:
        await create(client, objects(running))
        with pytest.raises(MachineError, match="is not good yet by this machine's clock") as raised:
            await joining.join(invited(running), "n1", tmp_path / "node", machine="1")
        assert "set the clocks" in str(raised.value)

    authority = certs.Authority.open(tmp_path / "data" / "pki")
    with monkeypatch.context() as patched:
        # the server's own certificate is made by a clock that is a day ahead
        patched.setattr(certs, "datetime", clock)
        names = ["localhost", "127.0.0.1", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                 "kubernetes.default.svc.cluster.local"]  # fmt: skip
        authority.kept("apiserver", "kube-apiserver", addresses=names, server=True)
    with_server(tmp_path, work)


def test_a_node_that_is_another_machine_is_not_replaced(tmp_path: Path) -> None:
    async def work(running: apiserver.Running, client: RestClient) -> None:
        await create(client, [*objects(running), bootstrap.token(TOKEN, expires="2999-01-01T00:00:00Z")])
        await client.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        said = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"machineID": "other"},
                "addresses": [{"type": "InternalIP", "address": "192.168.61.11"}]}  # fmt: skip
        await client.patch("/api/v1/nodes/n1/status", {"status": said})
        with pytest.raises(joining.ConflictError, match=r"is Ready: 192\.168\.61\.11") as raised:
            await joining.join(invited(running), "n1", tmp_path / "node", machine="1")
        assert "--node-name" in str(raised.value)
        requests = await client.list(joining.REQUESTS.path())
        assert requests["items"] == []

    with_server(tmp_path, work)
