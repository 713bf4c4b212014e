"""The changes of a path from a cursor on, none lost and none twice, by requests of which any may break or fall silent.

What the server does, measured on 3.4.23 and 3.5.1, and told by its source (`store/watcher_hub.go`):

- A wait from an index in the past is answered with the first change since. A stream tells that one, and then nothing
  for ever. The head of the answer says where the store is: a change at or before that came from the past.
- A stream that was not answered from the past tells every change from its index on, in order, until 100 of them queue
  for a reader who is slow. It still tells these 100, and then nothing for ever, without an end. So a stream that has
  told fewer than 100 tells all, however long it is silent; after that its silence proves nothing.
- Who streams the very key that is deleted or expires is told so twice.

So what a stream tells is believed, and its silence only as far as that goes. What it may have left out comes from the
history, by polls that begin at the cursor: each tells the first change from there on, wherever the member is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import anyio
from attrs import define, field

from aetcd.errors import AetcdError, HistoryLost
from aetcd.etcd.v2._codec import wait_request
from aetcd.etcd.v2._models import KeysResponse
from aetcd.etcd.v2._waits import Wait, store_index

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel

__all__ = ["Line", "check_cluster", "under"]

QUEUE = 100  # changes that a server keeps for a stream whose reader is slow
QUIET = 0.05  # seconds of silence after which a stream that may have been dropped is replaced

# A server keeps the last 1000 changes only, of all keys together, so that the cursor must follow also where nothing
# changes; and a connection that a router has forgotten is silent for ever.
SILENT = 10.0  # seconds until a silent request is replaced by a new one

# Between two requests of which the first ended without a change, as they do behind some proxies.
EMPTY_PAUSE = 0.2

KEPT = 1000  # changes that are kept for followers who are behind the fastest one

# Those of a line that broke come back within the longest pause between two attempts, and each with the same cursor.
GATHERING = 5.0  # seconds for which a new line keeps what all have had who have come so far


class Positioned(Protocol):
    """Who follows a line: its cursor is the first index that it has not had."""

    @property
    def cursor(self) -> int: ...


@define(eq=False)
class Line:
    """The changes of a path, read on when one of its followers needs more.

    path: With its leading slash, and none at the end.
    cursor: All before this index was told.
    floor: All from this index to the cursor is still kept.
    known: An index that the cluster has reached.
    turn: Held by the follower that reads on for all.
    error: Why nothing more comes; None while it lives.
    """

    channel: Channel
    path: str
    recursive: bool
    cursor: int
    clock: Callable[[], float] = time.monotonic
    cluster_id: str = field(default="", init=False)
    floor: int = field(init=False)
    known: int = field(default=0, init=False)
    turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    error: AetcdError | None = field(default=None, init=False)
    followers: set[Positioned] = field(factory=set, init=False)
    _kept: deque[KeysResponse] = field(factory=deque, init=False)
    _stream: Wait | None = field(default=None, init=False)
    _poll: Wait | None = field(default=None, init=False)
    _behind: bool = field(default=False, init=False)
    _opening: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _silent: int = field(default=0, init=False)
    _gathered_at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.floor = self.cursor
        self._gathered_at = self.clock() + GATHERING

    @property
    def stands(self) -> bool:
        """Whether the server tells what comes."""
        return self._stream is not None

    def since(self, cursor: int) -> Sequence[KeysResponse]:
        """What is kept from a cursor on, which must not be below the floor."""
        found = []
        for event in reversed(self._kept):
            if event.the_node.modified_index < cursor:
                break
            found.append(event)
        found.reverse()
        return found

    # Reading on, by whoever has the turn. A cancel loses nothing: the next one goes on from there.

    async def stand(self) -> None:
        """Wait until the server tells what comes. Raises HistoryLost where changes from the cursor on are gone."""
        await self._guarded(self._stand)

    async def step(self) -> None:
        """Wait for something: a change, a silence that moves the cursor, or the end of a request."""
        self._forget()
        await self._guarded(self._step)

    async def aclose(self) -> None:
        """Drop its requests."""
        waits, self._stream, self._poll = (self._stream, self._poll), None, None
        for wait in waits:
            if wait is not None:
                await wait.aclose()

    async def _guarded(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except AetcdError as e:
            self.error = e
            await self.aclose()
            raise

    async def _step(self) -> None:
        stream = await self._stand()
        if self._behind:
            await self._catch_up(stream)
        else:
            await self._follow(stream)

    async def _stand(self) -> Wait:
        # Not under the turn, which is held for as long as nothing changes: who joins needs to know only that it stands.
        async with self._opening:
            if self.error is not None:
                raise self.error
            if self._stream is None:
                # While others write, a stream from the cursor would be answered from the past again and again. One from
                # now on tells what comes, and polls what lies between.
                self._stream = await self._open(None if self._behind else self.cursor, stream=True)
                self._behind = self._behind and self.cursor <= self._stream.index
            return self._stream

    async def _follow(self, stream: Wait) -> None:
        doubtful = stream.told >= QUEUE
        with anyio.move_on_after(QUIET if doubtful else SILENT) as patience:
            self._take(await stream.read())
        if patience.cancelled_caught:
            await self._replace(stream, doubtful=doubtful)
        elif stream.spent or stream.ended:
            self._stream, self._behind = None, stream.spent
            await stream.aclose()
            if not stream.touched:
                await self._ended_empty(stream)

    async def _replace(self, stream: Wait, *, doubtful: bool) -> None:
        """Give up a silent stream for another one, and believe in its silence as far as `_silence` says."""
        seen = 0 if doubtful else self._confirmed(stream)
        try:
            fresh = await self._open(max(self.cursor, seen + 1), stream=True)
        except HistoryLost as e:
            if doubtful or e.first_available is None:
                raise
            return  # more changed meanwhile than the server keeps, none of it here: the old one stands and tells all
        came = False
        with anyio.move_on_after(0):
            self._take(await stream.read())
            came = True
        if came and not doubtful:
            await fresh.aclose()
            return
        if not doubtful:
            self._silence(stream)
        self._stream = fresh
        await stream.aclose()

    async def _catch_up(self, stream: Wait) -> None:
        """Poll what lies between the cursor and the beginning of the stream.

        Where nothing does, the poll tells the first change that the stream tells too: it needs no other end.
        """
        poll = self._poll = self._poll or await self._open(self.cursor, stream=False)
        with anyio.move_on_after(SILENT) as patience:
            self._take(await poll.read())
        if patience.cancelled_caught:
            self._silence(poll)
        elif not poll.ended:
            return
        self._poll = None
        await poll.aclose()
        if not poll.touched and poll.ended:
            await self._ended_empty(poll)
        self._behind = self.cursor <= stream.index

    async def _ended_empty(self, wait: Wait) -> None:
        await anyio.sleep(EMPTY_PAUSE)
        self._seen(wait.index)

    async def _open(self, cursor: int | None, *, stream: bool) -> Wait:
        request = wait_request(self.path, recursive=self.recursive, wait_index=cursor, stream=stream)
        wait = await Wait.open(self.channel, request)
        try:
            self._check_cluster(wait.cluster_id)
            if wait.index < self.cursor - 1:
                # The member may only be behind: a linearizable read knows.
                await self.check_reached(self.cursor)
        except BaseException:
            await wait.aclose()
            raise
        self.known = max(self.known, wait.index)
        return wait

    # The history that a cursor belongs to

    async def check_reached(self, cursor: int) -> None:
        """Raises HistoryLost where the cluster is before a cursor that it had reached once.

        Of such a start a server says nothing, and is silent until it gets there.
        """
        index, cluster_id = await store_index(self.channel, self.path)
        self._check_cluster(cluster_id)
        if index < cursor - 1:
            raise HistoryLost(f"the cluster is at index {index}, before {cursor}: it was restored")
        self.known = max(self.known, index)

    def _check_cluster(self, cluster_id: str) -> None:
        check_cluster(self.cluster_id, cluster_id)
        self.cluster_id = cluster_id or self.cluster_id

    # What was told

    def _take(self, events: Sequence[KeysResponse]) -> None:
        for event in events:
            index = event.the_node.modified_index
            if index >= self.cursor:
                self.cursor = index + 1
                if self._concerns(event.the_node.key):
                    self._kept.append(event)

    def _concerns(self, key: str) -> bool:
        """Whether a change of this key is one of the path.

        From the history, servers also tell of hidden keys, which they do not do while these change, and that `/a` was
        deleted to who watches `/ab` (by their source).
        """
        if key == self.path or self.path.startswith(under(key)):
            return True
        above = under(self.path)
        return key.startswith(above) and "/_" not in key[len(above) - 1 :]

    def _confirmed(self, wait: Wait) -> int:
        """How far nothing was, by the silence of this request and of the one before."""
        return 0 if wait.partial else min(self._silent, wait.index)

    def _silence(self, wait: Wait) -> None:
        """A request was silent for long.

        What was before it began to wait would have come right behind the head of the answer. But the connection may
        have been forgotten just then, so that it takes another one, silent as long, to move the cursor. Where one
        breaks, what was behind its head is open, and up to now nothing is known: it may be on its way.
        """
        self._seen(self._confirmed(wait))
        self._silent = 0 if wait.partial else wait.index

    def _seen(self, index: int) -> None:
        """All up to an index was looked at, and nothing was there."""
        self.cursor = max(self.cursor, index + 1)

    def _forget(self) -> None:
        """Drop what every follower has had, and what has been kept for too long for one that is slow."""
        lowest = self.floor
        if self.clock() > self._gathered_at:
            lowest = min((follower.cursor for follower in self.followers), default=self.cursor)
        while self._kept and (len(self._kept) > KEPT or self._kept[0].the_node.modified_index < lowest):
            self.floor = self._kept.popleft().the_node.modified_index + 1


def check_cluster(known: str, answering: str) -> None:
    """Raises HistoryLost where another cluster answers than before."""
    if known and answering and answering != known:
        raise HistoryLost(f"this is another cluster: {answering}, and no longer {known}")


def under(path: str) -> str:
    """What the paths below begin with."""
    return path if path.endswith("/") else path + "/"
