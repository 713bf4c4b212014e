"""Members that are killed while the client is at work."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import pairwise

from benchmarks.cases.keys import KEYS, VALUE
from benchmarks.cases.watches import PACED
from benchmarks.contract import Absent, Contract
from benchmarks.stage import Stage, percentile

__all__ = ["outage", "silence", "survival"]

PAUSE = 0.005
PATIENCE = 2.0  # seconds for one request; a client's own limit may be shorter


async def outage(client: Contract, stage: Stage, *, seconds: float) -> dict[str, float]:
    """The longest time between two answers, of one request after the other, while a member is killed.

    The member is the one that the client was given first, and does not lead, so that no election is measured. Errors
    are caught, and the next request follows: what counts is when there is an answer again.
    """
    await client.get(KEYS[0])
    stage.ready()
    end = time.monotonic() + seconds
    answered = [time.monotonic()]
    errors = 0
    while time.monotonic() < end:
        try:
            async with asyncio.timeout(PATIENCE):
                await client.get(KEYS[0])
            answered.append(time.monotonic())
        except Exception:  # noqa: BLE001 - whatever a client raises
            errors += 1
        await asyncio.sleep(PAUSE)
    return _gap(answered, end, seconds, errors=errors)


async def silence(client: Contract, stage: Stage, *, seconds: float) -> dict[str, float]:
    """The longest time between two changes that a watch tells, while a member is killed.

    Another process writes a hundred changes a second to the members that stay.
    """
    async with client.watch(PACED, recursive=True) as values:
        stage.ready()
        end = time.monotonic() + seconds
        told = [time.monotonic()]
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + seconds):
                while True:
                    await anext(values)
                    told.append(time.monotonic())
        except (TimeoutError, StopAsyncIteration):
            pass
    return _gap(told, end, seconds, errors=0)


def _gap(moments: list[float], end: float, seconds: float, **more: float) -> dict[str, float]:
    longest = max(after - before for before, after in pairwise([*moments, max(end, moments[-1])]))
    if end - moments[-1] > seconds / 2:
        raise Absent(f"nothing any more for {end - moments[-1]:.0f} s after the member was killed")
    return {"operations": len(moments), "longest": longest, **more}


async def survival(client: Contract, stage: Stage, *, tasks: int, seconds: float) -> dict[str, float]:
    """What becomes of the operations of so many tasks, half of them reads, while members are killed in turn.

    Each task asks, waits for the answer, and pauses. Failed: an error, and the operation had no effect, as reads never
    have. Unknown: an error of a write that may have been applied; clients that do not tell which have all of them here.
    """
    found: Counter[str] = Counter(answered=0, failed=0, unknown=0)
    took: list[float] = []
    stage.ready()
    end = time.monotonic() + seconds

    async def work(number: int) -> None:
        reads = number % 2 == 0
        while (began := time.monotonic()) < end:
            try:
                async with asyncio.timeout(10):
                    await (client.get(KEYS[number % 64]) if reads else client.put(KEYS[number % 64], VALUE))
                found["answered"] += 1
            except Exception as e:  # noqa: BLE001 - whatever a client raises
                found["unknown" if not reads and client.applied(e) else "failed"] += 1
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(work(number))
    return {"operations": len(took), "p99": percentile(took, 99), "longest": max(took), **found}
