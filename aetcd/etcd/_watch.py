"""A watch as its user sees it: every change once, in order, or an error that says what was lost.

A *feed* is one protocol's way to read changes of one range of keys. It is opened at a cursor and read until it breaks;
this file opens it again at the right place, keeps what was read until it is asked for, and recovers lost history.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal, Protocol, Self

from attrs import field, frozen

from aetcd._transport.supervisor import Job
from aetcd.errors import PASSING, AetcdError, ClientClosed, HistoryLost, RequestTimeout, WatchError
from aetcd.etcd._values import Change, Node, Resynced, Synced

__all__ = ["Batch", "Feed", "Item", "OnHistoryLost", "Snapshot", "Source", "Watch", "WatchStatus"]

Item = Change | Synced | Resynced
OnHistoryLost = Literal["raise", "resync"]

BUFFER = 1000  # changes that wait for their reader before the watch stops reading
LONGEST_WAIT = 5.0  # seconds between two attempts to resume


@frozen(kw_only=True)
class Batch:
    """All changes of one revision; none where the server only told how far it is.

    revision: What the watch's revision is once this was handed out; None where it stays as it was.
    """

    revision: int | None
    items: tuple[Item, ...] = ()


@frozen(kw_only=True)
class Snapshot:
    """All that existed in the feed's range at one revision."""

    revision: int
    nodes: Sequence[Node]


class Source(Protocol):
    """An open feed."""

    @property
    def revision(self) -> int:
        """Where the feed stands when it is opened: the first batch will be of a later revision."""
        ...

    async def next(self) -> Sequence[Batch]:
        """The next changes, in order. Raises HistoryLost, WatchRefused, TransportError, ServerError."""
        ...


class Feed(Protocol):
    """One protocol's way to read the changes of one range of keys."""

    name: str

    def open(self, since: int | None) -> AbstractAsyncContextManager[Source]:
        """Read from revision `since` on (inclusive), or from now."""
        ...

    async def snapshot(self, revision: int | None = None) -> Snapshot:
        """All that exists, now or at a past revision. Raises HistoryLost where that is no longer kept."""
        ...


@frozen(kw_only=True)
class WatchStatus:
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


@frozen
class _Lost:
    """What to do when history is lost, and what is needed for it: the revision of each key that is known."""

    known: dict[str, int] = field(factory=dict)

    def saw(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Change):
                if item.kind == "put":
                    self.known[item.key] = item.revision
                else:
                    self.known.pop(item.key, None)

    def difference(self, present: Snapshot) -> tuple[Change, ...]:
        """The changes that lead from what is known to what is present."""
        there = {node.key: node for node in present.nodes}
        changed = [
            Change(kind="put", node=node)
            for key, node in there.items()
            if self.known.get(key) != node.modified_revision
        ]
        gone = [
            Change(kind="delete", node=Node(key=key, modified_revision=present.revision))
            for key in self.known
            if key not in there
        ]
        return (*changed, *gone)


class _Buffer:
    """Batches on their way from the feed to the reader, bounded by the number of changes in them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._error: AetcdError | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self.size = 0

    async def put(self, batch: Batch) -> None:
        """Wait for room, and add. A batch larger than the whole buffer is let in when it is empty."""
        while self.size and self.size + len(batch.items) > self._limit:
            self._room.clear()
            await self._room.wait()
        self.add(batch)

    def add(self, batch: Batch) -> None:
        """Add, room or not."""
        self._batches.append(batch)
        self.size += len(batch.items)
        self._filled.set()

    async def get(self) -> Batch:
        """The next batch; when there is none left, the error that ended the feed."""
        while not self._batches:
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        batch = self._batches.popleft()
        self.size -= len(batch.items)
        self._room.set()
        return batch

    def end(self, error: AetcdError) -> None:
        """Nothing will be added: readers get what is left, and then `error`."""
        if self._error is None:
            self._error = error
        self._filled.set()


class Watch:
    """Changes of a key or of all keys under it, as an async iterator.

    Enter it with `async with`; it stands when the block is entered. Then `async for change in changes` gives each
    change once and in order, and `async for batch in changes.batches()` all changes of one revision together.

    It goes on by itself after a cut connection, a silent or dead peer, a member without a leader, or expired
    credentials; while no peer can be reached it keeps trying, at most 5 s apart.

    Iteration raises HistoryLost when events can no longer be had (and `on_history_lost` is not `"resync"`),
    WatchRefused or PermissionDenied when the server will not serve it, ClientClosed when the client was closed. A
    cancel of a waiting iteration loses no change.
    """

    def __init__(
        self,
        feed: Callable[[], Awaitable[Feed]],
        *,
        spawn: Callable[..., Job],
        name: str,
        timeout: float,
        since: int | None = None,
        initial: bool = False,
        on_history_lost: OnHistoryLost = "raise",
        buffer: int = BUFFER,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._make_feed = feed
        self._spawn = spawn
        self._timeout = timeout
        self._since = since
        self._initial = initial
        self._lost = _Lost() if on_history_lost == "resync" else None
        self._limit = buffer
        self._random = rng or random.Random()
        self._revision = 0
        self._cursor: int | None = since
        self._current: deque[Item] = deque()
        self._current_revision: int | None = None
        self._buffer: _Buffer | None = None
        self._job: Job | None = None
        self._left = False
        self._state = "opening"
        self._last_error: AetcdError | None = None

    def __repr__(self) -> str:
        return f"<Watch {self.name!r} {self._state} at revision {self._revision}>"

    @property
    def revision(self) -> int:
        """The last revision handed out whole: `since=changes.revision + 1` goes on from there, in any process."""
        return self._revision

    @property
    def standing(self) -> bool:
        """Whether it was entered and has not ended."""
        return self._job is not None and self._state != "ended"

    def status(self) -> WatchStatus:
        """How it is."""
        return WatchStatus(
            name=self.name,
            state=self._state,
            revision=self._revision,
            lag=len(self._current) + (self._buffer.size if self._buffer else 0),
            last_error=None if self._last_error is None else str(self._last_error),
        )

    # The reader's side

    async def __aenter__(self) -> Self:
        if self._buffer is not None:
            raise WatchError("a watch can be entered once: make a new one, with since=")
        self._buffer = buffer = _Buffer(self._limit)
        standing = asyncio.Event()
        try:
            async with asyncio.timeout(None if self._timeout == math.inf else self._timeout):
                feed = await self._make_feed()
                self._job = self._spawn(lambda: self._run(feed, buffer, standing), name=f"watch of {self.name!r}")
                await standing.wait()
        except TimeoutError as e:
            await self._stop()
            if isinstance(e, AetcdError):
                raise
            text = f"the watch of {self.name!r} did not stand within {self._timeout:g} s"
            raise RequestTimeout(text, operation="watch") from self._last_error
        except BaseException:
            await self._stop()
            raise
        if self._state == "ended" and self._last_error is not None:
            raise self._last_error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        await self._stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._current:
            await self._next_batch()
        item = self._current.popleft()
        if not self._current:
            self._handed_out()
        return item

    async def batches(self) -> AsyncIterator[list[Item]]:
        """All changes of one revision together, as a list; a marker comes in a list of its own.

        The revision counts as handed out once its list was.
        """
        while True:
            while not self._current:
                await self._next_batch()
            batch = list(self._current)
            self._current.clear()
            self._handed_out()
            yield batch

    async def _next_batch(self) -> None:
        if self._buffer is None:
            raise WatchError("enter the watch with `async with` before reading it")
        batch = await self._buffer.get()
        self._current.extend(batch.items)
        self._current_revision = batch.revision
        if not batch.items:
            self._handed_out()

    def _handed_out(self) -> None:
        if self._current_revision is not None:
            self._revision = self._current_revision

    async def _stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            await self._job.wait()

    # The feed's side

    async def _run(self, feed: Feed, buffer: _Buffer, standing: asyncio.Event) -> None:
        """Read the feed until it ends for good."""
        ending: AetcdError | None = None
        try:
            await self._follow(feed, buffer, standing)
        except AetcdError as e:
            self._last_error = ending = e
        except Exception as e:
            self._last_error = ending = WatchError(f"the watch of {self.name!r} failed: {e!r}")
            raise
        finally:
            self._state = "ended"
            buffer.end(ending or self._cancelled())
            standing.set()

    def _cancelled(self) -> AetcdError:
        if self._left:
            return WatchError(f"the watch of {self.name!r} was left: read it inside its block")
        return ClientClosed(f"the client was closed, and with it the watch of {self.name!r}")

    async def _follow(self, feed: Feed, buffer: _Buffer, standing: asyncio.Event) -> None:
        failures = 0
        started = False
        lost: HistoryLost | None = None
        while True:
            try:
                if not started:
                    await self._start(feed, buffer)
                    started = True
                if lost is not None:
                    await self._resync(feed, buffer)
                    lost = None
                async with feed.open(self._cursor) as source:
                    if self._cursor is None:
                        self._advance(source.revision)
                    self._state = "live"
                    standing.set()
                    while True:
                        batches = await source.next()
                        failures = 0
                        for batch in batches:
                            await self._deliver(batch, buffer)
            except HistoryLost as e:
                if self._lost is None:
                    raise
                self._last_error = lost = e
                if failures:
                    await self._pause(failures)
                failures += 1
            except PASSING as e:
                self._last_error = e
                if not standing.is_set():
                    raise
                self._state = "resuming"
                await self._pause(failures)
                failures += 1

    async def _pause(self, failures: int) -> None:
        await asyncio.sleep(self._random.uniform(0, min(LONGEST_WAIT, 0.05 * 2 ** min(failures, 10))))

    async def _start(self, feed: Feed, buffer: _Buffer) -> None:
        """Give what exists, where that is asked for, and learn it where a loss of history is to be made good."""
        if self._initial:
            snapshot = await feed.snapshot()
            changes = tuple(Change(kind="put", node=node) for node in snapshot.nodes)
            if self._lost is not None:
                self._lost.saw(changes)
            # The revision counts as handed out with the marker, not with the first of what exists.
            # There may be more than the buffer holds, and nobody reads before the watch stands.
            if changes:
                buffer.add(Batch(revision=None, items=changes))
            buffer.add(Batch(revision=snapshot.revision, items=(Synced(snapshot.revision),)))
            self._cursor = snapshot.revision + 1
        elif self._lost is not None:
            snapshot = await feed.snapshot(None if self._since is None else self._since - 1)
            self._lost.known.update((node.key, node.modified_revision) for node in snapshot.nodes)
            self._advance(snapshot.revision if self._since is None else self._since - 1)
        elif self._since is not None:
            self._advance(self._since - 1)

    def _advance(self, revision: int) -> None:
        """The watch stands at `revision`: nothing of it or before it will be given."""
        self._revision = revision
        self._cursor = revision + 1

    async def _deliver(self, batch: Batch, buffer: _Buffer) -> None:
        if self._lost is not None:
            self._lost.saw(batch.items)
        # Never backwards: a late answer of a member that is behind says nothing new.
        self._cursor = max(self._cursor or 0, (batch.revision or 0) + 1)
        await buffer.put(batch)

    async def _resync(self, feed: Feed, buffer: _Buffer) -> None:
        """Give the difference between what is known and what is present, and go on from there."""
        assert self._lost is not None
        snapshot = await feed.snapshot()
        changes = self._lost.difference(snapshot)
        self._lost.known.clear()
        self._lost.known.update((node.key, node.modified_revision) for node in snapshot.nodes)
        if changes:
            await buffer.put(Batch(revision=None, items=changes))
        await buffer.put(Batch(revision=snapshot.revision, items=(Resynced(snapshot.revision),)))
        self._cursor = snapshot.revision + 1
