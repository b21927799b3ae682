"""Pictures of figures, by matplotlib, which only they need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netlab.base.errors import InputError, MachineError


def bars(path: Path, title: str, panels: Mapping[str, Mapping[str, float]], units: Mapping[str, str]) -> None:
    """Horizontal bars, a panel for each metric. The file's ending says the format (svg, png, pdf)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        hint = "pip install 'matplotlib>=3.8,<4'"
        raise MachineError("matplotlib is not installed, and a plot is its work", hint=hint) from None
    figure = Figure(figsize=(10, 1 + 0.32 * sum(len(panel) + 2 for panel in panels.values())), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        names = list(panel)[::-1]
        drawn = axis.barh(names, [panel[n] for n in names])
        axis.bar_label(drawn, fmt="%.4g", padding=3)
        axis.set_title(f"{name} ({units[name]})", loc="left", fontsize=10)
        axis.margins(x=0.12)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as e:
        raise InputError(f"{path} cannot be written: {e}", hint="name a .svg, .png or .pdf file") from e
