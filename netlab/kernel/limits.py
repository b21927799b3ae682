"""How much this process may have open at once."""

from __future__ import annotations

import resource

from netlab.base.errors import MachineError


def allow_files(count: int) -> None:
    """Raise the soft limit of open files for labs of many namespaces."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard < count:
            raise MachineError(
                f"{count} files have to be open at once and this process may open {hard}",
                hint=f"raise the limit first: ulimit -Hn {count}",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
