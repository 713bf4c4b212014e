"""Rows per second and CPU for each row of CouchDB's feeds: `python -m benchmarks.feeds`.

No CouchDB can be installed from PyPI, so that the server is the tests' double, in a process of its own. It is Python
too, and slower than its clients: of the rows that it makes while they are read, it bounds those per second, and a
client's CPU is mostly that of waking up for each. So each feed is measured once more with the double's answer recorded,
and sent again as fast as it is read. There the client is what bounds both.

Each client makes of a row what it gives to its caller, and its name is read. The floor is aiohttp alone: it cuts lines
and decodes their JSON into a dict. aetcd makes an event of each row, keeps the cursor behind it, and would go on where
the answer broke off.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import SUPPRESS, Namespace
from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, closing, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from aetcd.couchdb import CouchDB
from benchmarks.contest import (
    Contestant,
    Figures,
    Listening,
    Row,
    about,
    arguments,
    compete,
    double,
    peer,
    read_rows,
    stand,
    tell,
)
from benchmarks.results import Results

MODULE = "benchmarks.feeds"
DATABASE, USER, PASSWORD = "bench", "admin", "secret"
Mode = Literal["continuous", "normal"]
COLUMNS = {"rows/s": "per second", "CPU us/row": "CPU us", "double's CPU us/row": "server us"}
TEXT = (
    "Feeds of CouchDB, from the tests' double. It bounds the rows per second that are made while they are read; "
    "recorded ones are bounded by the client. The CPU is the client's own."
)


# The clients, each in a process of its own


async def aetcd_rows(couch: CouchDB, database: str, feed: str, mode: Mode, limit: int) -> AsyncGenerator[str, None]:
    """The names in a feed of aetcd's."""
    if feed == "_db_updates":
        async with couch.db_updates(feed=mode, limit=limit) as updates:
            async for update in updates:
                yield update.name
    else:
        async with couch.database(database).changes(feed=mode, limit=limit) as changes:
            async for change in changes:
                yield change.id


def measure_aetcd(
    *, url: str, login: Sequence[str], double: int, database: str, feed: str, mode: Mode, count: int
) -> Figures:
    """This project."""

    async def measure() -> Figures:
        async with CouchDB(url, username=login[0], password=login[1]) as couch:
            return await read_rows(partial(aetcd_rows, couch, database, feed, mode), count, double=double)

    return asyncio.run(measure())


async def plain_rows(
    session: aiohttp.ClientSession, database: str, feed: str, mode: Mode, limit: int
) -> AsyncGenerator[str, None]:
    """The names in a feed as aiohttp gives it."""
    path, name = ("_db_updates", "db_name") if feed == "_db_updates" else (f"{database}/_changes", "id")
    async with session.get(path, params={"feed": mode, "limit": limit}) as answer:
        answer.raise_for_status()
        if mode == "normal":
            for row in json.loads(await answer.read())["results"]:
                yield row[name]
        else:
            async for line in answer.content:
                if not line.isspace():
                    yield json.loads(line)[name]


def measure_aiohttp(
    *, url: str, login: Sequence[str], double: int, database: str, feed: str, mode: Mode, count: int
) -> Figures:
    """The floor."""

    async def measure() -> Figures:
        headers = {"Authorization": "Basic " + b64encode(":".join(login).encode()).decode()}
        async with aiohttp.ClientSession(f"{url}/", headers=headers, timeout=aiohttp.ClientTimeout()) as session:
            return await read_rows(partial(plain_rows, session, database, feed, mode), count, double=double)

    return asyncio.run(measure())


# The double, and the program


class Recorder:
    """Stands before a CouchDB: what a feed answered once is sent again, whole; all else is passed on.

    Clients ask for the same in other words, such as a heartbeat: path, mode and limit tell what a feed answers.
    """

    def __init__(self, couch: AbstractAsyncContextManager[Listening]) -> None:
        self._couch = couch
        self._recorded: dict[tuple[str, str, str], bytes] = {}

    async def __aenter__(self) -> Self:
        self._behind = urlsplit((await self._couch.__aenter__()).url)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._couch.__aexit__(kind, error, trace)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that has all its rows leaves before the end.
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()

    async def _answer(self, request: bytes) -> bytes:
        asked = urlsplit(request.split(b" ", 2)[1].decode())
        if not asked.path.endswith(("/_changes", "/_db_updates")):
            return await self._pass_on(request)
        query = dict(parse_qsl(asked.query))
        key = asked.path, query.get("feed", "normal"), query.get("limit", "")
        if key not in self._recorded:
            self._recorded[key] = await self._pass_on(request)
        return self._recorded[key]

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._behind.hostname, self._behind.port)
        with closing(writer):
            writer.write(request.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n")
            return await reader.read()


async def serve(count: int, *, recorded: bool) -> None:
    """A CouchDB with so many changed documents, and so many databases that were made."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from doubles.couchdb import CouchDBDouble

    couch = CouchDBDouble(admin=(USER, PASSWORD))
    couch.create(DATABASE)
    for number in range(count):
        couch.write(DATABASE, {"_id": f"invoice-{number:06}", "total": number})
        couch.state.record(f"customer-{number:06}", "created")
    await stand(Recorder(couch) if recorded else couch)


def rows(count: int, venvs: Path | None, *, recorded: bool) -> Sequence[Row]:
    """All of them. `_db_updates` is measured as the feed it is used as; its other mode reads as that of `_changes`."""
    field = [
        Contestant("raw aiohttp", "floor", MODULE, "measure_aiohttp", "aiohttp"),
        Contestant("aetcd", "ours", MODULE, "measure_aetcd", "aetcd-http"),
        peer("aiocouch", venvs),
    ]
    common = {"login": [USER, PASSWORD], "database": DATABASE, "count": count}
    chosen = [("_changes", "continuous"), ("_changes", "normal"), ("_db_updates", "continuous")]
    how = ", recorded" if recorded else ""
    return [
        Row(f"{feed}, {mode}{how}", {"feed": feed, "mode": mode, **common}, field, warm=recorded)
        for feed, mode in chosen
    ]


def options(given: Sequence[str] | None = None) -> Namespace:
    parser = arguments("feeds", __doc__)
    parser.add_argument("--count", type=int, default=5_000, help="rows of each feed (%(default)s)")
    parser.add_argument("--recorded", action="store_true", help=SUPPRESS)
    return parser.parse_args(given)


def main(given: Namespace) -> None:
    if given.serve:
        asyncio.run(serve(given.count, recorded=given.recorded))
        return
    results = Results(about=about(f"{given.rounds} rounds of {given.count:,} rows"))
    for recorded in (False, True):
        how = ["--recorded"] if recorded else []
        with double(MODULE, "--serve", "--count", str(given.count), *how) as couch:
            compete(rows(given.count, given.venvs, recorded=recorded), couch, rounds=given.rounds, into=results)
    tell(results, given, module="feeds", text=TEXT, columns=COLUMNS)


if __name__ == "__main__":
    main(options())
