"""A background watcher that follows a prefix across a member's death.

    python -m examples.watcher

It starts a cluster of three of its own.
"""

from __future__ import annotations

import asyncio

import aetcd
from aetcd.testing import EtcdCluster
from examples.running import run, say

WRITES = 30


async def follow(changes: aetcd.Watch) -> None:
    """Print each change, until the last one. There is nothing to be done about a member that dies."""
    async for change in changes:
        if isinstance(change, aetcd.Change):
            say(f"revision {change.revision}: {change.key} = {change.value}")
            if change.value == str(WRITES):
                return


async def main() -> None:
    """Watch in the background, write, and kill etcd's leader in the middle."""
    async with (
        EtcdCluster(3) as cluster,
        aetcd.Client(*cluster.peers) as client,
        client.watch("news", recursive=True) as changes,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(follow(changes))
        for number in range(1, WRITES + 1):
            if number == WRITES // 2:
                leader = await cluster.leader()
                await leader.kill()
                say(f"{leader.name}, the leader, is dead")
            await write(client, f"news/{number % 3}", str(number))


async def write(client: aetcd.Client, key: str, value: str) -> None:
    """Until it is certain: a second time changes nothing here, so it may be done again where its outcome is unknown."""
    while True:
        try:
            return await client.set(key, value, timeout=2)
        except aetcd.TransportError as e:
            say(f"again: {e}")


if __name__ == "__main__":
    run(main)
