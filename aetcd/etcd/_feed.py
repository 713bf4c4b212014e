"""What stands between a protocol and a watch: changes in batches, and the two ways in which they come.

A *feed* is one protocol's way to read changes of one range of keys. Every feed can be opened and read, one connection
for each reader. One that is *shared* is told where to put what comes, and needs neither a connection nor a task of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from aetcd.errors import AetcdError
from aetcd.etcd._values import Change, Node, Resynced, Synced

__all__ = ["Batch", "Feed", "Item", "Share", "Sink", "Snapshot", "Source"]

Item = Change | Synced | Resynced


class Batch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All changes of one revision; none where the server only told how far it is.

    revision: What the watch's revision is once this was handed out; None where it stays as it was.
    """

    revision: int | None
    items: tuple[Item, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
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

    def share(self, sink: Sink) -> Share | None:
        """Have the changes from the sink's cursor on put there. The sink is first called some time after this returns.

        None where it cannot be shared, now or at all. Raises ClientClosed.
        """
        ...


class Sink(Protocol):
    """Where the changes of a shared feed are put. None of its functions waits, and none raises.

    cursor: The first revision that is wanted next; None before it stands for the first time, where that is from now on.
    stood: Whether it ever stood.
    """

    @property
    def cursor(self) -> int | None: ...

    @property
    def stood(self) -> bool: ...

    def stands(self, revision: int) -> None:
        """The server, at this revision, has begun to tell, or has begun again."""
        ...

    def take(self, batch: Batch) -> bool:
        """Take a batch. False: there is no room, and this batch and what follows is wanted again after `go_on`."""
        ...

    def broke(self, error: AetcdError) -> None:
        """Nothing comes for the moment. It goes on by itself."""
        ...

    def over(self, error: AetcdError | None) -> None:
        """Nothing more will come, for this reason; None: the feed can be shared no longer, and must be opened."""
        ...


class Share(Protocol):
    """The place of one sink among those that are fed together."""

    def go_on(self) -> None:
        """There is room again."""
        ...

    def leave(self) -> None:
        """Nothing more is wanted."""
        ...
