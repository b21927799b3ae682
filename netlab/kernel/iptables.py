"""iptables of a namespace, legacy or nft: read by save, written by restore, counted by python-iptables.

Two separate rule sets can exist side by side, in ip_tables and in nf_tables; a lab uses one of them (`variant`), never
both. Reading makes nothing: asking `iptables-legacy-save -t nat` would create the nat table, with its hooks and
connection tracking, so only tables named in /proc/net/ip_tables_names are asked for. Facts: iptables-save(8),
iptables-restore(8), libxtables' xtables_save_string, libiptc.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from netlab.base.errors import KernelError, MachineError
from netlab.kernel import netns as namespaces
from netlab.kernel.commands import run_in
from netlab.model.diff import Op
from netlab.model.iptables import BUILTIN, Chain, IptablesRule, quoted, words
from netlab.model.restore import by_table, restore_batches, restore_blocks

Family = Literal[4, 6]

_PREFIX = {4: "iptables", 6: "ip6tables"}
_NAMES = {4: "ip_tables_names", 6: "ip6_tables_names"}
_FAILED_LINE = re.compile(r"\bline:? (\d+)")
_NO_CHAIN = re.compile(r"Chain '(.+)' does not exist")
_COUNTERS = re.compile(r"^\[(\d+):(\d+)\] ")
#: seconds to wait for /run/xtables.lock, which all namespaces of the machine share: iptables-legacy takes ten for ten
#: thousand Services; and seconds that a restore of so many may take on a busy machine
LOCK_WAIT, RESTORE_WAIT = 30, 300

#: rules that are worth more than the tool: it takes 8 µs for each
MANY = 1000

_iptc_lock = threading.Lock()


class Counter(NamedTuple):
    """How often a rule was met. args: canonical, as in `IptablesRule`; packets and bytes since it was made."""

    chain: str
    args: tuple[str, ...]
    packets: int
    bytes: int


def rule_of(args: Sequence[str]) -> IptablesRule:
    """A rule as read. One that `canonical` does not understand is kept as the words are, so that it is left alone."""
    return IptablesRule.trusted(quoted(args))


def parse_save(text: str, family: Family) -> list[Chain]:
    """The output of iptables-save, with or without -c. Tables that are not netlab's (security) are passed over."""
    policies: dict[tuple[str, str], Any] = {}
    rules: dict[tuple[str, str], list[str]] = {}
    for table, line in _lines(text):
        if line[0] == ":":
            name, policy, *_ = line[1:].split()
            policies[table, name] = None if policy == "-" else policy
            rules.setdefault((table, name), [])
        elif line.startswith("-A "):
            _, name, rest = line.split(" ", 2) if line.count(" ") > 1 else (*line.split(" "), "")
            rules.setdefault((table, name), []).append(rest)
    chains = (
        Chain.written(family, table, name, tuple(found), policy=policies.get((table, name)))
        for (table, name), found in rules.items()
    )
    return sorted(chains, key=lambda chain: chain.order)


def parse_counters(text: str, table: str) -> list[Counter]:
    """The rules of one table out of `iptables-save -c`, in the order of the text."""
    found = []
    for where, line in _lines(text):
        counted = _COUNTERS.match(line)
        if counted and where == table:
            _, chain, *args = words(line[counted.end() :])
            found.append(Counter(chain, rule_of(args).args, int(counted[1]), int(counted[2])))
    return found


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(table, line) of each line that says something about one of our tables."""
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line and line[0] != "#" and line != "COMMIT" and table in BUILTIN:
            yield table, line


def failed_line(said: str, text: str) -> tuple[int, str, str] | None:
    """(number, line, comment) of the line that iptables-restore complains about; comment: the `# …` right above it.

    nft looks for the chains that are jumped to only at COMMIT, but then says which one is not there. Where the line is
    a COMMIT even so, the kernel has refused the table as a whole (legacy; it says no more than that).
    """
    number = _FAILED_LINE.search(said)
    lines = text.splitlines()
    if not number or not 0 < int(number[1]) <= len(lines):
        return None
    at = int(number[1]) - 1
    no_chain = _NO_CHAIN.search(said)
    if lines[at] == "COMMIT" and no_chain:
        jump = re.compile(rf" -[jg] {re.escape(no_chain[1])}(?: |$)")
        at = next((i for i, line in enumerate(lines[:at]) if jump.search(line)), at)
    above = lines[at - 1] if at else ""
    return at + 1, lines[at], above.lstrip("# ") if above.startswith("#") else ""


class Iptables:
    """One of the two implementations. variant: `legacy` (ip_tables) or `nft` (nf_tables)."""

    def __init__(self, variant: str) -> None:
        if variant not in ("legacy", "nft"):
            raise ValueError(f"iptables comes as legacy or nft, not as {variant!r}")
        self.variant = variant

    def _tool(self, family: Family, what: str) -> str:
        return f"{_PREFIX[family]}-{self.variant}-{what}"

    def tables(self, netns: str | int, family: Family) -> list[str] | None:
        """The legacy tables that exist there, without making any. None for nft, where only save can tell."""
        if self.variant != "legacy":
            return None
        try:
            with namespaces.entered(netns):
                names = Path("/proc/thread-self/net", _NAMES[family]).read_text().split()
        except FileNotFoundError:  # the module is not loaded, so there can be none
            return []
        return [table for table in BUILTIN if table in names]

    def read(
        self, netns: str | int, families: Sequence[Family] = (4, 6), tables: Iterable[str] | None = None
    ) -> list[Chain]:
        """All chains there, built-in ones with their policies, in order. tables: None for all that exist.

        A table that nobody has used yet has no chains here. MachineError if the tool is missing.
        """
        chains: list[Chain] = []
        for family in families:
            chains += parse_save(self._save(netns, family, None if tables is None else list(tables)), family)
        return chains

    def _save(self, netns: str | int, family: Family, tables: list[str] | None, *options: str) -> str:
        there = self.tables(netns, family)
        if there is not None and not (there if tables is None else set(there) & set(tables)):
            return ""  # nothing to run a tool for
        if tables is None:
            return run_in(netns, [self._tool(family, "save"), *options], check=True).stdout
        asked = tables if there is None else [table for table in tables if table in there]
        if there is None:  # nft's save has nothing to instantiate, and -t fails for a table that is not there
            return run_in(netns, [self._tool(family, "save"), *options], check=True).stdout if asked else ""
        return "".join(
            run_in(netns, [self._tool(family, "save"), "-t", table, *options], check=True).stdout for table in asked
        )

    def perform(self, netns: str | int, ops: Sequence[Op]) -> Iterator[None]:
        """Carry chain operations out, a table at a time. As `restore` about errors.

        Each table changes as a whole or not at all. Of very many new chains by iptables-nft, those that nobody is led
        to yet may be there before the rest.
        """
        from netlab.kernel import xtables
        from netlab.kernel.refusals import Whys

        for (version, table), some in by_table(ops).items():
            family: Family = 4 if version == 4 else 6
            many = sum(len(op.item.lines) for op in some if isinstance(op.item, Chain)) >= MANY
            if many and self.variant == "legacy" and xtables.replace(netns, family, table, some, wait=LOCK_WAIT):
                yield
                continue
            whys = Whys(some)
            in_parts = many and self.variant == "nft"
            for _, text in restore_batches(some) if in_parts else restore_blocks(some).items():
                self.restore(netns, family, text, whys=whys)
            yield

    def restore(self, netns: str | int, family: Family, text: str, *, whys: Mapping[str, str] | None = None) -> None:
        """Apply a restore text without flushing what it does not name; each table of it changes at once or not at all.

        whys: why a line of the text is there. KernelError names the line that failed, with its why (or else the
        comment right above it); MachineError if the kernel lacks the table.
        """
        done = run_in(
            netns,
            [self._tool(family, "restore"), "--noflush", "-w", str(LOCK_WAIT)],
            stdin=text,
            timeout=LOCK_WAIT + RESTORE_WAIT,
        )
        if done.returncode == 0:
            return
        said = done.stderr.strip() or f"exit status {done.returncode}"
        if "do you need to insmod" in said:
            raise MachineError(
                f"{self._tool(family, 'restore')}: {said.splitlines()[0]}",
                hint=f"modprobe {_PREFIX[family].replace('tables', '_tables')}, or use the other iptables variant",
            )
        failed = failed_line(said, text)
        item = ""
        if failed:
            number, item, comment = failed
            why = (whys or {}).get(item) or comment
            if item == "COMMIT":
                said += (
                    "; the kernel refuses the table as a whole: iptables-legacy has room for 512 MiB of rules in one"
                )
            said = f"line {number}: {item}" + (f" (wanted by {why})" if why else "") + f": {said}"
        raise KernelError(f"{self._tool(family, 'restore')}: {said}", item=item)

    def counters(self, netns: str | int, family: Family, table: str) -> list[Counter]:
        """Every rule of the table with what it has counted, chain by chain. Empty if the table does not exist."""
        there = self.tables(netns, family)
        if there is None:
            return parse_counters(self._save(netns, family, [table], "-c"), table)
        if table not in there:
            return []
        with _iptc_lock, namespaces.entered(netns):
            return _read_by_iptc(_iptc(), family, table)


def _iptc() -> Any:
    """python-iptables, imported on first use, because the import costs some 150 ms.

    It looks for its libraries with ctypes.util.find_library, which runs gcc and ld for each guess, and for the
    extensions with ldconfig. Two variables of its own that name the places make that four times faster.
    """
    if "iptc" in sys.modules:
        return sys.modules["iptc"]
    settings = {"IPTABLES_LIBDIR": sysconfig.get_path("platlib")}  # where its own libxtwrapper is
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for place in (f"/usr/lib/{multiarch}/xtables", "/usr/lib64/xtables", "/usr/lib/xtables"):
        if Path(place).is_dir():
            settings["XTABLES_LIBDIR"] = place
            break
    missing = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in missing})
    try:
        with warnings.catch_warnings():  # distutils and the like, on import
            warnings.simplefilter("ignore")
            return importlib.import_module("iptc")
    except Exception as e:
        hint = "apt-get install iptables libxtables12"
        raise MachineError(f"python-iptables does not find iptables' libraries: {e}", hint=hint) from e
    finally:
        for name in missing:
            del os.environ[name]


def _read_by_iptc(iptc: Any, family: Family, name: str) -> list[Counter]:
    """The table through libiptc, in the thread's namespace.

    Table objects are cached by name, whatever the namespace, so that the handle is opened anew and closed each time.
    Nothing is committed: autocommit would write the table back. A parameter is read by pointing descriptor 1 at a
    pipe for a moment, hence the lock around this.
    """
    found: list[Counter] = []
    table = (iptc.Table if family == 4 else iptc.Table6)(name, autocommit=False)
    table.refresh()
    try:
        for chain in table.chains:
            for rule in chain.rules:
                packets, counted = rule.get_counters()
                found.append(Counter(chain.name, rule_of(_args(rule)).args, packets, counted))
    except (iptc.IPTCError, iptc.XTablesError) as e:
        raise KernelError(f"python-iptables cannot read table {name} (IPv{family}): {e}", item=f"table {name}") from e
    finally:
        table.close()
    return found


def _args(rule: Any) -> list[str]:
    """An iptc rule as the words that a person would type."""
    args: list[str] = []
    for option, value in (
        ("-s", rule.src),
        ("-d", rule.dst),
        ("-i", rule.in_interface),
        ("-o", rule.out_interface),
        ("-p", rule.protocol),
    ):
        # an unnamed protocol is "ip", an unnamed interface None
        if value and not (option == "-p" and value in ("ip", "all")):
            args += _negated(option, [value])
    for match in rule.matches:
        args += ["-m", match.name, *_parameters(match)]
    target = rule.target
    if target is not None and target.name:
        args += ["-g" if target.goto else "-j", target.name, *_parameters(target)]
    return args


def _parameters(module: Any) -> list[str]:
    return [word for key, values in module.get_all_parameters().items() for word in _negated(f"--{key}", values)]


def _negated(option: str, values: list[str]) -> list[str]:
    """`! --option value` for iptc's ["!", "value"] or ["!value"]."""
    if values and values[0] == "!":
        return ["!", option, *values[1:]]
    if option in ("-s", "-d", "-i", "-o", "-p") and values[0].startswith("!"):
        return ["!", option, values[0][1:]]
    return [option, *values]
