"""A store without a server, whose queue and whose watch the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from attrs import define, field

from aetcd._trust import Flag
from aetcd.etcd._entries import Entry, Queue
from aetcd.recipes._contenders import alone
from aetcd.recipes._queues import Line, Place

__all__ = ["Kept", "Told", "playing", "settle", "take"]


@define(eq=False)
class Kept:
    """A session that is kept until the test ends it."""

    granted_ttl: int
    lost: Flag = field(factory=Flag)
    closed: bool = False

    @property
    def held(self) -> bool:
        return not self.lost and not self.closed

    async def aclose(self) -> None:
        self.closed = True


@define(eq=False)
class Told:
    """A store whose queue, and whose watch, the test plays."""

    entries: list[Entry] = field(factory=list)
    revision: int = 0
    shared: dict[object, Any] = field(factory=dict)
    reads: int = 0
    watches: int = 0
    jobs: list[asyncio.Task[object]] = field(factory=list)
    news: asyncio.Queue[Any] = field(factory=asyncio.Queue)
    answers: list[bool | Exception] = field(factory=list)
    sessions: list[Kept] = field(factory=list)

    async def queue(self, _name: str) -> Queue:
        self.reads += 1
        return Queue(entries=tuple(self.entries), revision=self.revision)

    @asynccontextmanager
    async def changes(self, _key: str, since: int | None, *, recursive: bool = False) -> AsyncIterator[Any]:
        assert since is None
        assert recursive
        self.watches += 1

        async def told() -> AsyncIterator[Any]:
            while True:
                item = await self.news.get()
                if isinstance(item, Exception):
                    raise item
                yield item

        yield told()

    def spawn(self, function: Callable[[], Awaitable[object]], *, name: str) -> Any:
        assert name
        job = asyncio.ensure_future(function())
        self.jobs.append(job)
        return Work(job)

    async def begin(self, ttl: int) -> Kept:
        self.sessions.append(Kept(granted_ttl=ttl))
        return self.sessions[-1]

    async def enter(self, _queue: str, raw: bytes, _session: Kept) -> Entry:
        assert raw == b""
        return self.put("own")

    async def join(self, queue: str, raw: bytes, _session: Kept) -> tuple[Entry, Queue]:
        assert raw == b""
        return self.put("own"), await self.queue(queue)

    async def stands(self, _entry: Entry) -> bool:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def leave(self, entry: Entry, _session: Kept) -> bool:
        self.remove(entry)
        return True

    def put(self, name: str) -> Entry:
        self.revision += 1
        entry = Entry(key=f"q/{name}", raw=b"", created_revision=self.revision, modified_revision=self.revision)
        self.entries.append(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        self.revision += 1
        self.entries.remove(entry)

    def tell(self, kind: str, key: str, *, created: int = 0, revision: int | None = None) -> None:
        self.news.put_nowait(Told.Change(kind, key, created, self.revision if revision is None else revision))

    @define
    class Change:
        kind: str
        key: str
        created_revision: int
        revision: int
        raw: bytes = b""


@define
class Work:
    job: asyncio.Task[object]

    def cancel(self) -> None:
        self.job.cancel()

    async def wait(self) -> None:
        await asyncio.wait([self.job])


@asynccontextmanager
async def playing() -> AsyncIterator[Told]:
    """A store, and the end of what it has spawned."""
    store = Told()
    yield store
    for job in store.jobs:
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job


def take(line: Line, entry: Entry) -> tuple[Place, asyncio.Event]:
    """A place in the line, and what is set when it is told something."""
    noticed = asyncio.Event()
    place = Place(entry, alone, noticed.set)
    line.take(place)
    return place, noticed


async def settle() -> None:
    """Let everything run that has something to do."""
    for _ in range(20):
        await asyncio.sleep(0)
