"""A watch as its user sees it: every change once, in order, or an error that says what was lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Literal, Self

import msgspec

from aetcd._transport.deadlines import Deadline, Deadlines
from aetcd._transport.supervisor import Job
from aetcd.errors import RequestTimeout, WatchError
from aetcd.etcd._buffer import Buffer
from aetcd.etcd._feed import Batch, Feed, Item, Share, Sink, Snapshot, Source
from aetcd.etcd._intake import Intake

__all__ = [
    "Batch",
    "Feed",
    "Item",
    "OnHistoryLost",
    "Share",
    "Sink",
    "Snapshot",
    "Source",
    "Watch",
    "WatchStatus",
]

OnHistoryLost = Literal["raise", "resync"]

BUFFER = 1000  # changes that wait for their reader before the watch stops reading


class WatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A watch, as `client.status()` shows it.

    state: `opening`, `live`, `resuming` (its connection broke) or `ended`.
    revision: The last revision handed out whole.
    lag: Changes that were read and wait for their reader.
    last_error: Why it was last resumed or ended, or None.
    """

    name: str
    state: str
    revision: int
    lag: int
    last_error: str | None


class Watch:
    """Changes of a key or of all keys under it, as an async iterator.

    Enter it with `async with`; it stands when the block is entered. Then `async for change in changes` gives each
    change once and in order, and `async for batch in changes.batches()` all changes of one revision together.

    It goes on by itself after a cut connection, a silent or dead peer, a member without a leader, or expired
    credentials; while no peer can be reached it keeps trying, at most 5 s apart.

    Iteration raises HistoryLost when events can no longer be had (and `on_history_lost` is not `"resync"`),
    WatchRefused, PermissionDenied or Unauthenticated when the server will not serve it, ClientClosed when the client
    was closed. A cancel of a waiting iteration loses no change.
    """

    # There may be ten thousands.
    __slots__ = (
        "__weakref__",
        "_current",
        "_current_revision",
        "_deadlines",
        "_given",
        "_intake",
        "_make_feed",
        "_timeout",
        "name",
    )

    def __init__(
        self,
        feed: Callable[[], Awaitable[Feed]],
        *,
        spawn: Callable[..., Job],
        deadlines: Deadlines[Deadline],
        name: str,
        timeout: float,
        since: int | None = None,
        initial: bool = False,
        on_history_lost: OnHistoryLost = "raise",
        buffer: int = BUFFER,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._make_feed: Callable[[], Awaitable[Feed]] | None = feed  # until it is entered
        self._deadlines = deadlines
        self._timeout = timeout
        self._current: tuple[Item, ...] = ()
        self._given = 0
        self._current_revision: int | None = None
        self._intake = Intake(
            name, spawn, Buffer(buffer), since, initial=initial, resync=on_history_lost == "resync", rng=rng
        )

    def __repr__(self) -> str:
        return f"<Watch {self.name!r} {self._intake.state} at revision {self._intake.revision}>"

    @property
    def revision(self) -> int:
        """The last revision handed out whole: `since=changes.revision + 1` goes on from there, in any process."""
        return self._intake.revision

    @property
    def standing(self) -> bool:
        """Whether it was entered and has not ended."""
        return self._make_feed is None and self._intake.state != "ended"

    def status(self) -> WatchStatus:
        """How it is."""
        intake = self._intake
        return WatchStatus(
            name=self.name,
            state=intake.state,
            revision=intake.revision,
            lag=len(self._current) - self._given + intake.buffer.size,
            last_error=None if intake.last_error is None else str(intake.last_error),
        )

    # The reader's side

    async def __aenter__(self) -> Self:
        make_feed, self._make_feed = self._make_feed, None
        if make_feed is None:
            raise WatchError("a watch can be entered once: make a new one, with since=")
        try:
            limit = self._deadlines.begin(self._timeout)
            try:
                error = await self._intake.begin(await make_feed())
            except asyncio.CancelledError:
                if limit.overdue:
                    text = f"the watch of {self.name!r} did not stand within {self._timeout:g} s"
                    raise RequestTimeout(text, operation="watch") from self._intake.last_error
                raise
            finally:
                self._deadlines.end(limit)
            if error is not None:
                raise error
        except BaseException:
            await self._intake.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._intake.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while self._given == len(self._current):
            if not self._next_batch():
                await self._intake.buffer.filled()
        item = self._current[self._given]
        self._given += 1
        if self._given == len(self._current):
            self._handed_out()
        return item

    async def batches(self) -> AsyncIterator[list[Item]]:
        """All changes of one revision together, as a list; a marker comes in a list of its own.

        The revision counts as handed out once its list was.
        """
        while True:
            while self._given == len(self._current):
                if not self._next_batch():
                    await self._intake.buffer.filled()
            batch = list(self._current[self._given :])
            self._handed_out()
            yield batch

    def _next_batch(self) -> bool:
        """Go on to the next batch, all of the last one being handed out. False where there is none yet."""
        if self._make_feed is not None:
            raise WatchError("enter the watch with `async with` before reading it")
        batch = self._intake.take_out()
        if batch is None:
            return False
        self._current, self._given, self._current_revision = batch.items, 0, batch.revision
        if not batch.items:
            self._handed_out()
        return True

    def _handed_out(self) -> None:
        self._current, self._given = (), 0
        if self._current_revision is not None:
            self._intake.revision = self._current_revision
