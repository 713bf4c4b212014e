"""A fair read-write lock: readers share, a writer is alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile

from aetcd.recipes._contenders import Holder, alone, holders, shown
from aetcd.recipes._guard import OnLost
from aetcd.recipes._lock import Claim, Holdings
from aetcd.recipes._store import Entry, Store

__all__ = ["RWLock", "ReadLock", "WriteLock"]

READ, WRITE = b"read", b"write"  # what an entry says of itself


def shared(entries: Collection[Entry]) -> int:
    """The rule: all readers up to the first who is none; where that is the first of all, it alone."""
    readers = takewhile(lambda entry: entry.raw == READ, entries)
    return sum(1 for _ in readers) or alone(entries)


class ReadLock(Claim):
    """The readers' side of an `RWLock`. Whose hold it is, and what a loss does, `Claim` says."""

    _what = "read lock"
    _rule = staticmethod(shared)
    _raw = READ


class WriteLock(Claim):
    """The writers' side of an `RWLock`. Whose hold it is, and what a loss does, `Claim` says."""

    _what = "write lock"
    _raw = WRITE


class RWLock:
    """Readers hold it together, a writer holds it alone, among all clients of a cluster.

        lock = client.rwlock("catalogue")
        async with lock.read() as held:
            ...  # held.fencing_token
        async with lock.write():
            ...

    It is fair: contenders queue in order of arrival, and a waiting writer holds later readers back. Fencing tokens grow
    in that order. A task has one side at a time: a reader cannot become a writer, for two who tried would wait for each
    other. To a `Lock` of the same name, and to `etcdctl lock`, it is a lock too, and to them all others are writers.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        ttl: int = 15,
        timeout: float | None = None,
        on_lost: OnLost = "cancel",
    ) -> None:
        holdings: Holdings = {}
        self.name = name
        self._store = store
        self._read = ReadLock(store, name, ttl=ttl, timeout=timeout, on_lost=on_lost, holdings=holdings)
        self._write = WriteLock(store, name, ttl=ttl, timeout=timeout, on_lost=on_lost, holdings=holdings)

    def __repr__(self) -> str:
        return f"<RWLock {self.name!r} ttl={self._read.ttl}>"

    def read(self) -> ReadLock:
        """The readers' side: `async with`, or `acquire()` and `release()`. It is the same at each call."""
        return self._read

    def write(self) -> WriteLock:
        """The writers' side: `async with`, or `acquire()` and `release()`. It is the same at each call."""
        return self._write

    async def holders(self) -> Sequence[Holder]:
        """Who holds it, by a linearizable read: their `value` is `read`, or that of the only one `write`."""
        return holders(await self._store.queue(self.name), shared)

    async def contenders(self) -> Sequence[Holder]:
        """All who hold it or wait for it, in order, by a linearizable read."""
        return shown((await self._store.queue(self.name)).entries)
