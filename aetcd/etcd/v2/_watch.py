"""Watching a path on etcd v2, as the facade shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import define, field

from aetcd.errors import DecodeError
from aetcd.etcd._values import Change, Kind, Node
from aetcd.etcd._watch import Batch, Sink, Snapshot
from aetcd.etcd.v2._line import check_cluster, under
from aetcd.etcd.v2._models import KeysResponse, V2Node
from aetcd.etcd.v2._shared import Follower

if TYPE_CHECKING:
    from aetcd.etcd.v2._keyspace import V2KeySpace
    from aetcd.etcd.v2._place import Place

__all__ = ["PathFeed"]

KINDS: dict[str, Kind] = {
    "set": "put",
    "create": "put",
    "update": "put",
    "compareAndSwap": "put",
    "delete": "delete",
    "compareAndDelete": "delete",
    "expire": "expire",
}


@define(eq=False)
class PathFeed:
    """The changes of a key, or of it and all under it."""

    name: str
    space: V2KeySpace
    place: Place
    recursive: bool
    type: Any
    _cluster: str = field(default="", init=False)

    @asynccontextmanager
    async def open(self, since: int | None) -> AsyncIterator[_FollowerSource]:
        """Read from index `since` on, or from now."""
        reached = 0
        if since is None:
            reached = await self._index()
            since = reached + 1
        follower = self.space.v2.lines.follow(
            self.place.path, recursive=self.recursive, cursor=since, reached=reached, check=self.check_cluster
        )
        try:
            await follower.stand()
            yield _FollowerSource(self, follower)
        finally:
            await follower.aclose()

    async def snapshot(self, revision: int | None = None) -> Snapshot:
        """All keys that exist. Of a past index nothing is told, since no v2 server keeps a past state."""
        if revision is not None:
            return Snapshot(revision=revision, nodes=())
        reading = await self.space.read(self.place, recursive=self.recursive, sort=True)
        self.check_cluster(reading.cluster_id)
        nodes = [] if reading.node is None else list(self._leaves(reading.node))
        return Snapshot(revision=reading.index, nodes=nodes)

    def share(self, sink: Sink) -> None:
        """It is not: equal ones share a line of requests all the same, and each reads it by itself."""

    def _leaves(self, node: V2Node) -> Iterator[Node]:
        if not node.dir:
            shown = self.place.node(node, self.type)
            if shown is not None:
                yield shown
        elif self.recursive:
            for child in node.nodes:
                yield from self._leaves(child)

    async def _index(self) -> int:
        """Where the cluster is, by a linearizable read."""
        reading = await self.space.read(self.place)
        self.check_cluster(reading.cluster_id)
        return reading.index

    def check_cluster(self, cluster_id: str) -> None:
        """Raises HistoryLost where another cluster answers than before."""
        check_cluster(self._cluster, cluster_id)
        self._cluster = cluster_id or self._cluster

    def change(self, event: KeysResponse) -> Change | None:
        """What an event is to this feed."""
        node = event.the_node
        kind = KINDS.get(event.action)
        if kind is None:
            raise DecodeError(f"a change by {event.action!r}, which etcd v2 does not have")
        if kind != "put" and node.key != self.place.path and self.place.path.startswith(under(node.key)):
            # A directory above is gone, and the key with it. The server does not tell what the key was.
            gone = Node(key=self.place.key, modified_revision=node.modified_index, type=self.type)
            return Change(kind=kind, node=gone)
        shown = self.place.node(node, self.type)
        if shown is None:
            return None
        previous = None if event.prev_node is None else self.place.node(event.prev_node, self.type)
        return Change(kind=kind, node=shown, previous=previous)


@define(eq=False)
class _FollowerSource:
    """What a follower is told, in batches."""

    feed: PathFeed
    follower: Follower

    @property
    def revision(self) -> int:
        """All up to here was seen before."""
        return self.follower.cursor - 1

    async def next(self) -> Sequence[Batch]:
        """The next changes, each of an index of its own; or how far the cursor has moved without one."""
        events = await self.follower.next()
        if not events:
            return (Batch(revision=self.revision),)
        return [self._batch(event) for event in events]

    def _batch(self, event: KeysResponse) -> Batch:
        change = self.feed.change(event)
        return Batch(revision=event.the_node.modified_index, items=() if change is None else (change,))
