"""What a large object of AIStore costs both ways: `python -m benchmarks.objects`.

No AIStore can be installed, so that the cluster is the tests' double, in a process of its own; it makes the bytes as
they are read, and hashes and forgets what is put. Each row is measured in a fresh process, so that the memory of one is
not that of another. aetcd finds the target, would go on where a connection broke, and compares the checksum of what it
reads (a row without that stands beside it); the plain loop of aiohttp does no more than it must: it follows the
redirect, and counts bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import asdict, evolve, frozen
from yarl import URL

from aetcd.aistore import AIStore, Object

BUCKET, THERE, NEW, SMALL = "bench", "there", "new", "small"
PIECE = 1 << 20
MIB = float(1 << 20)


@frozen(kw_only=True)
class Figures:
    """One row.

    size, seconds: Of the whole transfer.
    cpu: Seconds of this process's own.
    memory: Bytes at the highest above the start, by the resident size.
    """

    name: str
    size: int
    seconds: float
    cpu: float
    memory: int

    def __str__(self) -> str:
        megabytes = self.size / MIB
        each = self.cpu / megabytes * 1e6
        return f"{self.name:28}{self.seconds:9.2f}{megabytes / self.seconds:9.0f}{each:9.0f}{self.memory / MIB:9.1f}"


HEAD = f"{'':28}{'seconds':>9}{'MiB/s':>9}{'us/MiB':>9}{'MiB more':>9}"


def resident(line: str) -> int:
    """Bytes of this process: `VmRSS` are those now, `VmHWM` the most since the start or `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return next(int(told.split()[1]) for told in status.splitlines() if told.startswith(line)) * 1024


def forget_peak() -> None:
    """What the imports took for a moment must not hide what a transfer takes."""
    Path("/proc/self/clear_refs").write_text("5")


async def pieces(size: int) -> AsyncIterator[bytes]:
    """A source that holds one piece."""
    piece = bytes(PIECE)
    for start in range(0, size, PIECE):
        yield piece[: size - start]


# The two clients


async def count(source: AsyncIterator[bytes]) -> int:
    read = 0
    async for piece in source:
        read += len(piece)
    return read


async def aetcd_get(large: Object, *, verify: bool) -> int:
    async with large.get(verify=verify) as reader:
        return await count(reader)


async def aetcd_row(url: str, what: str, size: int) -> Figures:
    """One row of aetcd's, with its connections warm."""
    async with AIStore(url) as ais:
        bucket = ais.bucket(BUCKET)
        await bucket.object(SMALL).put(b"x", checksum="xxhash")
        await bucket.object(SMALL).read()
        if what == "put":
            return await measured(bucket.object(NEW).put(pieces(size), length=size), size)
        return await measured(aetcd_get(bucket.object(THERE), verify=what == "get, checked"), size)


async def aiohttp_get(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        answer.raise_for_status()
        return await count(answer.content.iter_any().__aiter__())


async def aiohttp_put(session: aiohttp.ClientSession, url: str, size: int) -> None:
    async with session.put(url, allow_redirects=False) as found:
        place = URL(found.headers["Location"], encoded=True)
    async with session.put(place, data=pieces(size), headers={"Content-Length": str(size)}) as answer:
        answer.raise_for_status()


async def aiohttp_row(url: str, what: str, size: int) -> Figures:
    """One row of the plain loop's."""
    async with aiohttp.ClientSession(f"{url}/v1/objects/{BUCKET}/", timeout=aiohttp.ClientTimeout()) as session:
        await aiohttp_put(session, SMALL, 1)
        await aiohttp_get(session, SMALL)
        if what == "put":
            return await measured(aiohttp_put(session, NEW, size), size)
        return await measured(aiohttp_get(session, THERE), size)


CLIENTS: dict[str, Callable[[str, str, int], Coroutine[Any, Any, Figures]]] = {
    "aetcd": aetcd_row,
    "aiohttp": aiohttp_row,
}
ROWS = (("get, checked", "aetcd"), ("get", "aetcd"), ("get", "aiohttp"), ("put", "aetcd"), ("put", "aiohttp"))


async def measured(transfer: Awaitable[int | None], size: int) -> Figures:
    """What a transfer takes; a get tells how much it read."""
    forget_peak()
    before, began, used = resident("VmRSS"), time.perf_counter(), time.process_time()
    read = await transfer
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    if read is not None and read != size:
        raise SystemExit(f"{read} of {size} bytes were read")
    return Figures(name="", size=size, seconds=seconds, cpu=cpu, memory=resident("VmHWM") - before)


# Processes


async def serve(size: int) -> None:
    """The cluster, until its input ends."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from doubles.aistore import AIStoreDouble

    async with AIStoreDouble("3.3", keep_large=False) as double:
        double.create(BUCKET)
        double.generate(BUCKET, THERE, size=size)
        print(double.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def cluster(size: int) -> Iterator[str]:
    """Its URL."""
    command = [sys.executable, "-m", "benchmarks.objects", "--size", str(size), "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def in_a_process(what: str, client: str, size: int, url: str) -> Figures:
    """One row, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.objects", "--row", what, "--client", client, "--size", str(size)]
    told = subprocess.run([*command, "--url", url], check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(told)
    return Figures(**found)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.objects", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (%(default)s)")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes of the object (%(default)s)")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(options: argparse.Namespace) -> None:
    if options.serve:
        asyncio.run(serve(options.size))
    elif options.row:
        figures = asyncio.run(CLIENTS[options.client](options.url, options.row, options.size))
        print(json.dumps(asdict(evolve(figures, name=f"{options.row}, {options.client}"))))
    else:
        with cluster(options.size) as url:
            print(HEAD)
            for _ in range(options.rounds):
                for what, client in ROWS:
                    print(in_a_process(what, client, options.size, url), flush=True)


if __name__ == "__main__":
    main(arguments())
