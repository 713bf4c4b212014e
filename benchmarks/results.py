"""What was measured, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import quantiles
from typing import Any

from attrs import define, field, frozen

__all__ = ["FIGURES", "Results", "Spread"]

Slice = Mapping[str, float]


@frozen(kw_only=True)
class Spread:
    """Figures of several rounds: the middle one, and the quartiles around it."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        low, middle, high = quantiles(figures, n=4, method="inclusive") if len(figures) > 1 else [*figures] * 3
        return cls(low=low, middle=middle, high=high)


def _for_each(name: str, scale: float) -> Callable[[Slice], float]:
    return lambda one: one[name] / one["operations"] * scale


def _plain(name: str, scale: float = 1.0) -> Callable[[Slice], float]:
    return lambda one: one[name] * scale


FIGURES: Mapping[str, Callable[[Slice], float]] = {
    "per second": lambda one: one["operations"] / one["wall"],
    "CPU us": _for_each("cpu", 1e6),
    "server us": _for_each("server", 1e6),
    "p50 ms": _plain("p50", 1e3),
    "p99 ms": _plain("p99", 1e3),
    "time us": _for_each("wall", 1e6),
    "ready ms": _plain("wall", 1e3),
    "CPU ms": _plain("cpu", 1e3),
    "import ms": _plain("wall", 1e3),
    "import CPU ms": _plain("cpu", 1e3),
    "memory MB": _plain("memory"),
    "connections": _plain("connections"),
    "longest ms": _plain("longest", 1e3),
    "answered": _plain("answered"),
    "failed": _plain("failed"),
    "unknown": _plain("unknown"),
}
"""How each figure of the tables is made of one measurement."""


@define
class Results:
    """All rows.

    rows: By row and contestant, the measurements of each round, or why there are none.
    figures: By row, what is shown of it; `short`: in the short table.
    growth: By what grows and its size, the microseconds of each round.
    """

    about: dict[str, Any]
    peers: Sequence[str] = ()
    rows: dict[str, dict[str, list[dict[str, float]] | str]] = field(factory=dict)
    figures: dict[str, Sequence[str]] = field(factory=dict)
    short: dict[str, Sequence[str]] = field(factory=dict)
    growth: dict[str, dict[int, list[float]]] = field(factory=dict)

    def slices(self, row: str, name: str) -> list[dict[str, float]]:
        """The measurements of one contestant. Raises LookupError where there are none."""
        found = self.rows[row][name]
        if isinstance(found, str):
            raise LookupError(f"{name}: {found}")
        return found

    def spread(self, row: str, name: str, figure: str) -> Spread | None:
        """One figure, or None where it was not measured."""
        found = self.rows[row].get(name)
        return Spread.of([FIGURES[figure](one) for one in found]) if isinstance(found, list) else None

    def middle(self, row: str, name: str, figure: str) -> float:
        """The middle of the rounds."""
        return Spread.of([FIGURES[figure](one) for one in self.slices(row, name)]).middle

    def ratio(self, row: str, ours: str, other: str, figure: str) -> float:
        """The one beside the other, each round by itself: what slows a round down falls on both."""
        pairs = zip(self.slices(row, ours), self.slices(row, other), strict=False)
        return Spread.of([FIGURES[figure](one) / FIGURES[figure](two) for one, two in pairs]).middle

    def best(self, row: str, figure: str, *, most: bool = False, among: Iterable[str] | None = None) -> str:
        """The peer that is best in it. Raises LookupError where none was measured."""
        measured = [name for name in among or self.peers if isinstance(self.rows[row].get(name), list)]
        if not measured:
            raise LookupError("no peer was measured")
        return (max if most else min)(measured, key=lambda name: self.middle(row, name, figure))
