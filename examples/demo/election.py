"""Three processes stand for election, and the leading one is killed."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aetcd
from examples.demo.candidate import ELECTION, TTL
from examples.demo.promises import Promise, say

NAMES = ("Ann", "Bob", "Cid")


@asynccontextmanager
async def candidate(name: str, peers: list[str]) -> AsyncIterator[Process]:
    """A candidate's process, inside the block."""
    program = Path(__file__).with_name("candidate.py")
    # A session of its own: a Ctrl-C is for the demo, which then ends the candidates.
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), name, *peers, stdin=PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def all_stand(client: aetcd.Client) -> None:
    """Wait until each candidate has its entry in the queue."""
    standing = 0
    async with client.watch(ELECTION, recursive=True, initial=True) as entries:
        async for entry in entries:
            standing += isinstance(entry, aetcd.Change) and entry.is_create
            if standing == len(NAMES):
                return


async def next_leader(terms: AsyncIterator[aetcd.Leader | None], after: int = 0) -> aetcd.Leader:
    """The next one whose fencing token is larger."""
    async for leader in terms:
        if leader is not None and leader.revision > after:
            say(f"{leader.value} leads", f"fencing token {leader.revision}")
            return leader
    raise AssertionError("observe() has no end")


async def election(client: aetcd.Client, peers: list[str]) -> list[Promise]:
    """Kill the leader's process, and see another one lead when the TTL is over."""
    async with AsyncExitStack() as stack:
        candidates = {name: await stack.enter_async_context(candidate(name, peers)) for name in NAMES}
        say(f"{', '.join(NAMES)} are candidates", f"processes of their own, TTL {TTL} s")
        await all_stand(client)
        terms = client.election(ELECTION).observe()
        first = await next_leader(terms)
        killed_at = time.monotonic()
        candidates[first.value].kill()
        say(f"{first.value}'s process is killed")
        second = await next_leader(terms, after=first.revision)
        took = time.monotonic() - killed_at

        pipe = candidates[second.value].stdin
        assert pipe is not None
        resigned_at = time.monotonic()
        pipe.close()
        say(f"{second.value} is told to leave, and resigns")
        third = await next_leader(terms, after=second.revision)
        handed_over = time.monotonic() - resigned_at
    tokens = [term.revision for term in (first, second, third)]
    return [
        Promise(f"a killed leader is followed when its TTL of {TTL} s ends", f"after {took:.1f} s", took < TTL + 5),
        Promise("one that resigns is followed at once", f"after {handed_over:.2f} s", handed_over < 2),
        Promise("each leader's fencing token is larger", " < ".join(map(str, tokens)), tokens == sorted(set(tokens))),
    ]
