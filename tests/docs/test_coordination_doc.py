"""The guide to coordination: every piece of it runs, each recipe has its section, and the tables of faults hold."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from pages import run

import aetcd
from aetcd._client.recipes import Recipes
from aetcd.testing import EtcdServer, TCPProxy

PAGE = Path(__file__).parents[2] / "docs" / "coordination.md"
TEXT = PAGE.read_text()


@frozen
class Block:
    """A piece of code of the page, its first line, and the heading that it stands under."""

    heading: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.heading}, line {self.line}"


def read_blocks() -> list[Block]:
    found = []
    for match in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        heading = re.findall(r"^#+ (.*)$", TEXT[: match.start()], re.MULTILINE)[-1]
        found.append(Block(heading, TEXT.count("\n", 0, match.start(1)) + 1, match[1]))
    return found


BLOCKS = read_blocks()


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    """One of its own, for a piece that makes a second client knows no namespace. No two pieces share a key."""
    with EtcdServer() as server:
        yield server


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(server.url) as client:
        yield client


@pytest.mark.parametrize("block", BLOCKS, ids=str)
async def test_piece_of_the_page(block: Block, client: aetcd.Client, server: EtcdServer) -> None:
    """It runs by itself, and its assertions hold."""
    names = {"__name__": "guide", "aetcd": aetcd, "client": client, "server": server, "print": lambda *_: None}
    async with asyncio.timeout(30):
        await run(block.code, names, page=PAGE, line=block.line - 1)


def test_no_piece_is_left_out() -> None:
    """Whatever is fenced is one of the pieces that run."""
    assert TEXT.count("```") == 2 * len(BLOCKS)
    assert len(BLOCKS) > 12


def test_every_recipe_has_a_section() -> None:
    """A recipe that is added to the client is named in the overview, and shown in code."""
    shown = "\n".join(block.code for block in BLOCKS)
    overview = TEXT.partition("## What they share")[0]
    recipes = [name for name, _ in inspect.getmembers(Recipes, inspect.isfunction) if not name.startswith("_")]
    assert len(recipes) == 12
    for name in [*recipes, "session"]:
        assert f"`{name}`" in overview
        assert f"client.{name}(" in shown


def test_links_and_names_exist() -> None:
    """Each section that is linked is there, and each error and class that is named is aetcd's or Python's."""
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= anchors
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    named = set(re.findall(r"`(?:aetcd\.)?([A-Z][a-z]+[A-Z]\w+)`", prose))
    assert {"LockLost", "SessionLost"} < named
    assert {name for name in named if not hasattr(aetcd, name) and not hasattr(builtins, name)} == {"CancelledError"}
    assert all((PAGE.parents[1] / path).exists() for path in re.findall(r"`(examples/\w+\.py)`", TEXT))


# The table of faults: the rows that are told nowhere else in the tests.


async def in_line(contender: Awaitable[Any], client: aetcd.Client, name: str) -> asyncio.Future[Any]:
    """A task that has come to stand in a queue, behind another one."""
    task = asyncio.ensure_future(contender)
    async with asyncio.timeout(10):
        while len(await client.ls(name)) < 2:
            await asyncio.sleep(0.005)
    return task


@pytest.fixture
async def lonely(server: EtcdServer) -> AsyncIterator[tuple[aetcd.Client, TCPProxy]]:
    """A client, and the one way from it to the cluster."""
    async with TCPProxy(server.url) as proxy, aetcd.Client(proxy.url, timeout=2) as client:
        yield client, proxy


async def test_holder_that_can_reach_no_peer(client: aetcd.Client, lonely: tuple[aetcd.Client, TCPProxy]) -> None:
    """Its block is cancelled between 5/6 of a TTL and a TTL after the cut, and the next one has it after that."""
    alone, proxy = lonely
    ttl, holds, cancelled_at = 3, asyncio.Event(), 0.0

    async def hold() -> None:
        nonlocal cancelled_at
        async with alone.lock("rows/cut", ttl=ttl):
            holds.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled_at = time.monotonic()

    holding = asyncio.ensure_future(hold())
    await holds.wait()
    proxy.stall()
    began = time.monotonic()
    async with client.lock("rows/cut", ttl=ttl, timeout=3 * ttl):
        had_at = time.monotonic()
    assert ttl * 5 / 6 - 0.3 < cancelled_at - began < ttl + 0.5
    assert cancelled_at < had_at < began + ttl + 2
    proxy.resume()
    with pytest.raises(aetcd.LockLost):
        await holding


async def test_waiter_that_can_reach_no_peer(client: aetcd.Client, lonely: tuple[aetcd.Client, TCPProxy]) -> None:
    """It waits on until its own TTL is over."""
    alone, proxy = lonely
    async with client.lock("rows/wait"):
        waiting = await in_line(alone.lock("rows/wait", ttl=2).acquire(), client, "rows/wait")
        proxy.stall()
        began = time.monotonic()
        with pytest.raises(aetcd.SessionLost):
            await asyncio.wait_for(asyncio.shield(waiting), 10)
        assert 2 * 5 / 6 - 0.3 < time.monotonic() - began < 2 * 4 / 3 + 0.8
        proxy.resume()


async def test_no_peer_at_the_beginning(lonely: tuple[aetcd.Client, TCPProxy]) -> None:
    """An error of the transport, within the client's time-out."""
    alone, proxy = lonely
    proxy.stall()
    began = time.monotonic()
    with pytest.raises(aetcd.TransportError):
        await alone.lock("rows/begin").acquire()
    assert time.monotonic() - began < 2 + 1
    proxy.resume()


async def test_release_without_a_peer(client: aetcd.Client, lonely: tuple[aetcd.Client, TCPProxy]) -> None:
    """The block ends after two thirds of the TTL at the latest, and others have the lock a little later."""
    alone, proxy = lonely
    async with alone.lock("rows/release", ttl=3):
        proxy.stall()
        began = time.monotonic()
    assert time.monotonic() - began < 3 * 2 / 3 + 0.8
    await client.lock("rows/release").acquire(timeout=3 + 2)
    proxy.resume()


async def test_closed_client(client: aetcd.Client, server: EtcdServer) -> None:
    """Its holder is told at the end of the block, and who waits at once."""
    async with client.lock("rows/mine"), aetcd.Client(server.url) as closing:
        waiting = await in_line(closing.lock("rows/mine").acquire(), client, "rows/mine")
        with pytest.raises(aetcd.LockLost):
            async with closing.lock("rows/closed") as lock:
                await closing.aclose()
                assert lock.lost
        with pytest.raises((aetcd.SessionLost, aetcd.ClientClosed)):
            await asyncio.wait_for(waiting, 5)
