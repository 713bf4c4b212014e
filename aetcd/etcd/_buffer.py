"""What was read and not yet asked for."""

from __future__ import annotations

import asyncio

from aetcd.errors import AetcdError
from aetcd.etcd._feed import Batch
from aetcd.etcd._values import Change

__all__ = ["Buffer"]

HEAVY = 16 * 1024 * 1024  # bytes of values, those of before included


class Buffer:
    """Batches on their way from the feed to the reader, bounded by the number of changes in them, and by their values.

    There may be ten thousands of them, nearly all empty: nothing is made before it is needed.

    size: Changes in it.
    weight: Bytes of their values.
    """

    __slots__ = ("_batches", "_error", "_limit", "_readers", "_room", "size", "weight")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: list[tuple[Batch, int]] | None = None
        self._error: AetcdError | None = None
        self._readers: list[asyncio.Future[None]] | None = None
        self._room: asyncio.Event | None = None
        self.size = self.weight = 0

    def offer(self, batch: Batch) -> bool:
        """Add it, where there is room. A batch larger than the whole buffer is let in when it is empty."""
        weight = _weight(batch)
        if self.size and (self.size + len(batch.items) > self._limit or self.weight + weight > HEAVY):
            return False
        self._add(batch, weight)
        return True

    def add(self, batch: Batch) -> None:
        """Add it, however much is there already."""
        self._add(batch, _weight(batch))

    def _add(self, batch: Batch, weight: int) -> None:
        if self._batches is None:
            self._batches = []
        # Of two that only tell how far the server is, the later one says all.
        if not batch.items and self._batches and not self._batches[-1][0].items:
            self._batches.pop()
        self._batches.append((batch, weight))
        self.size += len(batch.items)
        self.weight += weight
        if self._readers is not None:
            self._wake()

    async def put(self, batch: Batch) -> None:
        """Wait for room, and add."""
        while not self.offer(batch):
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    def take(self) -> Batch | None:
        """The next batch, if one is there. When none is left, raises the error that ended the feed."""
        if not self._batches:
            if self._error is not None:
                raise self._error
            return None
        batch, weight = self._batches.pop(0)
        self.size -= len(batch.items)
        self.weight -= weight
        if self._room is not None:
            self._room.set()
            self._room = None
        return batch

    async def filled(self) -> None:
        """Wait until something may be there, or the feed has ended."""
        # An Event would be made for each change that comes alone.
        reader = asyncio.get_running_loop().create_future()
        readers = self._readers
        if readers is None:
            readers = self._readers = []
        readers.append(reader)
        try:
            await reader
        except asyncio.CancelledError:
            readers.remove(reader)  # or those who look in again and again would add up while nothing comes
            raise

    def _wake(self) -> None:
        readers, self._readers = self._readers, None
        for reader in readers or ():
            if not reader.done():
                reader.set_result(None)

    @property
    def roomy(self) -> bool:
        """Whether it is half empty."""
        return self.size <= self._limit // 2 and self.weight <= HEAVY // 2

    def end(self, error: AetcdError) -> None:
        """Nothing will be added: readers get what is left, and then `error`."""
        self._error = self._error or error
        self._wake()


def _weight(batch: Batch) -> int:
    weight = 0
    for item in batch.items:
        if isinstance(item, Change):
            weight += len(item.node.raw or b"")
            if item.previous is not None:
                weight += len(item.previous.raw or b"")
    return weight
