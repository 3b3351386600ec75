"""A curve as a picture: steps per second and peak memory in log-log axes, the fitted lines, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.scaling.growth import Growth

__all__ = ["plot"]

_QUANTITIES = {"steps_per_s": "steps/s", "grown_mib": "peak memory above the imports, MiB"}


def plot(path: Path, axis: str, rows: Sequence[Mapping[str, Any]], fitted: Mapping[str, Growth | None]) -> None:
    """Write an SVG.

    Args:
        path: of the file.
        axis: the column of x.
        rows: the points.
        fitted: a line for each quantity.
    """
    mpl.use("svg")
    plt.rcParams["svg.hashsalt"] = "softreg"
    figure, panels = plt.subplots(1, len(_QUANTITIES), figsize=(10, 4), layout="constrained")
    for panel, (quantity, name) in zip(panels, _QUANTITIES.items(), strict=True):
        _draw(panel, axis, rows, quantity, fitted.get(quantity))
        panel.set_ylabel(name)
    # No date in the file: the same figures give the same bytes.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw(panel: Axes, axis: str, rows: Sequence[Mapping[str, Any]], quantity: str, line: Growth | None) -> None:
    for is_streamed, style, label in ((False, "o-", "in memory"), (True, "s", "streamed")):
        points = [row for row in rows if bool(row.get("is_streamed")) is is_streamed]
        if points:
            panel.loglog([row[axis] for row in points], [row[quantity] for row in points], style, label=label)
    title = "no range is a line"
    if line is not None:
        ends = (line.start, line.end)
        panel.loglog(ends, [line.at(x) for x in ends], "k--", linewidth=1, label="fitted")
        title = str(line).replace("x", axis)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(axis)
    panel.grid(alpha=0.3, which="both")
    panel.legend(fontsize=8)
