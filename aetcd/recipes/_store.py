"""What a recipe needs of a store: narrow enough for two protocols, and nothing of a wire in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self, TypeVar

S = TypeVar("S", bound="Session")

__all__ = ["Changes", "CoordinationStore", "Entry", "KeyChange", "Queue", "Session", "SignalLike", "Store", "Work"]


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

    @property
    def modified_revision(self) -> int:
        """Revision of its last write, as far as it is known."""
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

    @property
    def created_revision(self) -> int:
        """Revision of the entry's creation; of a deletion it tells nothing."""
        ...


class Changes(Protocol):
    """Changes as they come, each once and in order."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> KeyChange: ...

    @property
    def live(self) -> bool:
        """Whether a server tells them now; while it is not, the watch is being begun again."""
        ...

    @property
    def interruption(self) -> object:
        """Why it was last begun again: another object each time, None before."""
        ...

    @property
    def lag(self) -> int:
        """Changes that have come and were not read yet."""
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

    @property
    def shared(self) -> MutableMapping[object, Any]:
        """What the recipes of one client share, each under keys of its own."""
        ...

    # Sessions and background work

    async def begin(self, ttl: int) -> S:
        """Begin a session. A cancel leaves nothing that does not end by itself."""
        ...

    def spawn(self, function: Callable[[], Awaitable[object]], *, name: str) -> Work:
        """Run in the background, until it ends or the client closes. Raises ClientClosed."""
        ...

    def clock(self) -> float:
        """Seconds, by the clock that trust is judged by."""
        ...

    # Queues of entries that somebody owns

    async def enter(self, queue: str, raw: bytes, session: S) -> Entry:
        """Create an entry of one's own at the end of a queue, tied to the session.

        Its name is made by the client, so that one whose answer was lost is found again, never entered twice.
        """
        ...

    async def join(self, queue: str, raw: bytes, session: S) -> tuple[Entry, Queue]:
        """`enter`, and the queue as it stood right after, one's own entry in it."""
        ...

    async def queue(self, queue: str) -> Queue:
        """A linearizable list of a queue."""
        ...

    async def swap(self, entry: Entry, raw: bytes, session: S) -> Entry:
        """Give an entry of one's own another value. Raises NotOwner where it is gone or somebody else's."""
        ...

    async def leave(self, entry: Entry, session: S | None) -> bool:
        """Delete an entry or a plain key, if it is still the one that was created; False where it was gone already."""
        ...

    async def hand_over(self, entry: Entry, session: S, heir: Entry) -> tuple[bool, bool]:
        """`leave`, and whether another entry `stands` right after it, in one request where that can be.

        The second is False also where the store cannot tell by the way.
        """
        ...

    async def stands(self, entry: Entry) -> bool:
        """Whether an entry is still there and the one that was created: a linearizable read."""
        ...

    async def guarded(self, entry: Entry, txn: Any) -> Any:
        """Do a transaction of the store's own kind if the entry still stands. Raises NotOwner, Unsupported."""
        ...

    # Plain keys

    async def read(self, key: str) -> Entry | None:
        """A linearizable read."""
        ...

    async def claim(self, key: str, raw: bytes, session: S | None = None) -> Entry:
        """Create a key, or answer what stands there, whoever made it: it is one's own where it holds `raw`.

        Who wants to know gives it a `raw` that nobody else writes, so that it is found again where an answer was lost.
        session: What it is tied to; None for a key that stays. Raises SessionLost.
        """
        ...

    async def replace(self, entry: Entry, raw: bytes) -> Entry:
        """Give a key another value, if nobody has written it since.

        Raises CompareFailed, KeyNotFound, OutcomeUnknown.
        """
        ...

    async def list(self, key: str) -> Queue:
        """A linearizable list of a key and all under it, in no order."""
        ...

    # Watching

    def changes(self, key: str, since: int | None, *, recursive: bool = False) -> AbstractAsyncContextManager[Changes]:
        """Changes of a key, or of it and all under it, from revision `since` on. It never ends quietly.

        since: None for what comes after the block is entered.
        """
        ...

    # Values

    def encode(self, value: object, argument: str = "value") -> bytes:
        """Text and bytes as they are, any other object as JSON. Raises TypeError, ValueError, naming the argument."""
        ...

    def decode(self, raw: bytes, type: Any, key: str) -> Any:
        """Text for `str` or None, the bytes for `bytes`, read from JSON for anything else. Raises DecodeError."""
        ...

    def check_type(self, type: Any) -> None:
        """Raises TypeError, naming `type`, for what no value can be read as."""
        ...


Store = CoordinationStore[Any]
"""A store whose sessions are its own affair."""
