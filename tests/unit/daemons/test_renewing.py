"""When a certificate is renewed, and what becomes of who asked by the one before."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest
from cryptography import x509

from netlab.apiserver import certs
from netlab.base.errors import NetlabError
from netlab.client.kubeconfig import kubeconfig, load
from netlab.daemons import joining, renewing
from netlab.daemons.renewing import EARLIEST, LATEST, LOOK, PAUSE, RETRY, Identity, due, kept

DAY = 86400.0


class Clock:
    """Time that goes on where somebody sleeps. renewed: when a certificate was asked for; refusing: so many times."""

    def __init__(self, authority: certs.Authority, *, refusing: int = 0, lasts: float = 365 * DAY) -> None:
        self.certs = [authority.issue("system:node:n1").cert]
        self.now = self.begin = x509.load_pem_x509_certificate(self.certs[0]).not_valid_before_utc.timestamp()
        self.renewed: list[float] = []
        self.slept: list[float] = []
        self._authority, self._refusing, self._lasts = authority, refusing, lasts

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.renewed) == 3:
            raise asyncio.CancelledError

    async def renew(self) -> None:
        if self._refusing:
            self._refusing -= 1
            raise NetlabError("nobody signs it")
        self.renewed.append(self.now - self.begin)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(certs, "LEAF_DAYS", (self.now + self._lasts - datetime.datetime.now().timestamp()) / DAY)
            self.certs.append(self._authority.issue("system:node:n1").cert)

    def run(self, chance: float) -> None:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(
                kept("it", lambda: self.certs[-1], self.renew, now=lambda: self.now, sleep=self.sleep,
                     chance=lambda: chance)
            )  # fmt: skip


@pytest.mark.parametrize(("chance", "share"), [(0.0, EARLIEST), (0.5, 0.8), (1.0, LATEST)])
def test_its_time_is_between_seven_and_nine_tenths(tmp_path: Path, chance: float, share: float) -> None:
    clock = Clock(certs.Authority.open(tmp_path))
    whole = renewing.expiry(clock.certs[0]).timestamp() - clock.begin
    assert due(clock.certs[0], chance) == pytest.approx(clock.begin + share * whole)
    clock.run(chance)
    assert clock.renewed[0] == pytest.approx(share * whole, abs=1)
    assert max(clock.slept) == LOOK  # a clock that was set is seen


def test_who_is_refused_asks_again_and_goes_on_with_what_there_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(certs.Authority.open(tmp_path), refusing=3)
    clock.run(0.0)
    at = EARLIEST * (renewing.expiry(clock.certs[0]).timestamp() - clock.begin)
    assert clock.renewed[0] == pytest.approx(at + RETRY * (1 + 2 + 4), abs=1)
    assert caplog.text.count("is not renewed: nobody signs it; trying again") == 3


def test_who_signs_for_a_moment_only_is_not_asked_all_the_time(tmp_path: Path) -> None:
    clock = Clock(certs.Authority.open(tmp_path), lasts=1.0)
    clock.run(0.0)
    assert [b - a for a, b in zip(clock.renewed, clock.renewed[1:], strict=False)] == pytest.approx([PAUSE, PAUSE])


def test_all_who_ask_ask_by_the_new_one_and_so_does_the_next_agent(tmp_path: Path) -> None:
    authority = certs.Authority.open(tmp_path / "pki")
    one, two = authority.issue("system:node:n1"), authority.issue("system:node:n1")
    file = tmp_path / "kubelet.conf"
    file.write_bytes(kubeconfig("https://10.0.0.1:6443", authority.pair.cert, cert=one.cert, key=one.key, name="c"))

    async def test() -> None:
        us = Identity(file)
        async with us.client("kubelet") as client:
            await us.renew(two.cert, two.key)
            assert client.config.cert == two.cert
        async with us.client("proxy") as client:
            assert client.config.cert == two.cert

    asyncio.run(test())
    assert (load(file).cert, load(file).key, load(file).ca) == (two.cert, two.key, authority.pair.cert)
    assert file.stat().st_mode & 0o777 == 0o600


def test_whose_certificate_has_expired_joins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = certs.Authority.open(tmp_path)
    server, fingerprint = "https://10.0.0.1:6443", joining.fingerprint(authority.pair.cert)
    for days, joined in ((365, True), (0, False)):
        monkeypatch.setattr(certs, "LEAF_DAYS", days)
        pair = authority.issue("system:node:n1")
        (tmp_path / "kubelet.conf").write_bytes(kubeconfig(server, authority.pair.cert, cert=pair.cert, key=pair.key))
        assert joining.joined(server, fingerprint, tmp_path) is joined
