"""`docs/couchdb.md`: its examples run, one after the other, and do what stands beside them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from doubles.couchdb import CouchDBDouble
from pages import run

import aetcd.couchdb
from aetcd.couchdb import CouchDB

PAGE = Path(__file__).parents[2] / "docs" / "couchdb.md"
SERVER = "http://127.0.0.1:5984"


def blocks() -> list[tuple[int, str]]:
    """The pieces of Python on the page, with the lines that they begin at."""
    text = PAGE.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


async def run_page(double: CouchDBDouble) -> dict[str, Any]:
    names: dict[str, Any] = {"print": lambda *_: None}
    for line, code in blocks():
        await run(code.replace(SERVER, double.url), names, page=PAGE, line=line)
    return names


async def test_examples_of_the_page() -> None:
    """All of them, in their order, against a server."""
    async with CouchDBDouble(admin=("admin", "secret")) as double:
        names = await run_page(double)
    assert len(blocks()) > 10
    assert names["last"] is not None
    assert names["status"].progress == 1.0


async def test_following_across_a_restart(tmp_path: Path) -> None:
    """The program of the page: nothing is missed over a restart of the server, nor over one of its own."""
    async with CouchDBDouble(admin=("admin", "secret")) as double:
        follow: Callable[..., Awaitable[None]] = (await run_page(double))["follow"]
        handled: list[str] = []
        cursor = tmp_path / "cursor"

        async def handle(name: str, kind: str) -> None:
            if kind == "created":
                handled.append(name)

        async def until(name: str) -> None:
            async with asyncio.timeout(20):
                while name not in handled:
                    await asyncio.sleep(0.01)

        async with CouchDB(double.url, username="admin", password="secret") as couch:
            following = asyncio.ensure_future(follow(couch, cursor, handle))
            while not cursor.exists():
                await asyncio.sleep(0.01)
            double.create("before")
            await until("before")
            await double.stop()
            double.create("meanwhile")
            await double.start()
            double.create("after")
            await until("meanwhile")
            await until("after")
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        double.create("between")
        async with CouchDB(double.url, username="admin", password="secret") as couch:
            following = asyncio.ensure_future(follow(couch, cursor, handle))
            await until("between")
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    assert sorted(set(handled)) == ["after", "before", "between", "meanwhile"]


def test_names_of_the_page_exist() -> None:
    """Every class that the table of errors names."""
    table = PAGE.read_text().split("## Errors")[1]
    named = set(re.findall(r"`([A-Z]\w+)`", table)) - {"ValueError", "TypeError"}
    public = set(aetcd.couchdb.__all__) | set(dir(aetcd.errors))
    assert named - public == set()
    refused = [
        name
        for name in aetcd.couchdb.__all__
        if isinstance(getattr(aetcd.couchdb, name), type)
        and issubclass(getattr(aetcd.couchdb, name), aetcd.errors.AetcdError)
    ]
    assert set(refused) - named == {"NotFound"}
