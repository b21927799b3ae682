"""What the tests of the managers share: a manager without chance, a watch in the background."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from stores import (
    Bench,
    Clock,
    opened,
    until,
)

from netlab.overlay.lease import LeaseAttrs, Subnet
from netlab.overlay.managers import Leases, SubnetManager
from netlab.overlay.managers.store import StoreManager

IPV4 = {"Network": "100.96.0.0/16", "Backend": {"Type": "vxlan"}}
#: two subnets: .16 and .32
TINY = {"Network": "10.5.0.0/24", "SubnetLen": 28, "SubnetMin": "10.5.0.16", "SubnetMax": "10.5.0.32"}
DUAL = {"Network": "100.96.0.0/16", "EnableIPv6": True, "IPv6Network": "fd00:10::/48"}
IPV6 = {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fd00:10::/48"}

FIRST = Subnet(IPv4Network("100.96.1.0/24"))
THIRD = Subnet(IPv4Network("100.96.3.0/24"))


def run(make: Callable[[], Bench], test: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened(make) as bench:
            await test(bench)

    asyncio.run(whole())


def first(numbers: object) -> int:
    return numbers[0]  # type: ignore[index]


def manager(bench: Bench, reports: list[str] | None = None, **options: object) -> StoreManager:
    """Without chance: the first free subnet. Time is the bench's, so is the wait between attempts, but short."""
    clock = bench.clock or Clock()
    options.setdefault("choose", first)
    told = reports if reports is not None else []
    now = {"now": clock.now} if bench.clock else {}
    return StoreManager(bench.store(), report=told.append, sleep=lambda _: asyncio.sleep(0.01), **now, **options)  # type: ignore[arg-type]


def node(number: int, **more: object) -> LeaseAttrs:
    data = {"VNI": 1, "VtepMAC": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"}
    given = {"backend_type": "vxlan", "backend_data": data, **more}
    return LeaseAttrs(public_ip=IPv4Address(0x0A000000 + number), **given)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Watching:
    """A watch in the background, and what it has said so far."""

    def __init__(self, manager: SubnetManager) -> None:
        self.seen: list[Leases] = []
        self.task = asyncio.ensure_future(self._run(manager))

    async def _run(self, manager: SubnetManager) -> None:
        async for leases in manager.watch():
            self.seen.append(leases)

    async def until(self, keys: set[str]) -> None:
        def there() -> bool:
            assert not self.task.done(), self.task.result()
            return bool(self.seen) and set(self.seen[-1]) == keys

        try:
            await until(there)
        except TimeoutError:
            raise AssertionError(f"seen {self.seen[-1:]}, expected {keys}") from None

    async def __aenter__(self) -> "Watching":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
