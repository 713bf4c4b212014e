"""Operations that share requests, beside raw aiohttp with a request for each: `python -m benchmarks.coalescing`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

import aiohttp

from aetcd import Client
from aetcd.testing import EtcdServer
from benchmarks.contest import Amount, Case, Goal, run
from benchmarks.floor import Prepared, prepared, raw_session
from benchmarks.report import as_json, as_table, circumstances

MEMORY = "/dev/shm"  # files there are in memory, so that no disk is measured

MANY = 64
VALUE = "v" * 64
KEYS = [f"bench/coalescing/{number}" for number in range(MANY)]

# 2.5 times the operations per second of the floor is this part of its time.
TOGETHER = Goal(figure="wall", most=1 / 2.5)
UNCHANGED = Goal(figure="wall", most=1.05)
CPU_PER_GET = 25.0  # microseconds

Operation = Callable[[], Awaitable[object]]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coalescing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each row is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of one measurement (%(default)s)")
    parser.add_argument("--count", type=int, help="operations of one measurement, in place of seconds")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(given)


def in_turns(operations: Sequence[Operation]) -> Operation:
    """One after the other, so that those who are under way together are of different keys."""
    turns = itertools.cycle(operations)

    def begin() -> Awaitable[object]:
        operation = next(turns)
        return operation()

    return begin


async def floor(session: aiohttp.ClientSession, url: str, operation: Literal["get", "set"]) -> Operation:
    """The requests that a client without coalescing sends, one for each key."""

    async def send(client: Client, key: str) -> None:
        await (client.get(key) if operation == "get" else client.set(key, VALUE))

    made: list[Prepared] = [await prepared(url, "v3", partial(send, key=key)) for key in KEYS]
    return in_turns([partial(request.send, session) for request in made])


def gets(client: Client) -> Operation:
    return in_turns([partial(client.get, key) for key in KEYS])


def sets(client: Client) -> Operation:
    return in_turns([partial(client.set, key, VALUE) for key in KEYS])


async def cases(joined: Client, single: Client, session: aiohttp.ClientSession, url: str) -> list[Case]:
    """Rows beside raw aiohttp, and one of aetcd beside itself: what one caller pays for the choice."""
    get, put = await floor(session, url, "get"), await floor(session, url, "set")
    return [
        Case(name="get, 64 callers", raw=get, aetcd=gets(joined), callers=MANY, goal=TOGETHER),
        Case(name="get, 8 callers", raw=get, aetcd=gets(joined), callers=8),
        Case(name="get, 2 callers", raw=get, aetcd=gets(joined), callers=2),
        Case(name="get, 1 caller", raw=get, aetcd=gets(joined)),
        Case(name="get, 1 (raw: coalesce=False)", raw=gets(single), aetcd=gets(joined), goal=UNCHANGED),
        Case(name="put, 64 callers", raw=put, aetcd=sets(joined), callers=MANY, goal=TOGETHER),
        Case(name="put, 1 caller", raw=put, aetcd=sets(joined)),
    ]


def verdict(rows: Sequence[Case]) -> str:
    """The goal that is no ratio."""
    cpu = rows[0].cpu(rows[0].aetcd_slices).middle
    return f"{cpu:.1f} us of client CPU per get of {MANY} callers, <= {CPU_PER_GET:g}: " + (
        "met" if cpu <= CPU_PER_GET else "MISSED"
    )


async def main(options: argparse.Namespace) -> None:
    amount = Amount(count=options.count, seconds=options.seconds)
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="aetcd-bench-", dir=memory) as folder:
        async with (
            EtcdServer(data_dir=folder) as server,
            Client(server.url, protocol="v3", coalesce_writes=True) as joined,
            Client(server.url, protocol="v3", coalesce=False) as single,
            raw_session() as session,
        ):
            about = circumstances(
                etcd=server.version, data="memory" if memory else folder, amount=amount, rounds=options.rounds
            )
            for key in KEYS:
                await single.set(key, VALUE)
            rows = await cases(joined, single, session, server.url)
            await run(rows, amount, options.rounds)
    print(as_json(about, rows) if options.json else f"{as_table(about, rows)}\n\n{verdict(rows)}")


if __name__ == "__main__":
    asyncio.run(main(arguments()))
