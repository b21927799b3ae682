"""What labs need of a machine, as narrow protocols. `netlab.daemons.machine` is the real thing; tests hand in fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TypeAlias

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from netlab.base.addresses import Address
    from netlab.lab.capture.packet import Listener
    from netlab.model import HostState, Item
    from netlab.model.claims import Claims
    from netlab.model.diff import Op

States: TypeAlias = "Mapping[str, HostState]"


class Ledger(Protocol):
    """Where an owner's claims are kept (`netlab.kernel.ledger.Ledger`)."""

    def load(self, owner: str) -> Claims:
        """The last claims."""

    def save(self, owner: str, claims: Claims) -> None:
        """Keep the claims."""


class Network(Protocol):
    """Applies values to namespaces (`netlab.kernel.apply.Kernel`)."""

    def apply_all(
        self, owner: str, wanted: States, *, progress: Callable[[str, int], None] | None = None
    ) -> dict[str, list[Op]]:
        """Make it so; returns what it took."""

    def plan_all(self, owner: str, wanted: States) -> dict[str, list[Op]]:
        """What it would take."""

    def drift(
        self, owner: str, wanted: States, *, others: States | None = None
    ) -> tuple[dict[str, list[Op]], dict[str, list[Item]]]:
        """What it would take, and what is there that nobody asked for. others: what other owners asked for."""


class Visitor(NamedTuple):
    """A process that was found inside a namespace."""

    pid: int
    command: str


class Learnt(NamedTuple):
    """An entry of a neighbour table or forwarding database as it is now, learnt or not.

    address: of a neighbour, or the VTEP of an fdb entry; state: REACHABLE, STALE, PERMANENT …
    """

    dev: str
    address: Address | None
    mac: str | None
    state: str


class RuleCount(NamedTuple):
    """A rule with its counters."""

    table: str
    chain: str
    rule: str
    packets: int
    bytes: int


class Answer(NamedTuple):
    """What a probe saw. outcome: `answered`, `refused`, `silent` (nothing within the time), `unreachable`, `failed`.

    detail: the words of the error or the answer; seconds: how long it took; body: what came back, of HTTP and UDP.
    """

    outcome: str
    detail: str = ""
    seconds: float = 0.0
    body: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple has no factory; it is never written to


class Probes(Protocol):
    """Sends packets from a namespace and tells what came back. Coroutines: many probes run at once."""

    async def icmp(
        self, netns: str, to: Address, *, timeout: float, size: int = 56, whole: bool = False
    ) -> Answer:  # fmt: skip
        """One echo request. whole: not to be cut anywhere."""

    async def tcp(self, netns: str, to: Address, port: int, *, timeout: float) -> Answer:
        """One connection, opened and closed."""

    async def udp(self, netns: str, to: Address, port: int, *, timeout: float) -> Answer:
        """One datagram, and its answer."""

    async def exchange(self, netns: str, to: Address, port: int, data: bytes, *, timeout: float) -> bytes | None:
        """One datagram, and what came back; None if nothing did."""

    async def http(self, netns: str, to: Address, port: int, *, path: str, timeout: float) -> Answer:
        """One GET; `detail` is the status."""


class Spot(NamedTuple):
    """Where a pod is on this machine. netns: the path of its namespace; node, veth: whose other end of its cable that
    is, and its name there, "" for a pod on its node's own network; files: what its containers see in /etc, by name."""

    netns: str
    node: str
    veth: str
    files: dict[str, Path] = {}  # noqa: RUF012 - a NamedTuple has no factory; it is never written to


class Cluster(Protocol):
    """A cluster that a lab runs on, and its API, as the administrator sees it."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Requests may be made in the body."""

    async def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        """One object; None if it is not there. InputError if the server knows no such kind; NetlabError."""

    async def all(self, kind: str, *, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """Objects of a namespace, or of all. Errors as of `get`."""

    def spot(self, pod: Mapping[str, Any]) -> Spot | None:
        """Where a pod is; None if it has no network yet or any more."""

    def bgp(self, node: str) -> Path | None:
        """The control socket of a node's BGP speaker, if it had one; None if the node is off or no node."""

    def netns(self, node: str) -> str:
        """The namespace of a node, of the switch, or of a machine outside."""

    def addresses(self, node: str) -> list[Address]:
        """The addresses of a node, of the switch, or of a machine outside."""

    def kubectl(self, words: Sequence[str], *, timeout: float) -> tuple[int, str]:
        """Run the person's kubectl: its status, and all that it printed. MachineError if there is none."""


class OpenTaps(Protocol):
    """Devices that are being watched. listener: for `capture.session.run`; linktypes: pcap link type of each."""

    listener: Listener
    linktypes: list[int]


class Machine(Protocol):
    """One Linux machine."""

    def require_root(self) -> None:
        """MachineError unless namespaces can be made."""

    def iptables_variant(self) -> str:
        """legacy or nft: what works here. MachineError if nothing does."""

    def need(self, feature: str) -> None:
        """MachineError if the kernel lacks a feature, by the name that `netlab doctor` has for it."""

    def expecting(self, namespaces: int) -> AbstractContextManager[None]:
        """About so many namespaces will be made in the body: the machine may begin. A guess; any number will do."""

    def network(self, ledger: Ledger, *, iptables: str | None) -> Network:
        """The door to namespaces, for an owner whose claims are in `ledger`."""

    def namespaces(self) -> set[str]:
        """Names of all network namespaces."""

    def identity(self, name: str) -> int | None:
        """The number that tells a namespace from all others, None if there is none of that name."""

    def delete_namespaces(self, names: Sequence[str]) -> int:
        """Remove those that exist; returns how many did."""

    def visitors(self, names: Sequence[str]) -> list[Visitor]:
        """Processes inside the namespaces."""

    def expel(self, names: Sequence[str]) -> list[Visitor]:
        """Stop all processes inside the namespaces; returns them."""

    def web_server(self, name: str, serve: Sequence[tuple[int, str]]) -> list[str]:
        """The command of the built-in server."""

    def netlab(self) -> list[str]:
        """The command of this very netlab."""

    def claims(self, path: Path) -> HostState:
        """What a daemon that works in its own namespace claims there, by its file; empty if there is none."""

    def start_processes(self, run_dir: Path) -> None:
        """Bring the lab's supervisor in line with `run_dir/processes.json`."""

    def stop_processes(self, run_dir: Path) -> None:
        """Stop the supervisor and all that it runs."""

    def processes(self, run_dir: Path) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each process."""

    def read(self, names: Sequence[str], *, iptables: str | None) -> dict[str, HostState]:
        """The namespaces as they are, everything in them."""

    def neighbours(self, name: str) -> list[Learnt]:
        """The ARP and NDP tables."""

    def forwarding(self, name: str) -> list[Learnt]:
        """The forwarding databases of bridges and VXLAN devices."""

    def sysctl(self, name: str, setting: str) -> str | None:
        """A setting, by its path with slashes; None if there is none."""

    def counters(self, name: str, family: int, table: str, *, iptables: str) -> list[RuleCount]:
        """The rules of a table with their counters."""

    def bgp(self, socket: Path, request: Mapping[str, Any]) -> Any:
        """What the bgpd at a control socket answers (`netlab.daemons.bgpcontrol`). MachineError if none does."""

    def probes(self) -> Probes:
        """Senders of test packets."""

    def taps(self, devices: Sequence[tuple[str, str]], expression: str = "") -> AbstractContextManager[OpenTaps]:
        """Watch (namespace, device) pairs, with a filter in the words of pcap-filter(7)."""

    def devices(self, name: str) -> list[str]:
        """Names of the devices in a namespace."""

    def become(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], files: Mapping[str, str] | None = None
    ) -> NoReturn:
        """Replace this process by a command in a namespace. env: added to ours; files: seen at paths of the machine."""

    def wireshark(self) -> AbstractContextManager[BinaryIO]:
        """Wireshark, showing the pcapng that is written to the stream. It stays open when the stream is closed."""

    def draw(self, dot: str) -> str:
        """A graph in the DOT language, laid out, as SVG."""
