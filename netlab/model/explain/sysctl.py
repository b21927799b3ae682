"""Kernel settings: sysctl."""

from __future__ import annotations

from netlab.model.explain.command import Command, command
from netlab.model.sysctl import Sysctl


def create(setting: Sysctl) -> list[Command]:
    # with a dot inside a part (flannel.1) only slashes tell the parts from one another
    name = setting.name if "." in setting.name else setting.name.replace("/", ".")
    return [command("sysctl", "-q", "-w", f"{name}={setting.value}", why=setting.why)]


def change(old: Sysctl, new: Sysctl) -> list[Command]:
    return create(new)


def delete(setting: Sysctl) -> list[Command]:
    """A setting cannot be removed: it goes with its device, or `plan` asks for its former value."""
    return []
