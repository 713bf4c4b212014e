"""What a mirror costs and how far it falls behind: `python -m benchmarks.mirror`.

The writer is a process of its own, so that only the mirror's CPU is counted. Each value is the time at which it was
written, by the clock that both processes share: what the mirror holds tells how late it came.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence

from aetcd import Client, Difference
from aetcd._client import Protocol
from aetcd.etcd.v3._ops import Put
from aetcd.testing import EtcdServer

ROOT = "bench-mirror"
AT_ONCE = 100  # keys of one transaction while they are made


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirror", description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000, help="how many it holds (%(default)s)")
    parser.add_argument("--rate", type=int, default=1_000, help="changes a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="for how long (%(default)s)")
    parser.add_argument("--protocol", choices=["v3", "v2"], default="v3")
    parser.add_argument("--write-to", help=argparse.SUPPRESS)
    return parser.parse_args(given)


async def fill(client: Client, count: int, protocol: str) -> None:
    """Make the keys."""
    names = [f"{ROOT}/{number}" for number in range(count)]
    for start in range(0, count, AT_ONCE):
        some = names[start : start + AT_ONCE]
        if protocol == "v3":
            await client.v3.txn().then(*(Put(name, "0") for name in some))
        else:
            await asyncio.gather(*(client.set(name, "0") for name in some))


async def write(url: str, keys: int, rate: int, seconds: float, protocol: Protocol) -> None:
    """Change so many keys a second, one by one, each in a revision of its own."""
    async with Client(url, protocol=protocol) as client:
        total, began = int(rate * seconds), time.monotonic()
        turns = asyncio.Semaphore(64)

        async def change(number: int) -> None:
            async with turns:
                await client.set(f"{ROOT}/{number % keys}", repr(time.monotonic()))

        async with asyncio.TaskGroup() as group:
            for number in range(total):
                if (early := began + number / rate - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                group.create_task(change(number))
        print(f"{total / (time.monotonic() - began):.0f}")


async def measure(given: argparse.Namespace) -> None:
    """Print the figures."""
    async with EtcdServer() as server, Client(server.url, protocol=given.protocol) as client:
        await fill(client, given.keys, given.protocol)
        late: list[float] = []
        began, used = time.perf_counter(), time.process_time()
        async with client.mirror(ROOT, type=float) as mirror:
            ready, cpu = time.perf_counter() - began, time.process_time() - used
            assert len(mirror) == given.keys
            written, told = int(given.rate * given.seconds), asyncio.Event()

            def note(found: Difference[float]) -> None:
                late.append(time.monotonic() - (found.value or 0))
                if len(late) == written:
                    told.set()

            mirror.on_change(note)
            used = time.process_time()
            command = [sys.executable, "-m", "benchmarks.mirror", "--write-to", server.url, "--keys", str(given.keys)]
            command += ["--rate", str(given.rate), "--seconds", str(given.seconds), "--protocol", given.protocol]
            writer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            rate = int((await writer.communicate())[0])
            async with asyncio.timeout(60):
                await told.wait()
            spent = time.process_time() - used
            print(f"{given.protocol}: {given.keys} keys ready in {ready:.2f} s, {cpu:.2f} s of CPU")
            late.sort()
            print(
                f"{written} changes at {rate}/s: median {statistics.median(late) * 1e3:.1f} ms late, "
                f"99% {late[int(len(late) * 0.99)] * 1e3:.0f} ms, at most {late[-1] * 1e3:.0f} ms; "
                f"{spent / written * 1e6:.0f} us of CPU each; fresh at the end: {mirror.fresh}, age {mirror.age:.2f} s"
            )


def main() -> None:
    given = arguments()
    if given.write_to:
        asyncio.run(write(given.write_to, given.keys, given.rate, given.seconds, given.protocol))
    else:
        asyncio.run(measure(given))


if __name__ == "__main__":
    main()
