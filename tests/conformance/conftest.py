"""The official conformance behaviours: which there are, which pass here, and a table of that.

behaviours.tsv lists them: area, title, what they need beside an API server, and their essence. That may be nothing;
simulated nodes, where pods have to run and nobody asks their containers; a cluster of real nodes, which takes root; or
what nobody has a test for yet. A behaviour's test is named by its title: `test_` and the title in lower case with `_`
for what is no letter or digit, or any name whose parameter has that as its id. table.tsv is what the last whole run
found: passed (and where, if it took more than a server), failed, or not yet and why. A run that finds something else
fails; `pytest tests/conformance --update-golden` writes the table anew.
"""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from titles import slug

if TYPE_CHECKING:
    from podworld import Api

HERE = Path(__file__).parent
TABLE = HERE / "table.tsv"
#: what is enough for behaviours that take a running pod, but not its containers; and what has all
SIMULATED, CLUSTER = "simulated nodes", "a cluster"
sys.path.insert(0, str(HERE))


class Behaviour(NamedTuple):
    """needs: what it waits for, "" if an API server is enough."""

    area: str
    title: str
    needs: str
    essence: str


class Row(NamedTuple):
    """outcome: passed, failed or not yet."""

    area: str
    title: str
    outcome: str
    why: str


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


BEHAVIOURS = {slug(row[1]): Behaviour(*row) for row in _read(HERE / "behaviours.tsv")}
_outcomes: dict[str, str] = {}


def _behaviour_of(nodeid: str) -> str | None:
    path, _, name = nodeid.partition("::")
    # `name[id]@group`, of which some or all are there
    plain, _, parameter = name.partition("@")[0].partition("[")
    found = parameter.removesuffix("]") if parameter else plain.removeprefix("test_")
    return found if path.startswith("tests/conformance/") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test is one of a behaviour."""
    for item in items:
        name = _behaviour_of(item.nodeid)
        if name is not None and name not in BEHAVIOURS:
            raise pytest.UsageError(f"{item.nodeid}: behaviours.tsv has no such behaviour")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what became of a behaviour. A skip says nothing about it."""
    name = _behaviour_of(report.nodeid)
    if name is None or report.skipped:
        return
    if report.failed or report.when == "call":
        _outcomes[name] = "failed" if report.failed or _outcomes.get(name) == "failed" else "passed"


def _rows() -> list[Row]:
    """The table as this run leaves it: what did not run is as it was."""
    before = {row[1]: Row(*row) for row in _read(TABLE)} if TABLE.exists() else {}
    rows = []
    for name, b in BEHAVIOURS.items():
        waits = Row(b.area, b.title, "not yet", f"needs {b.needs}" if b.needs else "no test")
        outcome = _outcomes.get(name)
        kept = before.get(b.title, waits) if b.needs in ("", SIMULATED, CLUSTER) else waits
        how = f"on {b.needs}" if b.needs and outcome == "passed" else ""
        rows.append(Row(b.area, b.title, outcome, how) if outcome else kept)
    return rows


def _write(rows: list[Row]) -> None:
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        writer.writerows([Row._fields, *rows])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table, or compare with it."""
    if not _outcomes or hasattr(session.config, "workerinput"):  # of several processes, the first one knows all
        return
    rows = _rows()
    if session.config.getoption("--update-golden"):
        _write(rows)
    elif session.exitstatus == 0 and (not TABLE.exists() or [Row(*r) for r in _read(TABLE)] != rows):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many of each, in all and of what needs no more than an API server."""
    if not _outcomes:
        return
    rows = _rows()
    alone = {b.title for b in BEHAVIOURS.values() if not b.needs}
    for what, chosen in (("all", rows), ("API alone", [r for r in rows if r.title in alone])):
        count = Counter(r.outcome for r in chosen)
        told = ", ".join(f"{count[o]} {o}" for o in ("passed", "failed", "not yet"))
        terminalreporter.write_line(f"conformance, {what}: {told}, of {len(chosen)}")
    if not config.getoption("--update-golden") and TABLE.exists():
        before = {Row(*r) for r in _read(TABLE)}
        for row in rows:
            if row not in before:
                terminalreporter.write_line(f"differs from {TABLE.name}: {row.title}: {row.outcome}")


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A cluster of real nodes, for all behaviours that need one."""
    from podworld import cluster

    with cluster(f"cf{os.getpid()}", tmp_path_factory.mktemp("conformance")) as found:
        yield found
