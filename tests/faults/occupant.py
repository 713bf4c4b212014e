"""A process that works on an item, runs something once, serves, and holds barriers: for tests that kill it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import aetcd


async def occupy(client: aetcd.Client, prefix: str, ttl: int, opened: AsyncExitStack) -> None:
    """Have one of each; nothing of it is given back."""
    session = await opened.enter_async_context(client.session(ttl))
    await client.queue(f"{prefix}queue", session=session).get()
    await opened.enter_async_context(client.registry(f"{prefix}registry", session=session).register("here"))
    await client.barrier(f"{prefix}barrier", session=session).hold()
    group = await opened.enter_async_context(asyncio.TaskGroup())
    group.create_task(client.double_barrier(f"{prefix}double", count=2, session=session).enter())
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    group.create_task(client.once(f"{prefix}once", session=session).run(work))
    await began.wait()


async def main() -> None:
    prefix, ttl, *peers = sys.argv[1:]
    async with AsyncExitStack() as opened:
        for protocol in ("v3", "v2"):
            client = await opened.enter_async_context(aetcd.Client(*peers, protocol=protocol))
            await occupy(client, prefix, int(ttl), opened)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
