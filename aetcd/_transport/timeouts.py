"""How long a call may take, and each step of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from attrs import Factory, evolve, field, frozen

from aetcd.errors import ConfigError

__all__ = ["Budget", "Timeout"]

# Around a leader change a member holds requests for seven seconds: a read had better ask another member by then.
FIRST_BYTE = 2.0

LEAST = 0.001  # seconds that a request is given at least


def _seconds(_: object, attribute: Any, value: object) -> None:
    name = f"timeout.{attribute.name}"
    if value is None and attribute.name != "total":
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not value > 0:
        raise ConfigError(f"{name} must be more than 0 seconds, not {value!r}")


@frozen
class Timeout:
    """Limits of one call, in seconds.

    total: From the call to its whole answer, all attempts included; `math.inf` for none.
    connect: For one connection to stand. Where there are other peers, at most 2 s by default.
    read: The longest silence while an answer is awaited. Where a read can go to another peer, at most 2 s by default;
        a write waits as long as the whole call, since it could not be sent again.
    """

    total: float = field(default=10.0, validator=_seconds)
    connect: float | None = field(default=None, validator=_seconds)
    read: float | None = field(default=None, validator=_seconds)
    # Requests that share their way must have the same; looked at for each, so made once.
    pace: tuple[float | None, float | None] = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: (self.connect, self.read), takes_self=True)
    )

    @classmethod
    def of(cls, value: Timeout | float) -> Timeout:
        """A number of seconds is a total."""
        return value if isinstance(value, Timeout) else cls(value)

    @property
    def attempt(self) -> float:
        """Seconds until another peer is tried, where there is one."""
        return min(FIRST_BYTE, self.total / 3) if self.total != math.inf else FIRST_BYTE


class Budget:
    """What is left of one call's time, where the call takes several requests."""

    def __init__(self, timeout: Timeout | float, clock: Callable[[], float]) -> None:
        self._timeout = Timeout.of(timeout)
        self._clock = clock
        self._started = clock()

    def left(self) -> Timeout:
        """Limits for the next request."""
        spent = self._clock() - self._started
        # The first request of a call, mostly the only one, has all of it: no limits need be made for it.
        if spent < LEAST:
            return self._timeout
        return evolve(self._timeout, total=max(LEAST, self._timeout.total - spent))
