"""A job that runs once per tick in the whole cluster, on however many hosts this is started.

    python -m examples.cron_job [REPORTS.db]

The lock makes it run on one host. The fencing token makes it safe: a host that was paused in the middle of the job, and
wakes when another has the lock, is refused by the database, which the lock alone could not do.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time

import aetcd
from examples.running import connected, run, say

EVERY = 1  # seconds from tick to tick
TAKES = 0.3
HOST = f"host-{os.getpid()}"


class Refused(Exception):
    """A later holder of the lock has written already."""


class Reports:
    """What the lock protects, and etcd knows nothing of. It remembers the largest token that it has seen."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, timeout=10)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS reports (token INTEGER, tick INTEGER PRIMARY KEY, host TEXT)"
        )

    def write(self, tick: int, token: int) -> None:
        """Add a report. The look at the token and the write are one statement: nobody comes between. Raises Refused."""
        add = (
            "INSERT INTO reports SELECT :token, :tick, :host WHERE :token > (SELECT ifnull(max(token), 0) FROM reports)"
        )
        with self._database:
            if not self._database.execute(add, {"token": token, "tick": tick, "host": HOST}).rowcount:
                raise Refused(f"a larger token than {token} was here")

    def last(self) -> int:
        """The tick of the last report."""
        return int(self._database.execute("SELECT ifnull(max(tick), 0) FROM reports").fetchone()[0])


async def job(client: aetcd.Client, reports: Reports, tick: int) -> None:
    """Do it, unless another host has done it for this tick."""
    async with client.lock("cron/report", ttl=3) as lock:
        if reports.last() >= tick:
            say(f"tick {tick}: done elsewhere")
            return
        say(f"tick {tick}: {HOST} begins, token {lock.fencing_token}")
        await asyncio.sleep(TAKES)
        reports.write(tick, lock.fencing_token)
        say(f"tick {tick}: {HOST} is done")


async def main() -> None:
    """Tick until stopped."""
    reports = Reports(sys.argv[1] if sys.argv[1:] else ":memory:")
    async with connected() as client:
        while True:
            tick = int(time.time()) // EVERY + 1
            await asyncio.sleep(tick * EVERY - time.time())
            try:
                await job(client, reports, tick)
            except (aetcd.AetcdError, Refused) as e:
                say(f"tick {tick}: not done here: {e}")


if __name__ == "__main__":
    run(main)
