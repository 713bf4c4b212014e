"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Results, Spread
from benchmarks.rows import GROWTH

__all__ = ["draw"]

OURS, OTHERS, FLOOR, SERVER = "#1f6feb", "#8b949e", "#57606a", "#d0d7de"


def draw(results: Results, folder: Path) -> None:
    """Write the plots of what was measured."""
    mpl.rcParams.update(
        {
            "svg.hashsalt": "aetcd",
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    _bars(
        results,
        folder / "overview.svg",
        [
            ("get, 64 callers", "CPU us", "get, 64 callers: us of CPU (pale: server)"),
            ("put, 64 callers", "CPU us", "put, 64 callers: us of CPU (pale: server)"),
            ("1,000 watches", "ready ms", "1,000 watches: ms until all stand"),
            ("lock, 20 contenders", "per second", "a lock, 20 contenders: hand-overs a second"),
        ],
    )
    _bars(
        results,
        folder / "latency.svg",
        [
            ("get, 1 caller", "p50 ms", "gets, one after the other: ms, p50"),
            ("put, 1 caller", "p50 ms", "puts, one after the other: ms, p50"),
            ("watch, paced", "p50 ms", "a paced watch: ms until it tells, p50"),
            ("watch, flood", "CPU us", "a flood: us of client CPU for a change"),
        ],
    )
    if results.growth:
        _lines(results, folder / "growth.svg")


def _bars(results: Results, path: Path, panels: Sequence[tuple[str, str, str]]) -> None:
    panels = [panel for panel in panels if panel[0] in results.rows]
    if not panels:
        return
    height = (len(panels) + 1) // 2
    figure, axes = plt.subplots(height, 2, figsize=(10, 3 * height), squeeze=False, layout="constrained")
    for (row, name, title), ax in zip(panels, axes.flat, strict=False):
        _panel(results, row, name, ax)
        ax.set_title(title)
    _save(figure, path)


def _panel(results: Results, row: str, figure: str, ax: Axes) -> None:
    found = [(name, spread) for name in results.rows[row] if (spread := results.spread(row, name, figure))]
    found.sort(key=lambda one: one[1].middle, reverse=figure != "per second")
    for place, (name, spread) in enumerate(found):
        color = OURS if name.startswith("aetcd v") else FLOOR if name.startswith("raw") else OTHERS
        ax.barh(
            place, spread.middle, color=color, xerr=[[side] for side in _sides(spread)], error_kw={"elinewidth": 0.8}
        )
        if figure == "CPU us" and (server := results.spread(row, name, "server us")) and "callers" in row:
            ax.barh(place, server.middle, left=spread.middle, color=SERVER, zorder=0)
    ax.set_yticks(range(len(found)), [name for name, _ in found])


def _lines(results: Results, path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(9, 5), layout="constrained")
    for growth, ax in zip(GROWTH, axes.flat, strict=True):
        costs = {size: Spread.of(found) for size, found in results.growth[growth.name].items()}
        below, above = zip(*map(_sides, costs.values()), strict=True)
        ax.errorbar(list(costs), [cost.middle for cost in costs.values()], yerr=[below, above], marker="o", color=OURS)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(growth.name)
        ax.set_title(growth.figure)
    _save(figure, path)


def _sides(spread: Spread) -> tuple[float, float]:
    return spread.middle - spread.low, spread.high - spread.middle


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
