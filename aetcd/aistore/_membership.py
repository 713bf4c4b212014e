"""The cluster's gateways, followed while the client lives: any of them serves."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field

from aetcd._transport.discovery import is_loopback, reachable
from aetcd.errors import AetcdError, ConfigError

if TYPE_CHECKING:
    from aetcd.aistore._link import Link
    from aetcd.aistore._node_models import ClusterMap

__all__ = ["Membership", "sync_interval"]

logger = logging.getLogger("aetcd")

EVERY = 60.0  # seconds between readings by default
GAP = 1.0  # seconds between readings at least, however many gateways are lost


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
    """Tells the pool which gateways the cluster map has: whenever it is read, at intervals, and when one was lost.

    The configured ones stay beside them. Its errors are nobody's: it tries again.
    """

    link: Link
    every: float
    _started: bool = field(default=False, init=False)

    def learn(self, known: ClusterMap) -> None:
        """A map was read, by whomever."""
        pool = self.link.pool
        local = any(is_loopback(peer) for peer in pool.peers)
        urls = [node.url for node in known.gateways.values() if node.url and not node.in_maintenance]
        if peers := reachable(urls, local=local):
            pool.learn(peers)
        if not self._started:
            self._started = True
            pool.spawn(self._follow, name="cluster map")

    async def _follow(self) -> None:
        pool = self.link.pool
        while True:
            pool.lost_peer.clear()
            await asyncio.sleep(min(GAP, self.every))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.every):
                    await pool.lost_peer.wait()
            try:
                await self.link.read_map()
            except AetcdError as e:
                logger.debug("the cluster map was not read: %s", e)
