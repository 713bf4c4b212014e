"""Runs the benchmark: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import aiohttp

from aetcd import Client
from aetcd._client import Protocol
from aetcd.testing import EtcdServer
from benchmarks.contest import Amount, Case, Goal, run
from benchmarks.floor import flood_v2, flood_v3, prepared, raw_session
from benchmarks.report import as_json, as_table, circumstances

KEY, VALUE = "bench/key", "v" * 64
MANY = 64
FLOOD = {"v3": 900, "v2": 200}  # changes; each one of v2 is a request
SEQUENTIAL = Goal(figure="wall", most=1.15)
CONCURRENT = Goal(figure="cpu", most=1.25)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each row is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of one measurement (%(default)s)")
    parser.add_argument("--count", type=int, help="operations of one measurement, in place of seconds")
    parser.add_argument("--protocol", choices=["v3", "v2"], action="append", help="only this one")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(given)


def memory() -> Path | None:
    """A folder whose files are in memory, so that no disk is measured; None where the system has none."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else None


async def key_cases(client: Client, session: aiohttp.ClientSession, url: str, protocol: Protocol) -> list[Case]:
    """Reading and writing one key."""
    await client.set(KEY, VALUE)
    get = await prepared(url, protocol, lambda told: told.get(KEY))
    put = await prepared(url, protocol, lambda told: told.set(KEY, VALUE))
    return [
        Case(
            name=f"{protocol} {name}, {callers} caller{'s' if callers > 1 else ''}",
            raw=partial(request.send, session),
            aetcd=operation,
            callers=callers,
            goal=CONCURRENT if callers > 1 else SEQUENTIAL if name == "get" else None,
        )
        for name, request, operation in (
            ("get", get, partial(client.get, KEY)),
            ("put", put, partial(client.set, KEY, VALUE)),
        )
        for callers in (1, MANY)
    ]


async def flood_case(
    client: Client, session: aiohttp.ClientSession, url: str, protocol: Protocol, changes: int
) -> Case:
    """A watch that has everything still before it: no writer takes part in what is measured."""
    key = f"bench/{protocol}-flood"
    since = (await client.set(f"{key}/0", VALUE, full=True)).node.modified_revision
    for number in range(1, changes):
        await client.set(f"{key}/{number}", VALUE)

    async def read(client: Client, wanted: int) -> None:
        async with client.watch(key, recursive=True, since=since) as watch:
            for _ in range(wanted):
                await anext(watch)

    request = await prepared(url, protocol, lambda told: read(told, 1))
    floor: Callable[..., Awaitable[object]] = flood_v3 if protocol == "v3" else flood_v2
    return Case(
        name=f"{protocol} watch, per change",
        raw=partial(floor, session, request, changes),
        aetcd=partial(read, client, changes),
        changes=changes,
    )


async def main(options: argparse.Namespace) -> None:
    amount = Amount(count=options.count, seconds=options.seconds)
    rows: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="aetcd-bench-", dir=memory()) as folder:
        async with EtcdServer(data_dir=folder) as server:
            about = circumstances(
                etcd=server.version, data="memory" if memory() else folder, amount=amount, rounds=options.rounds
            )
            for protocol in options.protocol or ("v3", "v2"):
                async with Client(server.url, protocol=protocol) as client, raw_session() as session:
                    keys = await key_cases(client, session, server.url, protocol)
                    await run(keys, amount, options.rounds)
                    # By itself: the server keeps the last 1,000 changes of v2, and the rows above make more.
                    flood = FLOOD[protocol] if options.count is None else max(2, min(FLOOD[protocol], options.count))
                    watch = await flood_case(client, session, server.url, protocol, flood)
                    await run([watch], amount, options.rounds)
                    rows += [*keys, watch]
    print(as_json(about, rows) if options.json else as_table(about, rows))


asyncio.run(main(arguments()))
