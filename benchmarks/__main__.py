"""Runs the benchmark: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import aiohttp

from aetcd import Client
from aetcd._client import Protocol
from aetcd.testing import EtcdServer
from benchmarks.contest import Amount, Case, Goal, Operation, run
from benchmarks.floor import Prepared, flood_v2, flood_v3, prepared, raw_session
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
    """Reading and writing one key after another; each caller its own, or those who wait for one would share it."""
    keys = [f"{KEY}/{number}" for number in range(MANY)]
    for key in keys:
        await client.set(key, VALUE)
    gets = cycle([await prepared(url, protocol, partial(_get, key=key)) for key in keys])
    puts = cycle([await prepared(url, protocol, partial(_set, key=key)) for key in keys])
    wanted = cycle(keys)

    def raw(requests: Iterator[Prepared]) -> Operation:
        return lambda: next(requests).send(session)

    return [
        Case(
            name=f"{protocol} {name}, {callers} caller{'s' if callers > 1 else ''}",
            raw=floor,
            aetcd=operation,
            callers=callers,
            goal=CONCURRENT if callers > 1 else SEQUENTIAL if name == "get" else None,
        )
        for name, floor, operation in (
            ("get", raw(gets), lambda: client.get(next(wanted))),
            ("put", raw(puts), lambda: client.set(next(wanted), VALUE)),
        )
        for callers in (1, MANY)
    ]


async def _get(client: Client, key: str) -> None:
    await client.get(key)


async def _set(client: Client, key: str) -> None:
    await client.set(key, VALUE)


async def coalesced_case(url: str, session: aiohttp.ClientSession, together: Client) -> Case:
    """Reads that wait at the same time share a request, as they do by default."""
    keys = [f"{KEY}/{number}" for number in range(MANY)]
    gets, wanted = cycle([await prepared(url, "v3", partial(_get, key=key)) for key in keys]), cycle(keys)
    return Case(
        name=f"v3 get coalesced, {MANY} callers",
        raw=lambda: next(gets).send(session),
        aetcd=lambda: together.get(next(wanted)),
        callers=MANY,
    )


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
                async with (
                    # One request for each call, as the floor sends them; what sharing gains is a row of its own.
                    Client(server.url, protocol=protocol, coalesce=False) as client,
                    Client(server.url, protocol=protocol) as together,
                    raw_session() as session,
                ):
                    keys = await key_cases(client, session, server.url, protocol)
                    if protocol == "v3":
                        keys.append(await coalesced_case(server.url, session, together))
                    await run(keys, amount, options.rounds)
                    # By itself: the server keeps the last 1,000 changes of v2, and the rows above make more.
                    flood = FLOOD[protocol] if options.count is None else max(2, min(FLOOD[protocol], options.count))
                    watch = await flood_case(client, session, server.url, protocol, flood)
                    await run([watch], amount, options.rounds)
                    rows += [*keys, watch]
    print(as_json(about, rows) if options.json else as_table(about, rows))


asyncio.run(main(arguments()))
