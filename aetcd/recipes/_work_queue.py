"""Queues of work: each item is done at least once, also where the worker that had it died."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar, cast

from aetcd._trust import Flag
from aetcd.errors import SessionLost
from aetcd.recipes._contenders import check_patience
from aetcd.recipes._store import Entry, KeyChange, Session, Store
from aetcd.recipes._waiting import Hold, Tie, persist, token, waited, while_held

__all__ = ["PriorityQueue", "WorkItem", "WorkQueue"]

T = TypeVar("T")

HIGHEST = 2**31  # priorities are whole numbers below this one, and not below its negative
DIGITS = 10


class WorkItem(Generic[T]):
    """An item that a worker has claimed: no other has it until the claim ends.

    It ends by `ack()`, which deletes the item, by `release()`, and with the worker's session; the last two give the
    item to the next worker.
    """

    def __init__(self, store: Store, entry: Entry, hold: Hold, type: Any) -> None:
        self._store = store
        self._entry = entry
        self._hold = hold
        self._type = type

    def __repr__(self) -> str:
        return f"<WorkItem {self.key!r}{' claimed' if self.held else ''}>"

    @property
    def key(self) -> str:
        """Where it is stored: a name that no other item has."""
        return self._entry.key

    @property
    def raw(self) -> bytes:
        """The stored bytes."""
        return self._entry.raw

    @property
    def value(self) -> T:
        """The value as the queue's `type=` asked for it. Raises DecodeError; the item stays claimed."""
        return cast(T, self._store.decode(self.raw, self._type, self.key))

    @property
    def priority(self) -> int:
        """As it was put; 0 in a queue without priorities."""
        return _priority(self._entry)

    @property
    def held(self) -> bool:
        """Whether the claim can be trusted, by the clock now."""
        return self._hold.held

    @property
    def lost(self) -> Flag:
        """Set once the claim can no longer be trusted: another worker may have the item."""
        return self._hold.lost

    async def ack(self) -> None:
        """It is done: delete it.

        A store that cannot be reached is waited for as long as the claim lasts. Raises SessionLost where the claim was
        lost before, so that the item is, or will be, done again. A cancel may leave the item, and always ends the
        claim.
        """
        try:
            if not self.held:
                raise SessionLost(f"the claim of {self.key!r} ended before it was done: it will be done again")
            await while_held(self._store, self._hold, self._delete, f"before {self.key!r} was deleted")
        finally:
            await self._hold.drop()

    async def release(self) -> None:
        """Give it back undone: the next worker may have it at once. Never raises."""
        await self._hold.drop()

    async def _delete(self) -> None:
        await persist(lambda: self._store.leave(self._entry, None))


class WorkQueue(Generic[T]):
    """Items in order of arrival, for any number of workers in any number of processes.

        queue = client.queue("mail", type=Letter)
        await queue.put(letter)
        async with queue.claim() as item:
            await send(item.value)          # done: deleted at the end of the block; not where it raises

    Claims are made in order; how long each takes is the worker's affair, so that items may be done in another. An item
    whose worker died, or was cut off for its TTL, comes back to its old place. So each item is done at least once, and
    seldom twice: what a worker does had better bear that.

    Every look for an item reads the whole queue, so it is one for thousands of items, not for millions.
    """

    def __init__(
        self, store: Store, name: str, *, type: Any = None, ttl: int = 15, session: Session | None = None
    ) -> None:
        store.check_type(type)
        self.name = name
        self._store = store
        self._type = type
        self._ttl = ttl
        self._session = session

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} {self.name!r}>"

    async def put(self, value: object) -> str:
        """Add an item at the end; its key. Where it failed without an answer, or was cancelled, it may be there."""
        return await self._put(value, 0)

    async def get(self, timeout: float | None = None) -> WorkItem[T]:
        """Wait for an item, and claim it; `ack()` it when it is done.

        timeout: Seconds; by default for ever. 0 takes what is there now. Raises LockTimeout.

        Raises SessionLost for a shared session that ended, and what ends a watch for good. A cancel claims nothing.
        """
        check_patience(timeout)
        tie = Tie(self._store, self._session, self._ttl)

        taken: WorkItem[T] | None = None

        async def look() -> WorkItem[T] | None:
            nonlocal taken
            taken = await self._take(tie)
            return taken

        try:
            text = f"there was nothing to be done in {self.name!r}"
            return await waited(self._store, self.name, look, timeout, text, recursive=True, matters=_may_free)
        except BaseException:
            # It may come after an item was had, when the watch is being left.
            await (tie.end() if taken is None else taken.release())
            raise

    @asynccontextmanager
    async def claim(self, timeout: float | None = None) -> AsyncIterator[WorkItem[T]]:
        """An item for a block: done at its end, given back where it raises or is cancelled. See `get` and `ack`.

        The block is not cancelled where the claim is lost: `item.lost` tells, and SessionLost is raised at its end.
        """
        item = await self.get(timeout)
        try:
            yield item
        except BaseException:
            await item.release()
            raise
        await item.ack()

    async def size(self) -> int:
        """How many items are not done, those that are claimed among them."""
        return len((await self._store.queue(self._items)).entries)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WorkItem[T]:
        return await self.get()

    @property
    def _items(self) -> str:
        return f"{self.name}/items"

    async def _put(self, value: object, priority: int) -> str:
        raw = self._store.encode(value)
        key = f"{self._items}/{priority + HIGHEST:0{DIGITS}d}-{token()}"
        await self._store.claim(key, raw)
        return key

    async def _take(self, tie: Tie) -> WorkItem[T] | None:
        claimed = {_name(claim) for claim in (await self._store.queue(f"{self.name}/claims")).entries}
        items = [item for item in (await self._store.queue(self._items)).entries if _name(item) not in claimed]
        for item in sorted(items, key=lambda item: (_priority(item), item.created_revision)):
            hold = Hold(self._store, f"{self.name}/claims/{_name(item)}", token().encode(), tie)
            try:
                # Another worker may have done it since it was read, and left no claim.
                if await hold.take() and await self._store.stands(item):
                    return WorkItem(self._store, item, hold, self._type)
            except BaseException:
                await hold.drop()
                raise
            await hold.leave()
        return None


class PriorityQueue(WorkQueue[T]):
    """As `WorkQueue`, but the items of the smallest priority come first, in order of arrival among themselves."""

    async def put(self, value: object, *, priority: int = 0) -> str:
        """Add an item; its key. Where it failed without an answer, or was cancelled, it may be there.

        priority: A whole number from -2**31 to 2**31 - 1, the smaller the more urgent.
        """
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise TypeError(f"priority must be a whole number, not {priority!r}")
        if not -HIGHEST <= priority < HIGHEST:
            raise ValueError(f"priority must be from -2**31 to 2**31 - 1, not {priority}")
        return await self._put(value, priority)


def _name(entry: Entry) -> str:
    return entry.key.rpartition("/")[2]


def _priority(entry: Entry) -> int:
    digits = _name(entry)[:DIGITS]
    return int(digits) - HIGHEST if digits.isdigit() else 0  # one that somebody put by hand


def _may_free(change: KeyChange) -> bool:
    """Whether after it there may be something to be done: an item came, or a claim ended."""
    return ("/claims/" in change.key) == (change.kind != "put")
