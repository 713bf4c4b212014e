"""What many watches of one client cost: `python -m benchmarks.watches`.

Each row is measured in a process of its own, so that the memory of one is not that of another, and the writer of the
flood is a third process, so that only the reader's CPU is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from attrs import asdict, frozen

from aetcd import Client
from aetcd.testing import EtcdServer

VALUE = "v" * 64
FLOOD = 5000
AT_ONCE = 128  # writes of the flood that are on their way together


@frozen(kw_only=True)
class Figures:
    """One row.

    seconds, cpu: For the whole of it; cpu is this process's own.
    memory: Megabytes that stay, by the resident size.
    connections: Streams that are open when all stand.
    """

    name: str
    count: int
    seconds: float
    cpu: float
    memory: float
    connections: int

    @property
    def each(self) -> float:
        """Microseconds of CPU for each watch or change."""
        return self.cpu / self.count * 1e6


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def stand(client: Client, count: int) -> Figures:
    """As many watches, each of one key, entered together."""
    watches = [client.watch(f"bench/{number}") for number in range(count)]
    gc.collect()
    before, started, used = resident(), time.perf_counter(), time.process_time()
    async with AsyncExitStack() as entered:
        await asyncio.gather(*(entered.enter_async_context(watch) for watch in watches))
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        gc.collect()
        return Figures(
            name=f"{count} watches stand",
            count=count,
            seconds=seconds,
            cpu=cpu,
            memory=resident() - before,
            connections=sum(peer.streams for peer in client.status().peers),
        )


async def flood(client: Client, count: int, url: str) -> Figures:
    """As many changes while they are written, to one watch among a hundred."""
    async with AsyncExitStack() as entered:
        others = [client.watch(f"other/{number}") for number in range(99)]
        await asyncio.gather(*(entered.enter_async_context(watch) for watch in others))
        watch = await entered.enter_async_context(client.watch("flood", recursive=True))
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.watches", "--write", str(count), "--url", url
        )
        await anext(watch)
        before, started, used = resident(), time.perf_counter(), time.process_time()
        for _ in range(count - 1):
            await anext(watch)
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        await writer.wait()
        return Figures(
            name=f"a flood of {count} changes",
            count=count,
            seconds=seconds,
            cpu=cpu,
            memory=resident() - before,
            connections=sum(peer.streams for peer in client.status().peers),
        )


async def write(count: int, url: str) -> None:
    """The other end of the flood."""
    async with Client(url, protocol="v3") as client:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(count, first + AT_ONCE))
            await asyncio.gather(*(client.set(f"flood/{number}", VALUE) for number in numbers))


async def measure(row: str, count: int, url: str, *, sharing: bool) -> Figures:
    """One row, in this process."""
    rows: dict[str, Callable[[Client], Awaitable[Figures]]] = {
        "stand": lambda client: stand(client, count),
        "flood": lambda client: flood(client, count, url),
    }
    async with Client(url, protocol="v3", watch_sharing=sharing) as client:
        await client.get("warm")
        async with client.watch("warm"):
            pass
        return await rows[row](client)


def in_a_process(row: str, count: int, url: str) -> Figures:
    """One row, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.watches", "--row", row, "--count", str(count), "--url", url]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Figures(**json.loads(told))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watches", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (%(default)s)")
    parser.add_argument("--alone", action="store_true", help="with watch_sharing=False, in one row")
    parser.add_argument("--row", choices=["stand", "flood"], help="one row, as JSON")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--url", help="a server that runs; by default one is started")
    return parser.parse_args(given)


def main(options: argparse.Namespace) -> None:
    if options.write:
        asyncio.run(write(options.write, options.url))
    elif options.row:
        figures = asyncio.run(measure(options.row, options.count, options.url, sharing=not options.alone))
        print(json.dumps(asdict(figures)))
    else:
        with EtcdServer() as server:
            print(f"etcd {server.version}\n{'':26}{'ms':>8}{'CPU ms':>8}{'us each':>9}{'MB':>7}{'streams':>9}")
            for row, count in (("stand", 1000), ("stand", 20_000), ("flood", FLOOD)):
                for _ in range(options.rounds):
                    found = in_a_process(row, count, server.url)
                    print(
                        f"{found.name:26}{found.seconds * 1e3:8.0f}{found.cpu * 1e3:8.0f}{found.each:9.1f}"
                        f"{found.memory:7.1f}{found.connections:9}"
                    )


if __name__ == "__main__":
    main(arguments())
