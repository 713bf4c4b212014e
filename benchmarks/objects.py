"""What a large object of AIStore costs both ways: `python -m benchmarks.objects`.

No AIStore can be installed, so that the cluster is the tests' double, in a process of its own; it makes the bytes as
they are read, and hashes and forgets what is put. aetcd finds the target, would go on where a connection broke, and
compares the checksum of what it reads (without that it stands beside itself). The plain loop of aiohttp does no more
than it must: it follows the redirect, and counts bytes. The SDK of PyPI reads in pieces of 32 KiB, compares nothing,
and puts bytes or a file; the one that all three put has no blocks, so that no disk is read.

The SDK sends a put to the gateway first, body and all, and goes on where that points. Go's server does not read such a
body: it answers, and closes half a second later, for which the SDK waits. So does the double here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import IO

import aiohttp
from yarl import URL

from aetcd.aistore import AIStore, Object
from benchmarks.contest import (
    Contestant,
    Figures,
    Gauge,
    Row,
    about,
    arguments,
    compete,
    double,
    peer,
    stand,
    tell,
    transferred,
)
from benchmarks.results import Results

MODULE = "benchmarks.objects"
BUCKET, THERE, NEW, SMALL = "bench", "there", "new", "small"
PIECE = 1 << 20
COLUMNS = {
    "MiB/s": "per second",
    "CPU us/MiB": "CPU us",
    "double's CPU us/MiB": "server us",
    "MiB more": "memory MB",
}
TEXT = "A large object of AIStore both ways, at the tests' double: MiB/s hold its share, the CPU is the client's own."


async def pieces(size: int) -> AsyncIterator[bytes]:
    """A source that holds one piece."""
    piece = bytes(PIECE)
    for start in range(0, size, PIECE):
        yield piece[: size - start]


# The clients, each in a process of its own


async def count(source: AsyncIterator[bytes]) -> int:
    read = 0
    async for piece in source:
        read += len(piece)
    return read


async def measured(transfer: Awaitable[int | None], size: int, double: int) -> Figures:
    """What a transfer takes; a get tells how much it read."""
    with Gauge(double) as gauge:
        read = await transfer
    return transferred(gauge, size, size if read is None else read)


async def aetcd_get(large: Object, *, verify: bool) -> int:
    async with large.get(verify=verify) as reader:
        return await count(reader)


def measure_aetcd(
    *, url: str, double: int, bucket: str, name: str, way: str, size: int, file: str, verify: bool = True
) -> Figures:
    """This project, with its connections warm."""

    async def measure() -> Figures:
        async with AIStore(url) as ais:
            small, large = ais.bucket(bucket).object(SMALL), ais.bucket(bucket).object(name)
            await small.put(b"x", checksum="xxhash")
            await small.read()
            if way == "get":
                return await measured(aetcd_get(large, verify=verify), size, double)
            put = large.put(Path(file)) if way == "file" else large.put(pieces(size), length=size)
            return await measured(put, size, double)

    return asyncio.run(measure())


async def aiohttp_get(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        answer.raise_for_status()
        return await count(answer.content.iter_any().__aiter__())


async def aiohttp_put(
    session: aiohttp.ClientSession, url: str, size: int, data: AsyncIterator[bytes] | IO[bytes]
) -> None:
    async with session.put(url, allow_redirects=False) as found:
        place = URL(found.headers["Location"], encoded=True)
    async with session.put(place, data=data, headers={"Content-Length": str(size)}) as answer:
        answer.raise_for_status()


def measure_aiohttp(*, url: str, double: int, bucket: str, name: str, way: str, size: int, file: str) -> Figures:
    """The floor, with its connections warm."""

    async def measure(file: IO[bytes]) -> Figures:
        address = f"{url}/v1/objects/{bucket}/"
        async with aiohttp.ClientSession(address, timeout=aiohttp.ClientTimeout()) as session:
            await aiohttp_put(session, SMALL, 1, pieces(1))
            await aiohttp_get(session, SMALL)
            if way == "get":
                return await measured(aiohttp_get(session, name), size, double)
            return await measured(
                aiohttp_put(session, name, size, file if way == "file" else pieces(size)), size, double
            )

    with Path(file).open("rb") as opened:
        return asyncio.run(measure(opened))


# The double, and the program


async def serve(size: int) -> None:
    """A cluster of today's with an object of this size."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from doubles.aistore import AIStoreDouble

    cluster = AIStoreDouble("current", keep_large=False, early_redirect=True)
    cluster.create(BUCKET)
    cluster.generate(BUCKET, THERE, size=size)
    await stand(cluster)


def rows(size: int, file: Path, venvs: Path | None) -> Sequence[Row]:
    """All of them."""
    floor = Contestant("raw aiohttp", "floor", MODULE, "measure_aiohttp", "aiohttp")
    ours = Contestant("aetcd", "ours", MODULE, "measure_aetcd", "aetcd-http")
    unchecked = ours._replace(name="aetcd, verify=False", settings={"verify": False})
    sdk = peer("aistore", venvs)
    given = {"bucket": BUCKET, "size": size, "file": str(file)}
    return [
        Row("get", given | {"way": "get", "name": THERE}, [floor, ours, unchecked, sdk]),
        Row("put, a stream", given | {"way": "stream", "name": NEW}, [floor, ours, sdk]),
        Row("put, a file", given | {"way": "file", "name": NEW}, [floor, ours, sdk]),
    ]


def options(given: Sequence[str] | None = None) -> Namespace:
    parser = arguments("objects", __doc__)
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes of the object (%(default)s)")
    return parser.parse_args(given)


def main(given: Namespace) -> None:
    if given.serve:
        asyncio.run(serve(given.size))
        return
    results = Results(about=about(f"{given.rounds} rounds of {given.size:,} bytes"))
    with tempfile.NamedTemporaryFile() as file:
        os.truncate(file.fileno(), given.size)
        with double(MODULE, "--serve", "--size", str(given.size)) as cluster:
            field = rows(given.size, Path(file.name), given.venvs)
            compete(field, cluster, rounds=given.rounds, into=results)
    tell(results, given, module="objects", text=TEXT, columns=COLUMNS)


if __name__ == "__main__":
    main(options())
