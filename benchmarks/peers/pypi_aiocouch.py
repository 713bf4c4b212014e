# /// script
# dependencies = ["aiocouch"]
# ///
"""aiocouch, on aiohttp. It reads `_changes` of a database; a feed that breaks off is not opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from aiocouch import CouchDB
from aiocouch.database import Database

from benchmarks.contest import Figures, read_rows
from benchmarks.contract import Absent


async def changes(database: Database, mode: str, limit: int) -> AsyncGenerator[str, None]:
    """The names in a feed."""
    async for event in database.changes(feed=mode, limit=limit):
        yield event.id


def measure(*, url: str, login: Sequence[str], double: int, database: str, feed: str, mode: str, count: int) -> Figures:
    """One measurement, for `benchmarks.feeds`."""
    if feed == "_db_updates":
        raise Absent("no _db_updates")

    async def measured() -> Figures:
        async with CouchDB(url, user=login[0], password=login[1]) as couch:
            return await read_rows(partial(changes, await couch[database], mode), count, double=double)

    return asyncio.run(measured())
