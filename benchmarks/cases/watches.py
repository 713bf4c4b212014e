"""Watches: how late, how costly, how many. The writer is always another process."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from benchmarks.contract import Contract
from benchmarks.stage import Meter, Stage, connections, percentile

__all__ = ["FLOOD", "PACED", "flood", "paced", "standing"]

PACED, FLOOD = "bench/paced", "bench/flood"
AGAIN = 0.25  # seconds until a change that was not told is made again
REPORTED = 100  # changes between two words to the writer, which keeps within a window


async def paced(client: Contract, stage: Stage, *, count: int) -> dict[str, float]:
    """Seconds from the writer's call to the reader's value, at a pace that leaves everybody idle most of the time.

    The value is the time of the write, by the clock that both processes share. Writer and pace are the same for all.
    """
    async with client.watch(PACED, recursive=True) as values:
        with Meter() as meter:
            stage.ready()
            late = [-float(await anext(values)) + time.monotonic() for _ in range(count)]
    return meter.figures(count, p50=percentile(late, 50), p99=percentile(late, 99))


async def flood(client: Contract, stage: Stage, *, count: int) -> dict[str, float]:
    """One watch reads changes as fast as they are written, each in a revision of its own.

    The writer is the same for all, in another process, with 128 writes under way together, and at most 500 changes
    ahead of the reader: a server of v2 remembers 1,000. Only the reader's CPU counts. The first change starts the
    clock.
    """
    async with client.watch(FLOOD, recursive=True) as values:
        stage.ready()
        await anext(values)
        with Meter() as meter:
            for number in range(1, count):
                await anext(values)
                if number % REPORTED == 0:
                    stage.progress(number)
    return meter.figures(count - 1)


async def standing(client: Contract, stage: Stage, *, count: int, folder: str = "bench/standing") -> dict[str, float]:
    """As many watches, each of one key, entered together, until the last one has told of a change.

    That change is made after all were entered, by the client itself, and is part of what is measured: some clients
    call a watch entered when it is sent. Those hear of a change that came too early never, so it is made again. One
    watch and one write came before, so that connections and code are there: what those take is the start's row.
    """
    last = f"{folder}/{count - 1}"
    async with client.watch(f"{folder}/first"):
        await client.put(f"{folder}/first", "now")
    async with AsyncExitStack() as entered:
        watches = [client.watch(f"{folder}/{number}") for number in range(count)]
        with Meter() as meter:
            values = await asyncio.gather(*(entered.enter_async_context(watch) for watch in watches))
            told = asyncio.ensure_future(anext(values[-1]))
            try:
                while not told.done():
                    await client.put(last, "now")
                    await asyncio.wait([told], timeout=AGAIN)
            finally:
                told.cancel()
        return meter.figures(count, connections=connections())
