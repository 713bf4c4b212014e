"""A watch that shares its stream with others, and the stream that is shared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import define, field

from aetcd._transport.streams import Stream
from aetcd._transport.supervisor import Job
from aetcd.errors import AetcdError, ClientClosed, HistoryLost, PermissionDenied, Unauthenticated
from aetcd.etcd._feed import Sink
from aetcd.etcd.v3._frames import WatchFrame
from aetcd.etcd.v3._mux import Mux
from aetcd.etcd.v3._reader import Reader, refusal

if TYPE_CHECKING:
    from aetcd.etcd.v3._watch import RangeFeed

__all__ = ["Link", "SharedWatch"]

# Seconds between two spaces that keep Go's server reading until it has answered. Three are enough, mostly: measured on
# 3.5.1, a stream is up 2 ms sooner than with all of them 1.5 ms apart.
FIRST_SPACE, LAST_SPACE = 0.0005, 0.002


class Outgoing:
    """What is sent on a stream: spaces until the answer has begun, and from then on what its watches need."""

    def __init__(self) -> None:
        self.mux = Mux(self._wake)
        self.begun = False
        self._space = FIRST_SPACE
        self._answered = asyncio.Event()
        self._some = asyncio.Event()

    def answered(self) -> None:
        """The answer has begun."""
        self._answered.set()

    def _wake(self) -> None:
        self._some.set()

    def __aiter__(self) -> Outgoing:
        self.begun = True
        return self

    async def __anext__(self) -> bytes:
        if not self._answered.is_set():
            try:
                async with asyncio.timeout(self._space):
                    await self._answered.wait()
            except TimeoutError:
                self._space = min(self._space * 1.5, LAST_SPACE)
                return b" "
        while not (data := self.mux.take()):
            self._some.clear()
            await self._some.wait()
        return data


@define(eq=False)
class Link:
    """One stream, from the first attempt to have it until it breaks.

    peer: URL of the peer, or of the one that is tried.
    credentials: Those it was opened with, and has for good.
    retired: It was broken on purpose, so its peer is none the worse.
    doubtful: Watches of which the cluster's present revision must tell whether they are on the right one.
    denied: Watches that the server refused to create, and are no longer on the stream.
    """

    outgoing: Outgoing = field(factory=Outgoing)
    peer: str = ""
    stream: Stream | None = None
    credentials: Mapping[str, str] | None = None
    retired: bool = False
    job: Job | None = None
    doubtful: list[SharedWatch] = field(factory=list)
    denied: list[tuple[SharedWatch, AetcdError]] = field(factory=list)
    _up_since: float | None = None
    _idle_since: float | None = None

    @property
    def mux(self) -> Mux:
        """Its watches."""
        return self.outgoing.mux

    def add(self, watch: SharedWatch) -> None:
        """Ask for a watch."""
        watch.link = self
        watch.watch_id = self.mux.add(watch)

    def start(self) -> Outgoing:
        """What an attempt sends: all that is wanted, whatever an attempt before it may have sent."""
        if self.outgoing.begun:
            watches, self.outgoing = self.release(), Outgoing()
            for watch in watches:
                self.add(watch)
        return self.outgoing

    def came_up(self, stream: Stream, credentials: Mapping[str, str] | None, now: float) -> None:
        """The peer has answered."""
        self.stream, self.credentials, self._up_since = stream, credentials, now
        self.mux.peer = stream.peer
        self.mux.began(now)

    def fail(self, error: AetcdError) -> None:
        """Break it."""
        if self.stream is not None:
            self.stream.fail(error)

    def lived_for(self, now: float) -> float:
        """Seconds since it came up, if it did."""
        return 0.0 if self._up_since is None else now - self._up_since

    def idle_for(self, now: float) -> float:
        """Seconds for which it has had no watch, as far as this was asked."""
        if len(self.mux):
            self._idle_since = None
            return 0.0
        self._idle_since = self._idle_since or now
        return now - self._idle_since

    def release(self) -> list[SharedWatch]:
        """Its watches, which are on no stream now."""
        watches = [watcher for watcher in self.mux.release() if isinstance(watcher, SharedWatch)]
        for watch in watches:
            watch.link = None
        return watches


@define(eq=False)
class SharedWatch:
    """One watch, on whichever stream it is now, or on none while its sink has no room.

    tries: How often its stream broke.
    """

    feed: RangeFeed
    sink: Sink
    reader: Reader
    link: Link | None = None
    watch_id: int = 0
    left: bool = False
    denied: bool = False
    tries: int = 0

    # For its sink

    def go_on(self) -> None:
        """As `Share.go_on`."""
        self.move()

    def leave(self) -> None:
        """As `Share.leave`."""
        self.left = True
        self._drop()

    # For its stream

    def request(self, watch_id: int) -> bytes:
        """As `Watcher.request`."""
        return self.feed.request(watch_id, self.sink.cursor)

    def created(self, frame: WatchFrame) -> None:
        """As `Watcher.created`."""
        assert self.link is not None
        self.denied = False
        try:
            if self.feed.in_doubt(frame.header, self.sink.cursor):
                self.link.doubtful.append(self)
            else:
                self.stands(frame.header.revision)
        except HistoryLost as e:
            self.end(e)

    def told(self, frame: WatchFrame) -> None:
        """As `Watcher.told`."""
        for batch in self.reader.batches(frame):
            if not self.sink.take(batch):
                # Its reader is slow. The others on the stream shall not wait: it begins anew when there is room.
                self._drop()
                return

    def cancelled(self, frame: WatchFrame) -> None:
        """As `Watcher.cancelled`."""
        link, self.link = self.link, None
        assert link is not None
        error = refusal(frame, link.peer)
        if isinstance(error, PermissionDenied | Unauthenticated) and not self.denied:
            link.denied.append((self, error))
        else:
            self.end(error)

    # For those who run the streams

    def stands(self, revision: int) -> None:
        """The server tells from the cursor on."""
        self.sink.stands(revision)

    def move(self) -> None:
        """Go to a stream. Where there is none that could be shared, the sink is told so."""
        self.reader = self.feed.reader()
        try:
            if not self.left and not self.feed.place(self):
                self.sink.over(None)
        except ClientClosed as e:
            self.end(e)

    def end(self, error: AetcdError | None) -> None:
        """Be on no stream, and say why."""
        self._drop()
        if not self.left:
            self.left = True
            self.sink.over(error)

    def _drop(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.mux.drop(self.watch_id)
