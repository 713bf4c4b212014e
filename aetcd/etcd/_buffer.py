"""What was read and not yet asked for."""

from __future__ import annotations

import asyncio

from aetcd.errors import AetcdError
from aetcd.etcd._feed import Batch

__all__ = ["Buffer"]


class Buffer:
    """Batches on their way from the feed to the reader, bounded by the number of changes in them.

    There may be ten thousands of them, nearly all empty: nothing is made before it is needed.
    """

    __slots__ = ("_batches", "_error", "_filled", "_limit", "_room", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: list[Batch] = []
        self._error: AetcdError | None = None
        self._filled: asyncio.Event | None = None
        self._room: asyncio.Event | None = None
        self.size = 0

    def offer(self, batch: Batch) -> bool:
        """Add it, where there is room. A batch larger than the whole buffer is let in when it is empty."""
        if self.size and self.size + len(batch.items) > self._limit:
            return False
        self.add(batch)
        return True

    def add(self, batch: Batch) -> None:
        """Add it, however much is there already."""
        # Of two that only tell how far the server is, the later one says all.
        if not batch.items and self._batches and not self._batches[-1].items:
            self._batches.pop()
        self._batches.append(batch)
        self.size += len(batch.items)
        if self._filled is not None:
            self._filled.set()
            self._filled = None

    async def put(self, batch: Batch) -> None:
        """Wait for room, and add."""
        while not self.offer(batch):
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    async def get(self) -> Batch:
        """The next batch; when there is none left, the error that ended the feed."""
        while not self._batches:
            if self._error is not None:
                raise self._error
            self._filled = self._filled or asyncio.Event()
            await self._filled.wait()
        batch = self._batches.pop(0)
        self.size -= len(batch.items)
        if self._room is not None:
            self._room.set()
            self._room = None
        return batch

    @property
    def roomy(self) -> bool:
        """Whether it is half empty."""
        return self.size <= self._limit // 2

    def end(self, error: AetcdError) -> None:
        """Nothing will be added: readers get what is left, and then `error`."""
        self._error = self._error or error
        if self._filled is not None:
            self._filled.set()
            self._filled = None
