"""A process that stands for election: `python candidate.py NAME PEER...`. It leaves when its input ends.

So it leaves in order when its parent closes the pipe, and also when the parent dies.
"""

from __future__ import annotations

import asyncio
import sys

import aetcd

ELECTION = "scheduler"
TTL = 3


async def campaign(name: str, peers: list[str]) -> None:
    """Lead from the moment of winning until this task is cancelled: leaving the block resigns."""
    async with aetcd.Client(*peers) as client, client.election(ELECTION, value=name, ttl=TTL):
        await asyncio.Event().wait()


async def input_ended() -> None:
    """Wait for the end of the standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main(name: str, *peers: str) -> None:
    """Campaign until the input ends."""
    async with asyncio.TaskGroup() as group:
        campaigning = group.create_task(campaign(name, list(peers)))
        await input_ended()
        campaigning.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
