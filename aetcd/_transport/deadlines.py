"""Limits of what tasks do: one timer for all of them, since most are never reached."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Generic, TypeVar

import msgspec

__all__ = ["Deadline", "Deadlines"]


class Deadline(msgspec.Struct, eq=False):
    """What a task does, and when it is given up.

    due: By the loop's clock.
    cancels: How often the task had been cancelled when this began.
    late: It was given up: the task is cancelled, for no other reason.
    """

    task: asyncio.Task[Any]
    due: float
    cancels: int
    late: bool = False

    def give_up(self) -> None:
        """What `asyncio.timeout` does too, which would need a timer and two coroutines each time."""
        if not self.late:
            self.late = True
            self.task.cancel()

    @property
    def overdue(self) -> bool:
        """To be asked once, where the task was cancelled: whether that was by `give_up` alone."""
        return self.late and self.task.uncancel() <= self.cancels


D = TypeVar("D", bound=Deadline)


class Deadlines(Generic[D]):
    """What runs now in one event loop, at most one thing for each task.

    running: By task.
    """

    def __init__(self, kind: type[D]) -> None:
        self.running: dict[asyncio.Task[Any] | None, D] = {}
        self._kind = kind
        self._timer: asyncio.TimerHandle | None = None
        self._next_due = math.inf

    def begin(self, seconds: float) -> D:
        """The running task has so many seconds, until `end`. Infinitely many are none to wait for."""
        task = asyncio.current_task()
        assert task is not None
        limit = self._kind(task, task.get_loop().time() + seconds, task.cancelling())
        if limit.due < self._next_due:
            self._look_at(limit.due)
        self.running[task] = limit
        return limit

    def end(self, limit: D) -> None:
        """It is over, in time or not."""
        del self.running[limit.task]

    def prolong(self, limit: D, seconds: float) -> None:
        """Have its seconds begin anew."""
        # The timer looks for itself whether it is early: it need not be moved.
        limit.due = limit.task.get_loop().time() + seconds

    def stop(self) -> None:
        """Give up nothing more: what runs is being ended by others, and nothing begins."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def give_up(self) -> None:
        """End all that runs now."""
        self.stop()
        for limit in self.running.values():
            limit.give_up()

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._ring)

    def _ring(self) -> None:
        """Give up what is due, and have the rest looked at when the first of it is."""
        now, next_due = asyncio.get_running_loop().time(), math.inf
        for limit in self.running.values():
            if limit.due <= now:
                limit.give_up()
            else:
                next_due = min(next_due, limit.due)
        self._timer, self._next_due = None, math.inf
        if next_due < math.inf:
            self._look_at(next_due)
