"""What flanneld notes of its claims is read back by the next one, whatever the items are, and whenever it was killed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from netlab.kernel.ledger import FileLedger
from netlab.model import Fdb, HostState, Item, Neighbour, Route
from netlab.model.claims import Claims

MAC = "0e:00:00:00:00:07"
ITEMS: list[Item] = [
    Route(dst=ip_network("10.244.7.0/24"), via=ip_address("10.244.7.0"), dev="flannel.1", onlink=True),
    Route(dst=ip_network("fd00:244:0:7::/64"), via=ip_address("fd00:244:0:7::"), dev="flannel-v6.1", onlink=True),
    Neighbour(dev="flannel.1", address=ip_address("10.244.7.0"), mac=MAC),
    Neighbour(dev="flannel-v6.1", address=ip_address("fd00:244:0:7::"), mac=MAC),
    Fdb(dev="flannel.1", mac=MAC, dst=ip_address("10.168.0.7")),
    Fdb(dev="flannel-v6.1", mac=MAC, dst=ip_address("fd00:168::7")),
]


@pytest.mark.parametrize("gone", ITEMS, ids=str)
def test_what_was_noted_as_dropped_is_no_longer_claimed(tmp_path: Path, gone: Item) -> None:
    path = tmp_path / "claims"
    ledger = FileLedger(path)
    ledger.save("flanneld", Claims({"": HostState.of(ITEMS[:2])}, {}))
    ledger.note("flanneld", "", added=ITEMS[2:])
    ledger.note("flanneld", "", dropped=[gone])
    left = HostState.of(item for item in ITEMS if item is not gone)
    assert FileLedger(path).load("flanneld").states[""] == left
    assert ledger.load("flanneld").states[""] == left
    # what a crash has cut short was not begun
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert FileLedger(path).load("flanneld").states[""] == HostState.of(ITEMS)
