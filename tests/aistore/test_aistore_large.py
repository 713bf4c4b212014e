"""Large objects and many names in little memory: the client in a process of its own, so that only it is measured."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from doubles.aistore import AIStoreDouble, generated_blocks

SIZE = 256 * 1024 * 1024
LIMIT = 64 * 1024 * 1024
MANY = 100_000

CLIENT = """
import asyncio, json, sys
from aetcd.aistore import AIStore

def resident(line):
    # Not getrusage: that begins at what the parent had.
    with open("/proc/self/status") as status:
        return next(int(told.split()[1]) * 1024 for told in status if told.startswith(line))

def forget_peak():
    # What the imports took for a moment would hide as much of the transfer.
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

async def main(url, what, size):
    async with AIStore(url) as ais:
        bucket = ais.bucket("b")
        await bucket.object("small").put(b"x", checksum="xxhash")
        await bucket.object("small").read()
        forget_peak()
        before, done = resident("VmRSS"), 0
        if what == "get":
            async with bucket.object("big").get() as reader:
                async for piece in reader:
                    done += len(piece)
        elif what == "put":
            block = bytes(1 << 20)

            async def blocks():
                for _ in range(size >> 20):
                    yield block

            await bucket.object("new").put(blocks(), length=size)
            done = size
        else:
            async for entry in bucket.list("n", props=["name"]):
                done += 1
        print(json.dumps({"done": done, "grown": resident("VmHWM") - before}))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def run(double: AIStoreDouble, what: str, size: int) -> dict[str, Any]:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, double.url, what, str(size), stdout=asyncio.subprocess.PIPE
    )
    try:
        told, _ = await client.communicate()
    except BaseException:
        client.kill()
        await client.wait()
        raise
    assert client.returncode == 0
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_large_get_in_little_memory(double: AIStoreDouble) -> None:
    """Read as it comes, and checked, in no more than 64 MiB above the start."""
    double.generate("b", "big", size=SIZE)
    told = await run(double, "get", SIZE)
    assert told["done"] == SIZE
    assert 0 < told["grown"] < LIMIT


async def test_large_put_in_little_memory() -> None:
    """Taken of its source no faster than the target takes it."""
    async with AIStoreDouble("3.3", keep_large=False) as double:
        double.create("b")
        told = await run(double, "put", SIZE)
        assert double.bucket("b").objects["new"].size == SIZE
    assert 0 < told["grown"] < LIMIT


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_many_names_in_constant_memory(double: AIStoreDouble) -> None:
    """A page at a time: 100,000 names take no more than a page of them does."""
    double.fill("b", MANY, "n{:06}")
    told = await run(double, "list", 0)
    assert told["done"] == MANY
    assert 0 < told["grown"] < 32 * 1024 * 1024


def test_generated_bytes_are_no_pattern() -> None:
    """A piece in the wrong place would be noticed."""
    blocks = list(generated_blocks(size=3 << 20))
    assert len(set(blocks)) == 3
