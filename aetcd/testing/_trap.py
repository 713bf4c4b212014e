"""A fault at an exact byte of a conversation."""

from __future__ import annotations

import enum
from typing import Any

import anyio

from aetcd.testing._done import Done

__all__ = ["Direction", "Fault", "Trap"]


class Direction(enum.Enum):
    """Which way bytes go through the proxy."""

    UP = "requests, to the target"
    DOWN = "answers, to the client"


class Fault(enum.Enum):
    """What becomes of the connection whose byte springs a trap."""

    CUT = "cut"
    STALL = "stalled"


class Trap(Done):
    """An armed `TCPProxy.cut_after` or `stall_after`; it springs once, on the first connection that comes so far.

    Awaiting it does nothing, since it is armed when the call returns: `wait()` waits until it has sprung.
    """

    def __init__(self, fault: Fault, direction: Direction, limit: int, match: bytes | None) -> None:
        super().__init__()
        self.fault = fault
        self.direction = direction
        self._limit = limit
        self._match = match
        self._counted: dict[Any, int] = {}
        self._sprung = anyio.Event()

    @property
    def sprung(self) -> bool:
        """Whether it has happened."""
        return self._sprung.is_set()

    async def wait(self, timeout: float = 10) -> None:
        """Wait until it has happened. timeout: Seconds until TimeoutError."""
        try:
            with anyio.fail_after(timeout):
                await self._sprung.wait()
        except TimeoutError as late:
            raise TimeoutError(f"{self!r} was not sprung within {timeout} s") from late

    def room(self, connection: object, direction: Direction, piece: bytes) -> int | None:
        """How many bytes of this piece pass before it springs; None when it does not spring in this piece."""
        if self._match is not None and connection not in self._counted:
            if direction is not Direction.UP or self._match not in piece:
                return None
            self._counted[connection] = 0
        if direction is not self.direction:
            return None
        room = self._limit - self._counted.get(connection, 0)
        return room if room <= len(piece) else None

    def count(self, connection: object, direction: Direction, passed: int) -> None:
        """Bytes of this connection have passed."""
        if direction is self.direction and (self._match is None or connection in self._counted):
            self._counted[connection] = self._counted.get(connection, 0) + passed

    def spring(self) -> None:
        """It has happened."""
        self._counted.clear()
        self._sprung.set()

    def __repr__(self) -> str:
        given = "sent" if self.direction is Direction.UP else "received"
        matching = "" if self._match is None else f", match={self._match!r}"
        return f"<Trap: {self.fault.value} after {given}={self._limit}{matching}>"
