"""What tests of feeds share: taking events, and what the server was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from doubles.couchdb import CouchDBDouble

from aetcd.couchdb import NOW, CouchDB, DatabaseEvent, Feed, Mode

MODES: Sequence[Mode] = ("normal", "longpoll", "continuous", "eventsource")
LIVE: Sequence[Mode] = ("longpoll", "continuous", "eventsource")
BEAT = 0.2  # seconds


async def take(feed: Feed[DatabaseEvent], *names: str, within: float = 10) -> list[DatabaseEvent]:
    """Events until each of these databases was created."""
    found: list[DatabaseEvent] = []
    async with asyncio.timeout(within):
        async for event in feed:
            found.append(event)
            if set(names) <= {one.name for one in found if one.kind == "created"}:
                break
    return found


def created(events: Sequence[DatabaseEvent]) -> list[str]:
    return [event.name for event in events if event.kind == "created" and not event.name.startswith("_")]


def asked(double: CouchDBDouble, path: str = "/_db_updates") -> list[dict[str, str]]:
    return [seen.params for seen in double.requests if seen.path == path and "since=now" not in seen.query]


async def until(condition: Callable[[], bool], within: float = 5) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def following(
    couch: CouchDB, *, feed: Mode = "continuous", beat: float = BEAT
) -> AsyncIterator[Feed[DatabaseEvent]]:
    async with couch.db_updates(since=NOW, feed=feed, heartbeat=beat) as updates:
        yield updates
