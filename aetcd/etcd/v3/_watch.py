"""Watching a range of keys over the gateway: on a stream that is shared, or by a request whose answer has no end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from attrs import define, field

from aetcd._transport.streams import Stream
from aetcd._wire.framing import JSONValues
from aetcd.errors import ConnectFailed, HistoryLost, PermissionDenied, RevisionCompacted, Unauthenticated
from aetcd.etcd._feed import Batch, Share, Sink, Snapshot
from aetcd.etcd._values import Node
from aetcd.etcd.v3._codec import key_range
from aetcd.etcd.v3._frames import WATCH, WatchFrame, create_request, decode_frames, watch_request
from aetcd.etcd.v3._gateway import Gateway
from aetcd.etcd.v3._hub import Hub
from aetcd.etcd.v3._kv import KV
from aetcd.etcd.v3._link import SharedWatch
from aetcd.etcd.v3._models import Header, KeyValue
from aetcd.etcd.v3._reader import Reader, refusal

__all__ = ["RangeFeed"]


@define(eq=False)
class RangeFeed:
    """The changes of a range of keys.

    read: A key and value as the caller knows it.
    wanted: Tells the keys of the range that are; None where all of them are.
    hub: Where it is shared; None to have a request of its own.
    """

    name: str
    gateway: Gateway
    kv: KV
    key: bytes
    range_end: bytes | None
    read: Callable[[KeyValue], Node]
    hub: Hub | None = None
    wanted: Callable[[bytes], bool] | None = None
    cluster: int = field(default=0, init=False)
    resets: int = field(default=0, init=False)

    def share(self, sink: Sink) -> Share | None:
        """As `Feed.share`."""
        # The refusal of an empty range has no name on it, so it is left to a stream of its own.
        if self.range_end is not None:
            first, end = key_range(self.key, self.range_end, False, False)
            if end != b"\0" and end <= first:
                return None
        watch = SharedWatch(self, sink, self.reader())
        return watch if self.place(watch) else None

    def reader(self) -> Reader:
        """One for the frames of one stream, from its first on."""
        return Reader(self.read, self.wanted)

    def place(self, watch: SharedWatch) -> bool:
        """Put a watch of it on a stream. False where there is none that could be shared."""
        return self.hub is not None and self.hub.place(watch)

    @asynccontextmanager
    async def open(self, since: int | None) -> AsyncIterator[_RangeSource]:
        """Read from revision `since` on, or from now."""
        request = watch_request(await self.gateway.resolve(), self.request(0, since))
        renewed = False
        while True:
            stale = self.gateway.channel.auth.current()
            async with self.gateway.channel.stream(request) as stream:
                source = _RangeSource(stream, self.reader())
                try:
                    await source.stand()
                except (Unauthenticated, PermissionDenied):
                    # A watch with a stale token is refused within a 200; by some versions as if it had no permission.
                    if renewed or await self.gateway.channel.auth.renew(stale) is None:
                        raise
                    renewed = True
                    continue
                if self.in_doubt(source.header, since):
                    self.check(await self.present(), since)
                yield source
                return

    def request(self, watch_id: int, since: int | None) -> bytes:
        """What asks for it on a stream."""
        return create_request(
            self.key,
            range_end=self.range_end,
            start_revision=since or 0,
            prev_kv=True,
            progress_notify=True,
            fragment=True,
            watch_id=watch_id,
        )

    async def snapshot(self, revision: int | None = None) -> Snapshot:
        """All that exists, read page by page at one revision."""
        nodes: list[Node] = []
        at = revision or 0
        try:
            async for page in self.kv.range_pages(self.key, range_end=self.range_end, revision=at):
                at = at or page.header.revision
                nodes += [self.read(kv) for kv in page.kvs if self.wanted is None or self.wanted(kv.key)]
        except RevisionCompacted as e:
            raise HistoryLost(f"revision {revision} is compacted: {e}") from e
        return Snapshot(revision=at, nodes=nodes)

    # Whether what is watched is the history that the cursor belongs to

    def in_doubt(self, header: Header, since: int | None) -> bool:
        """Whether the present revision must be asked for, since the member that answered has not reached `since`.

        Of a start revision in the future the server says nothing, and then is silent until it is reached: for ever,
        where the cluster was restored from a backup. Raises HistoryLost where it is another cluster for certain.
        """
        before, self.cluster = self.cluster, header.cluster_id
        if before and header.cluster_id != before:
            raise HistoryLost(f"this is another cluster: {header.cluster_id:x}, and no longer {before:x}")
        guard = self.gateway.guard
        if guard is not None and guard.resets != self.resets:
            self.resets = guard.resets
            # It may have come beyond the cursor since, but by another way.
            if before:
                raise HistoryLost("the cluster was restored from a backup")
        return since is not None and header.revision < since - 1

    async def present(self) -> Header:
        """Where the cluster is: a linearizable read, of a key that may be read where it may be watched."""
        return (await self.kv.range(self.key, count_only=True)).header

    async def try_read(self, peer: str) -> None:
        """Read the range, as little of it as can be. Raises what keeps the user from it."""
        await self.kv.range(self.key, range_end=self.range_end, keys_only=True, limit=1, serializable=True, peer=peer)

    def check(self, present: Header, since: int | None) -> None:
        """Raises HistoryLost where the cluster, and not only a member that is behind, has not reached `since`."""
        if self.in_doubt(present, since):
            raise HistoryLost(f"the cluster is at revision {present.revision}, before {since}: it was restored")


@define(eq=False)
class _RangeSource:
    """One open watch stream with one watch on it."""

    stream: Stream
    reader: Reader
    header: Header = field(factory=Header)
    _values: JSONValues = field(factory=JSONValues)
    _frames: list[WatchFrame] = field(factory=list)

    @property
    def revision(self) -> int:
        """Where the server stood when the watch was created."""
        return self.header.revision

    async def stand(self) -> None:
        """Wait until the server says that the watch stands."""
        while not self._frames:
            await self._read()
        frame = self._frames[0]
        self._refused(frame)
        self.header = frame.header

    async def next(self) -> Sequence[Batch]:
        """The batches of the frames that have come."""
        while not self._frames:
            await self._read()
        frames, self._frames = self._frames, []
        batches: list[Batch] = []
        for frame in frames:
            self._refused(frame)
            batches += self.reader.batches(frame)
        return batches

    async def _read(self) -> None:
        chunk = await self.stream.read()
        if not chunk:
            raise ConnectFailed("the server ended the stream", peer=self.stream.peer, operation=WATCH.operation)
        if self.stream.status != 200:
            await self._refused_by_status(chunk)
        frames = list(decode_frames(self._values, chunk, peer=self.stream.peer))
        self.stream.let_gather(len(frames))
        self._frames += frames

    async def _refused_by_status(self, start: bytes) -> None:
        body = start
        while chunk := await self.stream.read():
            body += chunk
        WATCH.check(self.stream.response(body))

    def _refused(self, frame: WatchFrame) -> None:
        if frame.canceled:
            raise refusal(frame, self.stream.peer)
