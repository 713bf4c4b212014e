"""Locks: taken and given up."""

from __future__ import annotations

from benchmarks.contract import Contract
from benchmarks.stage import Meter, Stage, in_turns, percentile

__all__ = ["handovers"]


async def handovers(
    client: Contract, stage: Stage, *, contenders: int, count: int | None, seconds: float
) -> dict[str, float]:
    """So many contenders of one client want one lock, hold it for nothing, and want it again.

    Each taking is a new entry in the queue, as when each contender were a job. Lock and unlock are each client's own,
    with a TTL of 15 s where there is one. The operation is one taking; its latency is the wait.
    """
    inside = 0

    async def one(number: int) -> None:
        nonlocal inside
        async with client.lock(f"bench/lock/{contenders}"):
            inside += 1
            if inside > 1:
                raise RuntimeError("two hold the lock")
            inside -= 1

    with Meter() as meter:
        took = await in_turns(contenders, count, seconds, one)
    return meter.figures(len(took), p50=percentile(took, 50), p99=percentile(took, 99))
