"""A worker that works while it leads: of however many are started, one.

    python -m examples.leader_worker

When its leader dies another takes over within the TTL; when it is stopped, at once.
"""

from __future__ import annotations

import asyncio
import os

import aetcd
from aetcd.etcd.v3 import Put
from examples.running import connected, run, say

NAME = f"worker-{os.getpid()}"
TTL = 3


async def work(client: aetcd.Client, leadership: aetcd.Leadership) -> None:
    """One step after another. The guard makes each write the leader's: one that comes too late is not done."""
    done = await client.get("sums/done", type=int) or 0
    while True:
        done += 1
        await leadership.guarded(client.v3.txn().then(Put("sums/done", str(done))))
        say(f"{NAME} has done step {done}")
        await asyncio.sleep(0.2)


async def main() -> None:
    """Campaign, lead, and campaign again where leadership was lost; resign when stopped."""
    async with connected() as client:
        while True:
            try:
                async with client.election("sums/leader", value=NAME, ttl=TTL) as leadership:
                    say(f"{NAME} leads, token {leadership.fencing_token}")
                    await work(client, leadership)
            except (aetcd.CoordinationError, aetcd.TransportError) as e:
                say(f"{NAME} leads no longer: {e}")
                await asyncio.sleep(1)


if __name__ == "__main__":
    run(main)
