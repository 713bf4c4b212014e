"""Markdown tables, and figures in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.results import Spread

__all__ = ["line", "number", "spread"]


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def spread(found: Spread | None) -> str:
    """The middle, and the quartiles where they differ; nothing where it was not measured."""
    if found is None:
        return ""
    if found.low == found.high:
        return number(found.middle)
    return f"{number(found.middle)} [{number(found.low)}-{number(found.high)}]"


def number(figure: float) -> str:
    """Three digits that say something."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"
