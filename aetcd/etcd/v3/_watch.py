"""Watching a range of keys over the gateway: one request, whose answer has no end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from attrs import define, evolve, field

from aetcd._transport.streams import Stream
from aetcd._wire.framing import JSONValues
from aetcd.errors import ConnectFailed, HistoryLost, PermissionDenied, RevisionCompacted, Unauthenticated, WatchRefused
from aetcd.etcd._values import Change, Node
from aetcd.etcd._watch import Batch, Snapshot
from aetcd.etcd.v3._codec import Key
from aetcd.etcd.v3._frames import WATCH, WatchFrame, create_request, decode_frame
from aetcd.etcd.v3._gateway import Gateway
from aetcd.etcd.v3._kv import KV
from aetcd.etcd.v3._models import Event, Header, KeyValue

__all__ = ["RangeFeed"]

# A member that has lost its leader then ends the watch with `no leader`, and does not keep silent for ever.
_HAS_LEADER = {"Grpc-Metadata-hasleader": "true"}


@define(eq=False)
class RangeFeed:
    """The changes of a range of keys.

    read: A key and value as the caller knows it, or None for a key in the range that is not wanted.
    """

    name: str
    gateway: Gateway
    kv: KV
    key: Key
    range_end: Key | None
    read: Callable[[KeyValue], Node | None]
    _cluster: int = field(default=0, init=False)

    @asynccontextmanager
    async def open(self, since: int | None) -> AsyncIterator[_RangeSource]:
        """Read from revision `since` on, or from now."""
        prefix = await self.gateway.resolve()
        body = create_request(
            self.key,
            range_end=self.range_end,
            start_revision=since or 0,
            prev_kv=True,
            progress_notify=True,
            fragment=True,
        )
        request = WATCH.request(prefix, body)
        request = evolve(request, headers={**request.headers, **_HAS_LEADER})
        renewed = False
        while True:
            stale = self.gateway.channel.auth.current()
            async with self.gateway.channel.stream(request) as stream:
                source = _RangeSource(self, stream)
                try:
                    await source.stand()
                except (Unauthenticated, PermissionDenied):
                    # A watch with a stale token is refused as if it had no permission, within a 200.
                    if renewed or await self.gateway.channel.auth.renew(stale) is None:
                        raise
                    renewed = True
                    continue
                await self._check_history(source.header, since)
                yield source
                return

    async def snapshot(self, revision: int | None = None) -> Snapshot:
        """All that exists, read page by page at one revision."""
        nodes: list[Node] = []
        at = revision or 0
        try:
            async for page in self.kv.range_pages(self.key, range_end=self.range_end, revision=at):
                at = at or page.header.revision
                nodes += filter(None, map(self.read, page.kvs))
        except RevisionCompacted as e:
            raise HistoryLost(f"revision {revision} is compacted: {e}") from e
        return Snapshot(revision=at, nodes=nodes)

    async def _check_history(self, header: Header, since: int | None) -> None:
        """Make sure that what is watched is the history that the cursor belongs to.

        Of a start revision in the future the server says nothing, and then is silent until it is reached: for ever,
        where the cluster was restored from a backup.
        """
        if self._cluster and header.cluster_id != self._cluster:
            raise HistoryLost(f"this is another cluster: {header.cluster_id:x}, and no longer {self._cluster:x}")
        self._cluster = header.cluster_id
        if since is None or header.revision >= since - 1:
            return
        # The member may only be behind: a linearizable read knows, of a key that may be read where it may be watched.
        present = (await self.kv.range(self.key, count_only=True)).header
        if present.revision < since - 1 or present.cluster_id != self._cluster:
            raise HistoryLost(f"the cluster is at revision {present.revision}, before {since}: it was restored")


@define(eq=False)
class _RangeSource:
    """One open watch stream with one watch on it."""

    feed: RangeFeed
    stream: Stream
    header: Header = field(factory=Header)
    _values: JSONValues = field(factory=JSONValues)
    _frames: list[WatchFrame] = field(factory=list)
    _fragments: list[Event] = field(factory=list)

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
            self._fragments += frame.events
            # Fragments may be cut within one revision: only with the last of them is it whole.
            if frame.fragment:
                continue
            events, self._fragments = self._fragments, []
            if events:
                batches += self._batches(events)
            elif not frame.created:
                batches.append(Batch(revision=frame.header.revision))
        return batches

    async def _read(self) -> None:
        chunk = await self.stream.read()
        if not chunk:
            raise ConnectFailed("the server ended the stream", peer=self.stream.peer, operation=WATCH.operation)
        if self.stream.status != 200:
            await self._refused_by_status(chunk)
        self._frames += [decode_frame(value, peer=self.stream.peer) for value in self._values.feed(chunk)]

    async def _refused_by_status(self, start: bytes) -> None:
        body = start
        while chunk := await self.stream.read():
            body += chunk
        WATCH.check(self.stream.response(body))

    def _refused(self, frame: WatchFrame) -> None:
        if not frame.canceled:
            return
        if frame.compact_revision:
            raise HistoryLost(
                f"revisions before {frame.compact_revision} are compacted", first_available=frame.compact_revision
            )
        reason = frame.cancel_reason or "the server ended the watch and gave no reason"
        if "permission denied" in reason.lower() or "PermissionDenied" in reason:
            raise PermissionDenied(reason, status=200, peer=self.stream.peer, operation=WATCH.operation)
        raise WatchRefused(f"{WATCH.operation} at {self.stream.peer}: {reason}")

    def _batches(self, events: list[Event]) -> list[Batch]:
        """Events in order of revision, those of one revision together."""
        batches: list[Batch] = []
        changes: list[Change] = []
        revision = events[0].kv.mod_revision
        for event in events:
            if event.kv.mod_revision != revision:
                batches.append(Batch(revision=revision, items=tuple(changes)))
                changes, revision = [], event.kv.mod_revision
            node = self.feed.read(event.kv)
            if node is not None:
                changes.append(self._change(event, node))
        batches.append(Batch(revision=revision, items=tuple(changes)))
        return batches

    def _change(self, event: Event, node: Node) -> Change:
        previous = None if event.prev_kv is None else self.feed.read(event.prev_kv)
        if event.type == "DELETE":
            return Change(
                kind="delete", node=Node(key=node.key, modified_revision=event.kv.mod_revision), previous=previous
            )
        return Change(kind="put", node=node, previous=previous)
