"""Leases: renewed."""

from __future__ import annotations

import asyncio

from benchmarks.contract import Contract
from benchmarks.stage import Meter, Stage

__all__ = ["renewals"]

TOGETHER = 64  # grants, so that they are answered in time; they are not measured


async def renewals(client: Contract, stage: Stage, *, leases: int, times: int) -> dict[str, float]:
    """Every one of so many leases is renewed, all at once, and all must be confirmed.

    How often a client renews by itself is its choice and would be measured along, so each renewal is asked for. On v2,
    which has no leases, it is a key with a TTL that is refreshed.
    """
    renew = []
    for first in range(0, leases, TOGETHER):
        numbers = range(first, min(leases, first + TOGETHER))
        renew += await asyncio.gather(*(client.lease(f"bench/lease/{number}") for number in numbers))
    with Meter() as meter:
        for _ in range(times):
            await asyncio.gather(*(one() for one in renew))
    return meter.figures(leases * times)
