"""Hand-overs of one lock among many, beside a watch for each predecessor: `python -m benchmarks.handoffs`.

What it is compared with is the same client's, so that the two differ in nothing but their way to wait.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import tempfile
from collections.abc import Sequence
from functools import partial

from aetcd import Client
from aetcd.etcd.v3 import CreateRevision, Get, Put, RangeResponse
from aetcd.testing import EtcdServer
from benchmarks.contest import Amount, Case, run
from benchmarks.report import as_json, as_table, circumstances

MEMORY = "/dev/shm"  # files there are in memory, so that no disk is measured

CONTENDERS = 20
WANTED = 400.0  # hand-overs per second


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handoffs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement (%(default)s)")
    parser.add_argument("--count", type=int, help="hand-overs of one measurement, in place of seconds")
    parser.add_argument("--contenders", type=int, default=CONTENDERS, help="how many want the lock (%(default)s)")
    parser.add_argument("--protocol", choices=["v3", "v2"], default="v3", help="%(default)s; v2 beside itself on v3")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(given)


async def handed_over(client: Client) -> None:
    """Take the lock, and give it up."""
    async with client.lock("bench/handoffs"):
        pass


async def one_watch_each(client: Client) -> None:
    """The same as etcd's own recipe has it: wait until the one before is deleted, and look again."""
    v3, queue = client.v3, b"bench/one-watch-each/"
    lease = (await v3.lease.grant(15)).id
    key = queue + b"%x" % lease
    line = Get(queue, prefix=True, sort_by="create_revision")
    answer = await v3.txn().when(CreateRevision(key) == 0).then(Put(key, b"", lease=lease), line)
    found, revision = answer.results[-1], answer.revision
    assert isinstance(found, RangeResponse)
    while found.kvs[0].key != key:
        ahead = next(kv for kv, after in itertools.pairwise(found.kvs) if after.key == key)
        async with v3.watch(ahead.key, start_revision=revision + 1, no_put=True) as events:
            await anext(events)
        found = await v3.range(queue, prefix=True, sort_by="create_revision")
        revision = found.header.revision
    await v3.lease.revoke(lease)


def verdict(row: Case) -> str:
    """The goal, which is no ratio."""
    rate = row.rate(row.aetcd_slices).middle
    return f"{rate:.0f} hand-overs/s, >= {WANTED:g}: " + ("met" if rate >= WANTED else "MISSED")


async def main(options: argparse.Namespace) -> None:
    amount = Amount(count=options.count, seconds=options.seconds)
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="aetcd-bench-", dir=memory) as folder:
        async with (
            EtcdServer(data_dir=folder) as server,
            Client(server.url, protocol=options.protocol) as client,
            Client(server.url, protocol="v3") as other,
        ):
            about = circumstances(
                etcd=server.version, data="memory" if memory else folder, amount=amount, rounds=options.rounds
            )
            row = Case(
                name=f"{options.protocol} lock, {options.contenders} contenders",
                raw=partial(one_watch_each, other),
                aetcd=partial(handed_over, client),
                callers=options.contenders,
            )
            await run([row], amount, options.rounds)
    about["raw"] = "a watch for each predecessor, by the same client on v3"
    print(as_json(about, [row]) if options.json else f"{as_table(about, [row])}\n\n{verdict(row)}")


if __name__ == "__main__":
    asyncio.run(main(arguments()))
