"""What a recipe needs of a store: narrow enough for two protocols, and nothing of a wire in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

S = TypeVar("S", bound="Session")

__all__ = ["CoordinationStore", "Entry", "KeyChange", "Queue", "Session", "SignalLike", "Store", "Work"]


class SignalLike(Protocol):
    """Something that becomes true once."""

    def is_set(self) -> bool:
        """Whether it has happened."""
        ...

    async def wait(self) -> None:
        """Wait until it has."""
        ...


class Session(Protocol):
    """What entries are tied to: they are gone when it ends."""

    @property
    def granted_ttl(self) -> int:
        """Seconds without renewal after which it ends."""
        ...

    @property
    def held(self) -> bool:
        """Whether it can be trusted, by the clock now."""
        ...

    @property
    def lost(self) -> SignalLike:
        """That it cannot be trusted any more."""
        ...

    async def aclose(self) -> None:
        """End it, and with it its entries. Never raises."""
        ...


class Entry(Protocol):
    """One key that somebody owns."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        ...

    @property
    def raw(self) -> bytes:
        """What it holds."""
        ...

    @property
    def created_revision(self) -> int:
        """Revision of its creation: it orders a queue, and tells an owner's entry from a later one of the same name."""
        ...


class Queue(Protocol):
    """The entries under a name, in order of creation."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The oldest first."""
        ...

    @property
    def revision(self) -> int:
        """The revision at which they stood so."""
        ...


class KeyChange(Protocol):
    """One change of an entry."""

    @property
    def kind(self) -> str:
        """`put`, `delete` or `expire`."""
        ...

    @property
    def key(self) -> str:
        """The entry's key."""
        ...

    @property
    def raw(self) -> bytes | None:
        """What was written."""
        ...

    @property
    def revision(self) -> int:
        """Revision of the change."""
        ...


class Work(Protocol):
    """Something that runs in the background."""

    def cancel(self) -> None:
        """Ask it to end."""
        ...

    async def wait(self) -> None:
        """Wait for its end."""
        ...


class CoordinationStore(Protocol[S]):
    """Create if absent, list in order of creation, compare and swap, delete if owned, watch from a cursor, sessions."""

    async def begin(self, ttl: int) -> S:
        """Begin a session. A cancel leaves nothing that does not end by itself."""
        ...

    async def enter(self, queue: str, raw: bytes, session: S) -> Entry:
        """Create an entry of one's own at the end of a queue, tied to the session.

        Its name is made by the client, so that one whose answer was lost is found again, never entered twice.
        """
        ...

    async def queue(self, queue: str) -> Queue:
        """A linearizable list of a queue."""
        ...

    async def swap(self, entry: Entry, raw: bytes, session: S) -> Entry:
        """Give an entry of one's own another value. Raises NotOwner where it is gone or somebody else's."""
        ...

    async def leave(self, entry: Entry, session: S) -> bool:
        """Delete an entry of one's own; False where it was gone already."""
        ...

    def changes(
        self, key: str, since: int, *, recursive: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[KeyChange]]:
        """Changes of a key, or of all under it, from revision `since` on. It never ends quietly."""
        ...

    def spawn(self, function: Callable[[], Awaitable[object]], *, name: str) -> Work:
        """Run in the background, until it ends or the client closes."""
        ...


Store = CoordinationStore[Any]
"""A store whose sessions are its own affair."""
