"""What the shell completes on our behalf. It runs at every press of TAB: no heavy import."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

#: where the running labs keep their state
RUN_DIR = Path("/run/netlab")


def lab_dirs() -> list[Path]:
    """The directories that may hold labs."""
    from netlab.lab.labfile import search_path

    return search_path()


def lab_names() -> list[str]:
    """Every directory with a lab.yaml in `lab_dirs`, and every lab that is up; sorted."""
    found = {file.parent.name for directory in lab_dirs() for file in directory.glob("*/lab.yaml")}
    return sorted(found | {state.name for state in RUN_DIR.glob("*") if state.is_dir()})


def complete_lab(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For `shell_complete=` of an argument that takes a lab's name."""
    return [CompletionItem(name) for name in lab_names() if name.startswith(incomplete)]
