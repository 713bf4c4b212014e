"""The feed's side of a watch: it reads, or is fed, keeps the cursor, begins again after breaks, and makes lost history
good.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field, frozen

from aetcd._transport.supervisor import Job
from aetcd.errors import PASSING, AetcdError, ClientClosed, HistoryLost, WatchError
from aetcd.etcd._buffer import Buffer
from aetcd.etcd._feed import Batch, Feed, Item, Share, Snapshot
from aetcd.etcd._values import Change, Node, Resynced, Synced

__all__ = ["Intake"]

LONGEST_WAIT = 5.0  # seconds between two attempts to resume


@frozen
class _Known:
    """The revision of each key that was told of: what is needed to make lost history good."""

    revisions: dict[str, int] = field(factory=dict)

    def saw(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Change):
                if item.kind == "put":
                    self.revisions[item.key] = item.revision
                else:
                    self.revisions.pop(item.key, None)

    def replace(self, present: Snapshot) -> None:
        self.revisions.clear()
        self.revisions.update((node.key, node.modified_revision) for node in present.nodes)

    def difference(self, present: Snapshot) -> tuple[Change, ...]:
        """The changes that lead from what is known to what is present."""
        there = {node.key: node for node in present.nodes}
        changed = [
            Change(kind="put", node=node)
            for key, node in there.items()
            if self.revisions.get(key) != node.modified_revision
        ]
        gone = [
            Change(kind="delete", node=Node(key=key, modified_revision=present.revision))
            for key in self.revisions
            if key not in there
        ]
        return (*changed, *gone)


@define(eq=False)
class Intake:
    """Reads one feed into a buffer until it ends for good.

    A feed that is shared puts its changes here, and no task runs meanwhile; any other is read in a job of its own.

    cursor: The first revision wanted next.
    revision: The last one that the reader has had whole.
    state: As in `WatchStatus`.
    """

    name: str
    spawn: Callable[..., Job]
    buffer: Buffer
    cursor: int | None
    initial: bool
    resync: bool
    rng: random.Random | None
    revision: int = 0
    state: str = "opening"
    last_error: AetcdError | None = None
    left: bool = False
    _feed: Feed | None = None
    _known: _Known | None = None
    _share: Share | None = None
    _full: bool = False
    _job: Job | None = None
    _standing: asyncio.Future[AetcdError | None] | None = None

    # The reader's side

    def begin(self, feed: Feed) -> Awaitable[AetcdError | None]:
        """To be awaited until it stands; gives what keeps it from that. Raises what keeps it from looking first."""
        self._feed = feed
        self._standing = standing = asyncio.get_running_loop().create_future()
        if self.initial or self.resync:
            return self._look_first(feed, standing)
        # As nearly always: no coroutine, of which there might be ten thousands that wait.
        if self.cursor is not None:
            self._advance(self.cursor - 1)
        if not self._shared():
            self._begin_again(None)
        return standing

    async def _look_first(self, feed: Feed, standing: Awaitable[AetcdError | None]) -> AetcdError | None:
        try:
            await self._look(feed)
        except HistoryLost as e:
            self._begin_again(e)
        else:
            if not self._shared():
                self._begin_again(None)
        return await standing

    def take_out(self) -> Batch | None:
        """The next batch, where there is one. Raises the error that ended it. To wait there is `buffer.filled`."""
        batch = self.buffer.take()
        if self._full and self.buffer.roomy:
            self._full = False
            if self._share is not None:
                self._share.go_on()
        return batch

    async def stop(self) -> None:
        """End it: the reader is gone."""
        self.left = True
        if self._share is not None:
            self._share.leave()
            self._share = None
        if self._job is not None:
            self._job.cancel()
            await self._job.wait()
        self._end(self._cancelled())

    # Being fed

    @property
    def stood(self) -> bool:
        """As `Sink.stood`."""
        return self._standing is None

    def stands(self, revision: int) -> None:
        """As `Sink.stands`."""
        if self.cursor is None:
            self._advance(revision)
        self.state = "live"
        self._settle(None)

    def take(self, batch: Batch) -> bool:
        """As `Sink.take`."""
        if not self.buffer.offer(batch):
            self._full = True
            return False
        self._took(batch)
        return True

    def broke(self, error: AetcdError) -> None:
        """As `Sink.broke`."""
        self.last_error = error
        if self.stood:
            self.state = "resuming"

    def over(self, error: AetcdError | None) -> None:
        """As `Sink.over`."""
        self._share = None
        if self.stood:
            self.state = "resuming"
        if error is None:
            self._begin_again(None)
        elif self.resync and isinstance(error, HistoryLost):
            self.last_error = error
            self._begin_again(error)
        else:
            self.last_error = error
            self._end(error)

    # Reading

    def _begin_again(self, lost: HistoryLost | None) -> None:
        """Go on in the background, after a loss of history or without one."""
        try:
            self._job = self.spawn(lambda: self._run(lost), name=f"watch of {self.name!r}")
        except ClientClosed as e:
            self._end(e)

    async def _run(self, lost: HistoryLost | None) -> None:
        ending: AetcdError | None = None
        fed = False
        try:
            await self._follow(lost)
            fed = True
        except AetcdError as e:
            self.last_error = ending = e
        except Exception as e:
            self.last_error = ending = WatchError(f"the watch of {self.name!r} failed: {e!r}")
            raise
        finally:
            if not fed:
                self._end(ending or self._cancelled())

    async def _follow(self, lost: HistoryLost | None) -> None:
        """Read until the feed is shared, which then needs no more reading."""
        assert self._feed is not None
        failures = 0
        while True:
            try:
                if lost is not None:
                    await self._resync(self._feed)
                    lost = None
                if self._shared():
                    return
                async with self._feed.open(self.cursor) as source:
                    self.stands(source.revision)
                    while True:
                        batches = await source.next()
                        failures = 0
                        for batch in batches:
                            await self.buffer.put(batch)
                            self._took(batch)
            except HistoryLost as e:
                if not self.resync:
                    raise
                self.last_error = lost = e
                if failures:
                    await self._pause(failures)
                failures += 1
            except PASSING as e:
                self.last_error = e
                if not self.stood:
                    raise
                self.state = "resuming"
                await self._pause(failures)
                failures += 1

    def _shared(self) -> bool:
        assert self._feed is not None
        self._share = self._feed.share(self)
        return self._share is not None

    async def _pause(self, failures: int) -> None:
        uniform = (self.rng or random).uniform
        await asyncio.sleep(uniform(0, min(LONGEST_WAIT, 0.05 * 2 ** min(failures, 10))))

    async def _look(self, feed: Feed) -> None:
        """Give what exists, where that is asked for, and learn it where a loss of history is to be made good."""
        if self.resync:
            self._known = _Known()
        if self.initial:
            snapshot = await feed.snapshot()
            self._give(tuple(Change(kind="put", node=node) for node in snapshot.nodes), Synced(snapshot.revision))
        else:
            since = self.cursor
            snapshot = await feed.snapshot(None if since is None else since - 1)
            self._advance(snapshot.revision if since is None else since - 1)
        if self._known is not None:
            self._known.replace(snapshot)

    def _give(self, changes: tuple[Change, ...], marker: Synced | Resynced) -> None:
        """Changes that lead to a snapshot, and its marker. They are in memory as it is, so no room is waited for."""
        # The revision counts as handed out with the marker, not with the first of what exists.
        if changes:
            self.buffer.add(Batch(revision=None, items=changes))
        self.buffer.add(Batch(revision=marker.revision, items=(marker,)))
        self.cursor = marker.revision + 1

    async def _resync(self, feed: Feed) -> None:
        """Give the difference between what is known and what is present, and go on from there."""
        assert self._known is not None
        snapshot = await feed.snapshot()
        changes = self._known.difference(snapshot)
        self._known.replace(snapshot)
        self._give(changes, Resynced(snapshot.revision))

    def _advance(self, revision: int) -> None:
        """It stands at `revision`: nothing of it or before it will be given."""
        self.revision = revision
        self.cursor = revision + 1

    def _took(self, batch: Batch) -> None:
        if self._known is not None:
            self._known.saw(batch.items)
        # Never backwards: a late answer of a member that is behind says nothing new.
        revision = batch.revision or 0
        if self.cursor is None or self.cursor <= revision:
            self.cursor = revision + 1

    # The end

    def _cancelled(self) -> AetcdError:
        if self.left:
            return WatchError(f"the watch of {self.name!r} was left: read it inside its block")
        return ClientClosed(f"the client was closed, and with it the watch of {self.name!r}")

    def _end(self, error: AetcdError) -> None:
        self.state = "ended"
        self.buffer.end(error)
        self._settle(error)

    def _settle(self, error: AetcdError | None) -> None:
        """Let go whoever waits for it to stand: it does, or it ended."""
        if self._standing is not None:
            if not self._standing.done():
                self._standing.set_result(error)
            self._standing = None
