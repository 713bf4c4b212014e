"""Until when a lease may be believed in, and how its holder is told."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from attrs import define, field

__all__ = ["Clock", "Flag", "Trust", "boot_clock"]

Clock = Callable[[], float]
"""Seconds since some fixed moment, never set back. It must go on while the machine sleeps, for leases do."""

# Linux's CLOCK_MONOTONIC, which event loops read, stands still while the machine is suspended.
_CLOCK_ID: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_clock() -> float:
    """Seconds since the machine was started, suspended time included where the system can tell."""
    return time.clock_gettime(_CLOCK_ID)


class Flag:
    """Something that becomes true once and stays so. Its truth is `is_set`."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._event.is_set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Make it true. A second time changes nothing."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it has happened. A cancel leaves nothing behind."""
        await self._event.wait()

    def __repr__(self) -> str:
        return f"<Flag {'set' if self else 'not set'}>"


@define
class Trust:
    """What a holder may believe: the server keeps the lease at least until `until`.

    The server counts a lease's life from a moment after the renewal was sent, so counting from the sending is never too
    long. clock_skew is taken off where servers' own wall clocks judge the expiry.
    """

    clock: Clock
    clock_skew: float = 0.0
    until: float = field(default=-math.inf, init=False)
    _over: bool = field(default=False, init=False)

    def confirm(self, sent: float, ttl: float) -> None:
        """A renewal that was sent at `sent` was granted `ttl` seconds. Answers may come in any order.

        One that comes after the trust has ended does not bring it back: who asked in between was told that it was over.
        """
        if self.until > -math.inf and not self.held:
            self.end()
        if not self._over:
            self.until = max(self.until, sent + ttl - self.clock_skew)

    def end(self) -> None:
        """The server said that it is over: for good, also where a confirmation comes late."""
        self._over = True
        self.until = -math.inf

    @property
    def remaining(self) -> float:
        """Seconds left, by the clock now; never less than 0."""
        return max(0.0, self.until - self.clock())

    @property
    def held(self) -> bool:
        """Whether it may be believed in now."""
        return self.clock() < self.until
