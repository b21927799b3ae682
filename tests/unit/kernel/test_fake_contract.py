"""The fake backend keeps the contract of all backends."""

import contextlib
from collections.abc import Iterator

from contract import Contract
from strategies import COMMON

from netlab.kernel.apply import Backend
from netlab.kernel.fake import FakeBackend


class TestFake(Contract):
    examples = 300
    kinds = COMMON | {"bridge-vlan"}

    @contextlib.contextmanager
    def world(self) -> Iterator[Backend]:
        yield FakeBackend()
