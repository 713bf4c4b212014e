"""A service that leaves in order on SIGTERM: it ends the order in hand, leaves its watch, its lock, and its client.

    python -m examples.graceful
    ETCDCTL_API=3 etcdctl put orders/1 "two chairs"

Each of them is a block, so the order is that of the blocks, and nothing is left to a TTL: the next process, which waits
for the lock, has it at once, and goes on with the orders that are left.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

import aetcd
from aetcd.etcd.v3 import Delete
from examples.running import connected, say

NAME = f"packer-{os.getpid()}"
GRACE = 10  # seconds that the order in hand has: less than what comes before SIGKILL


@asynccontextmanager
async def then(text: str) -> AsyncIterator[None]:
    """Say it when the block inside has ended."""
    try:
        yield
    finally:
        say(f"{NAME}: {text}")


async def pack(client: aetcd.Client, lock: aetcd.Lock, order: aetcd.Change) -> None:
    """One order, which is deleted when it is done: if that is still this process's to do."""
    say(f"{NAME}: packing {order.key}")
    await asyncio.sleep(0.5)
    await lock.guarded(client.v3.txn().then(Delete(order.key)))
    say(f"{NAME}: packed {order.key}")


async def main() -> None:
    """Pack one order after another, those first that are there already, until told to stop."""
    async with then("closed its client"), connected() as client:
        with anyio.CancelScope() as running:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, running.cancel)
            async with (
                then("gave its lock up"),
                client.lock("packer", ttl=15) as lock,
                then("left its watch"),
                client.watch("orders", recursive=True, initial=True) as changes,
            ):
                say(f"{NAME}: waits for orders, token {lock.fencing_token}")
                async for change in changes:
                    if isinstance(change, aetcd.Change) and change.kind == "put":
                        # The shield keeps off the loss of the lock too. That is safe, for what it does is guarded.
                        with anyio.move_on_after(GRACE, shield=True):
                            await pack(client, lock, change)
                        if running.cancel_called:  # the next one may be had without a wait, where no cancel is noticed
                            break


if __name__ == "__main__":
    asyncio.run(main())
