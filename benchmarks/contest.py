"""Two contestants, measured in turns in one run, and what their figures say."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from statistics import quantiles
from typing import Any

from attrs import define, field, frozen

__all__ = ["Amount", "Case", "Goal", "Operation", "Spread", "run"]


@frozen(kw_only=True)
class Amount:
    """How much one slice measures: so many operations, or for so many seconds."""

    count: int | None
    seconds: float

    def turns(self) -> Iterator[None]:
        """One turn for each operation. Callers share it, so that none is idle before the last turn."""
        if self.count is not None:
            yield from [None] * self.count
            return
        end = time.perf_counter() + self.seconds
        yield None
        while time.perf_counter() < end:
            yield None

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if self.count is None else f"{self.count} operations"


@frozen(kw_only=True)
class Slice:
    """What was measured in one go: seconds on the wall, and seconds of this process's CPU, the client's that is."""

    operations: int
    wall: float
    cpu: float


@frozen(kw_only=True)
class Goal:
    """The most that aetcd should take of the floor's `wall` time or `cpu`."""

    figure: str
    most: float


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


Operation = Callable[[], Awaitable[object]]


@define(kw_only=True)
class Case:
    """One row: what both contestants do, and what each round measured of them.

    changes: How many changes one operation brings, where that is what is counted; one at a time is read, and once.
    """

    name: str
    raw: Operation
    aetcd: Operation
    callers: int = 1
    changes: int = 1
    goal: Goal | None = None
    raw_slices: list[Slice] = field(factory=list)
    aetcd_slices: list[Slice] = field(factory=list)

    async def measure(self, amount: Amount, *, raw_first: bool) -> None:
        """One round. Who goes first must change: a machine that slows down or warms up would favour one of them."""
        contestants = [(self.raw, self.raw_slices), (self.aetcd, self.aetcd_slices)]
        for operation, slices in contestants if raw_first else reversed(contestants):
            slices.append(await _measure(operation, self.callers, self.changes, amount))

    def forget(self) -> None:
        """What was measured was the warm-up: connections were opened."""
        self.raw_slices.clear()
        self.aetcd_slices.clear()

    def cpu(self, slices: Sequence[Slice]) -> Spread:
        """Microseconds of the client's CPU per operation."""
        return Spread.of([1e6 * piece.cpu / piece.operations for piece in slices])

    def rate(self, slices: Sequence[Slice]) -> Spread:
        """Operations per second."""
        return Spread.of([piece.operations / piece.wall for piece in slices])

    def ratio(self, figure: str) -> Spread:
        """Aetcd's `cpu` or `wall` per operation beside the floor's, each round by itself."""

        def each(piece: Slice) -> float:
            return float(getattr(piece, figure)) / piece.operations

        return Spread.of([each(own) / each(raw) for own, raw in zip(self.aetcd_slices, self.raw_slices, strict=True)])

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached, or None without one."""
        return None if self.goal is None else self.ratio(self.goal.figure).middle <= self.goal.most

    def as_dict(self) -> dict[str, Any]:
        """All of it, for a program."""
        return {
            "name": self.name,
            "callers": self.callers,
            "raw": {"cpu_us": self.cpu(self.raw_slices), "per_second": self.rate(self.raw_slices)},
            "aetcd": {"cpu_us": self.cpu(self.aetcd_slices), "per_second": self.rate(self.aetcd_slices)},
            "ratio": {"cpu": self.ratio("cpu"), "wall": self.ratio("wall")},
            "goal": self.goal,
            "met": self.met,
        }


async def run(cases: Sequence[Case], amount: Amount, rounds: int) -> None:
    """Measure all cases in turns, so that a slow minute of the machine falls on all of them, after a warm-up."""
    for turn in range(rounds + 1):
        for case in cases:
            await case.measure(amount, raw_first=turn % 2 == 0)
            if turn == 0:
                case.forget()


async def _measure(operation: Operation, callers: int, changes: int, amount: Amount) -> Slice:
    turns = iter([None]) if changes > 1 else amount.turns()
    done = 0

    async def caller() -> None:
        nonlocal done
        for _ in turns:
            await operation()
            done += changes

    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return Slice(operations=done, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
