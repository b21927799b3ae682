"""The real backend keeps the contract of all backends, in namespaces of its own."""

import contextlib
import os
from collections.abc import Iterator

import pytest
from contract import PREFIX, Contract

from netlab.kernel import netns
from netlab.kernel.apply import Backend
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.probe import iptables_variant

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.mark.parametrize("variant", ["legacy", "nft"])
class TestLinux(Contract):
    examples = 60
    variant = "legacy"

    @pytest.fixture(autouse=True)
    def _variant(self, variant: str) -> None:
        type(self).variant = variant

    @contextlib.contextmanager
    def world(self) -> Iterator[Backend]:
        try:
            yield LinuxBackend(iptables=self.variant)
        finally:
            for name in netns.names():
                if name.startswith(f"{PREFIX}."):
                    netns.delete(name)


def test_a_variant_that_works_is_found() -> None:
    assert iptables_variant() in ("legacy", "nft")
