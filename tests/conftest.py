"""What all tests share: `tests/` is on the path, so that `import strategies` works under --import-mode=importlib."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# how long an example takes says more about what else the machine does than about us
settings.register_profile("netlab", deadline=None)
settings.load_profile("netlab")

sys.path.insert(0, str(Path(__file__).parent))

# Who is started in the background by a shell ignores interrupts, and so would all that a test starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What collecting makes stays: to look through it for garbage again and again is a third of the time that collecting takes.
gc.disable()

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what tests/golden compares with anew")
    parser.addoption(
        "--all-kubectls", action="store_true", help="the tour of pods with every version that is installed"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a whole output with the file of that name in tests/golden, or write it with --update-golden."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"{file} is missing: pytest --update-golden writes it"
        assert text == file.read_text(encoding="utf-8"), f"{file} differs: look, then pytest --update-golden"

    return compare


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "not_in_vm(reason): left out where scripts/vm-test runs the tests, and why")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a VM, leave out what says by itself that it has no business there. A skip would be a failure."""
    if "NETLAB_VM" not in os.environ:
        return
    out = [item for item in items if item.get_closest_marker("not_in_vm")]
    if out:
        config.hook.pytest_deselected(items=out)
        left = set(out)
        items[:] = [item for item in items if item not in left]


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
