"""The cluster's members, followed while the client lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field

from aetcd._transport.discovery import is_loopback, reachable
from aetcd.errors import AetcdError, ConfigError

if TYPE_CHECKING:
    from aetcd._transport.pool import Pool

__all__ = ["Membership", "sync_interval"]

logger = logging.getLogger("aetcd")

EVERY = 60.0  # seconds between readings by default
AGAIN = 5.0  # seconds until a failed reading is tried again
GAP = 1.0  # seconds between readings at least, however many peers are lost


def sync_interval(member_sync: bool | float) -> float | None:
    """Seconds between readings, or None for none. Raises ConfigError or TypeError, naming the argument."""
    if isinstance(member_sync, bool):
        return EVERY if member_sync else None
    if not isinstance(member_sync, int | float):
        raise TypeError(f"member_sync must be True, False or a number of seconds, not {member_sync!r}")
    if not 0 < member_sync < float("inf"):
        raise ConfigError(f"member_sync must be more than 0 seconds, and finite, not {member_sync!r}")
    return float(member_sync)


@define(eq=False)
class Membership:
    """Tells the pool where the cluster's members serve clients: at once, at intervals, and when a peer was lost.

    What it learns comes beside the configured peers, which stay. Its errors are nobody's: it tries again.

    read: Asks the cluster for its members' client URLs, those of learners left out.
    every: Seconds between two readings.
    """

    pool: Pool
    read: Callable[[], Awaitable[Iterable[str]]]
    every: float
    _started: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin, in the background of the pool. A second time changes nothing."""
        if not self._started:
            self._started = True
            self.pool.spawn(self._follow, name="membership")

    async def _follow(self) -> None:
        while True:
            self.pool.lost_peer.clear()
            well = await self._learn()
            await asyncio.sleep(min(GAP, self.every))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.every if well else min(AGAIN, self.every)):
                    await self.pool.lost_peer.wait()

    async def _learn(self) -> bool:
        try:
            urls = await self.read()
        except AetcdError as e:
            logger.debug("the cluster's members were not read: %s", e)
            return False
        peers = reachable(urls, local=any(is_loopback(peer) for peer in self.pool.peers))
        if peers:
            self.pool.learn(peers)
        return bool(peers)
