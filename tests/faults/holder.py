"""A process that holds a lock, or leads, and says line by line what it believes: for tests that pause and kill it."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import aetcd


def say(**facts: object) -> None:
    """One JSON line, with the time by a clock that all processes of a machine share."""
    print(json.dumps({"at": time.clock_gettime(time.CLOCK_BOOTTIME), **facts}), flush=True)


async def hold(client: aetcd.Client, name: str, ttl: int) -> None:
    async with client.lock(name, ttl=ttl) as lock:
        say(token=lock.fencing_token)
        while True:
            # The clock is read before `held` is, so that a belief is never dated too late.
            at = time.clock_gettime(time.CLOCK_BOOTTIME)
            if lock.held:
                say(held_at=at)
            await asyncio.sleep(0.02)


async def lead(client: aetcd.Client, name: str, ttl: int) -> None:
    async with client.election(name, value="child", ttl=ttl) as leadership:
        say(token=leadership.fencing_token)
        await leadership.lost.wait()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["lock", "election"])
    parser.add_argument("name")
    parser.add_argument("--ttl", type=int, required=True)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("peers", nargs="+")
    chosen = parser.parse_args()
    async with aetcd.Client(*chosen.peers, protocol=chosen.protocol) as client:
        try:
            await (hold if chosen.what == "lock" else lead)(client, chosen.name, chosen.ttl)
        except aetcd.CoordinationError as e:
            say(error=type(e).__name__)


asyncio.run(main())
