"""Watching a path on etcd v2: long polls, each of which answers one change, and a cursor between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from attrs import define, field

from aetcd._transport.streams import Stream
from aetcd._wire.message import Request
from aetcd.errors import DecodeError, HistoryLost
from aetcd.etcd._values import Change, Kind, Node
from aetcd.etcd._watch import Batch, Snapshot
from aetcd.etcd.v2._codec import decode_keys, wait_request
from aetcd.etcd.v2._models import KeysResponse, V2Node

if TYPE_CHECKING:
    from aetcd.etcd.v2._keyspace import Place, V2KeySpace

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

# Between two polls of which the first ended without a change, as they do when a server shuts down.
EMPTY_POLL_PAUSE = 0.2

# A server keeps the last 1000 changes only, of all keys together, so that the cursor must follow also where nothing
# changes; and a connection that a router has forgotten is silent for ever.
SILENT_POLL = 10.0  # seconds until a silent poll is replaced by a new one


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
    async def open(self, since: int | None) -> AsyncIterator[_PollSource]:
        """Read from index `since` on, or from now."""
        if since is None:
            since = await self._index() + 1
        source = _PollSource(self, since)
        try:
            await source.stand()
            yield source
        finally:
            await source.aclose()

    async def snapshot(self, revision: int | None = None) -> Snapshot:
        """All keys that exist. Of a past index nothing is told, since no v2 server keeps a past state."""
        if revision is not None:
            return Snapshot(revision=revision, nodes=())
        reading = await self.space.read(self.place, recursive=self.recursive, sort=True)
        self.check_cluster(reading.cluster_id)
        nodes = [] if reading.node is None else list(self._leaves(reading.node))
        return Snapshot(revision=reading.index, nodes=nodes)

    def _leaves(self, node: V2Node) -> Iterator[Node]:
        if not node.dir:
            shown = self.place.node(node, self.type)
            if shown is not None:
                yield shown
        elif self.recursive:
            for child in node.nodes:
                yield from self._leaves(child)

    # The history that a cursor belongs to

    def check_cluster(self, cluster_id: str) -> None:
        """Raises HistoryLost where another cluster answers than before."""
        if self._cluster and cluster_id and cluster_id != self._cluster:
            raise HistoryLost(f"this is another cluster: {cluster_id}, and no longer {self._cluster}")
        self._cluster = cluster_id or self._cluster

    async def check_reached(self, cursor: int) -> None:
        """Raises HistoryLost where the cluster is before a cursor that it had reached once.

        Of such a start a server says nothing, and is silent until it gets there.
        """
        index = await self._index()
        if index < cursor - 1:
            raise HistoryLost(f"the cluster is at index {index}, before {cursor}: it was restored")

    async def _index(self) -> int:
        """Where the cluster is, by a linearizable read."""
        reading = await self.space.read(self.place)
        self.check_cluster(reading.cluster_id)
        return reading.index

    # Changes

    def changes(self, event: KeysResponse) -> tuple[Change, ...]:
        """What an event is to this feed: one change, or none."""
        node = event.the_node
        kind = KINDS.get(event.action)
        if kind is None:
            raise DecodeError(f"a change by {event.action!r}, which etcd v2 does not have")
        if kind != "put" and self.place.path.startswith(_under(node.key)) and node.key != self.place.path:
            # A directory above is gone, and the key with it. The server does not tell what the key was.
            gone = Node(key=self.place.key, modified_revision=node.modified_index, type=self.type)
            return (Change(kind=kind, node=gone),)
        shown = self._shown(node)
        if shown is None:
            return ()
        previous = None if event.prev_node is None else self._shown(event.prev_node)
        return (Change(kind=kind, node=shown, previous=previous),)

    def _shown(self, node: V2Node) -> Node | None:
        if node.key != self.place.path:
            below = node.key.removeprefix(_under(self.place.path))
            # Hidden keys are told from the history and not while they happen (measured), and no listing shows them.
            if below == node.key or f"/{below}".find("/_") >= 0:
                return None
        return self.place.node(node, self.type)


@define(eq=False)
class _PollSource:
    """Polls from a cursor on, one after the other."""

    feed: PathFeed
    cursor: int
    _poll: _Poll | None = field(default=None, init=False)

    @property
    def revision(self) -> int:
        """All up to here was seen before."""
        return self.cursor - 1

    async def stand(self) -> None:
        """Wait until the server holds a poll, and has the changes from the cursor on."""
        self._poll = await self._open(self.cursor)

    async def next(self) -> Sequence[Batch]:
        """The next change; or none, where the cursor has moved on without one."""
        if self._poll is None:
            await self.stand()
        poll = self._poll
        assert poll is not None
        with anyio.move_on_after(SILENT_POLL) as patience:
            await poll.read()
        if patience.cancelled_caught and not poll.body:
            return await self._replace(poll)
        if not poll.ended:
            return ()
        await self.aclose()
        if not poll.body.strip():
            await anyio.sleep(EMPTY_POLL_PAUSE)
            return self._seen(poll.index)
        event = poll.event()
        self.cursor = event.the_node.modified_index + 1
        return (Batch(revision=self.cursor - 1, items=self.feed.changes(event)),)

    async def aclose(self) -> None:
        """Drop the poll."""
        poll, self._poll = self._poll, None
        if poll is not None:
            await poll.aclose()

    async def _open(self, cursor: int) -> _Poll:
        request = wait_request(self.feed.place.path, recursive=self.feed.recursive, wait_index=cursor)
        poll = await _Poll.open(self.feed, request)
        try:
            self.feed.check_cluster(poll.cluster_id)
            if poll.index < cursor - 1:
                # The member may only be behind: a linearizable read knows.
                await self.feed.check_reached(cursor)
        except BaseException:
            await poll.aclose()
            raise
        return poll

    async def _replace(self, poll: _Poll) -> Sequence[Batch]:
        """Give up a silent poll for one that begins where the first one began to wait.

        A change before that would have come with the head of the answer, and has not for seconds. To believe in the
        silence up to now would lose what is on its way; to move the cursor when a connection breaks, what was to come
        right behind the head.
        """
        try:
            fresh = await self._open(max(self.cursor, poll.index + 1))
        except HistoryLost as e:
            if e.first_available is None:
                raise
            return ()  # more changed meanwhile than the server keeps, none of it here: the old poll stands and sees all
        with anyio.move_on_after(0):
            await poll.read()
        if poll.body:
            await fresh.aclose()
            return ()
        await poll.aclose()
        self._poll = fresh
        return self._seen(poll.index)

    def _seen(self, index: int) -> Sequence[Batch]:
        """All up to an index was looked at, and nothing was there."""
        if index < self.cursor:
            return ()
        self.cursor = index + 1
        return (Batch(revision=index),)


@define(eq=False)
class _Poll:
    """One request that waits for one change."""

    request: Request
    stream: Stream
    resources: AsyncExitStack
    body: bytes = b""
    ended: bool = False

    @classmethod
    async def open(cls, feed: PathFeed, request: Request) -> _Poll:
        """Returns when the server holds it. Raises HistoryLost where the changes from the cursor on are gone."""
        async with AsyncExitStack() as opening:
            stream = await opening.enter_async_context(feed.space.channel.stream(request))
            poll = cls(request, stream, opening)
            if stream.status != 200:
                await poll.read()
                poll.event()
            poll.resources = opening.pop_all()
        return poll

    @property
    def index(self) -> int:
        """Where the peer was when it began to wait."""
        return int(self.stream.headers.get("X-Etcd-Index", 0))

    @property
    def cluster_id(self) -> str:
        """The cluster that answers."""
        return self.stream.headers.get("X-Etcd-Cluster-Id", "")

    async def read(self) -> None:
        """Read until it ends. A cancel loses nothing."""
        while chunk := await self.stream.read():
            self.body += chunk
        self.ended = True

    def event(self) -> KeysResponse:
        """The change that it told. Raises what a refusal stands for."""
        return decode_keys(self.request, self.stream.response(self.body))

    async def aclose(self) -> None:
        """Drop it."""
        await self.resources.aclose()


def _under(path: str) -> str:
    return path if path.endswith("/") else path + "/"
