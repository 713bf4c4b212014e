"""Following a job until it has ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import Generic, Protocol, Self, TypeVar

from aetcd._routing.retry import full_jitter
from aetcd.couchdb._arguments import check_seconds
from aetcd.errors import ClientClosed, RequestTimeout, ServerUnavailable, TransportError

__all__ = ["Ending", "States"]

FIRST_PAUSE = 0.05  # seconds; short jobs are over at the second look
LONGEST_PAUSE = 5.0  # seconds, where nobody answers


class Ending(Protocol):
    """A state that may be the last one."""

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        ...


S = TypeVar("S", bound=Ending)


class States(Generic[S]):
    """The states of a job as they change, the last one included, as an async iterator.

    It looks every `interval` seconds, and at first more often. A server that is down or restarts meanwhile is waited
    for. A cancel leaves the job running.
    """

    def __init__(
        self, look: Callable[[], Awaitable[S]], *, interval: float, timeout: float | None, rng: Random
    ) -> None:
        self._look = look
        self._interval = check_seconds(interval, "interval")
        self._limit = math.inf if timeout is None or timeout == math.inf else check_seconds(timeout, "timeout")
        self._rng = rng
        self._pause = 0.0
        self._failures = 0
        self._due: float | None = None
        self._last: S | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> S:
        """The next state that differs from the last one told. Raises RequestTimeout after `timeout` seconds in all."""
        if self._last is not None and self._last.is_final:
            raise StopAsyncIteration
        clock = asyncio.get_running_loop().time
        if self._due is None:
            self._due = clock() + self._limit
        try:
            async with asyncio.timeout_at(None if self._due == math.inf else self._due):
                return await self._next()
        except TimeoutError as e:
            if isinstance(e, RequestTimeout):
                raise
            raise RequestTimeout(f"it has not ended within {self._limit:g} s: {self._last}") from e

    async def last(self) -> S:
        """The final state, waited for."""
        async for state in self:
            if state.is_final:
                return state
        assert self._last is not None
        return self._last

    async def _next(self) -> S:
        while True:
            if self._pause:
                await asyncio.sleep(self._pause)
            try:
                state = await self._look()
            except ClientClosed:
                raise
            except (TransportError, ServerUnavailable):
                self._failures += 1
                doublings = self._failures - 1
                self._pause = full_jitter(self._rng, base=self._interval, cap=LONGEST_PAUSE, doublings=doublings)
                continue
            self._failures = 0
            self._pause = min(self._interval, max(FIRST_PAUSE, self._pause * 2))
            if state != self._last:
                self._last = state
                return state
