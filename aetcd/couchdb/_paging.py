"""Lists that are read a page at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Generic, Self, TypeVar

from aetcd.couchdb._arguments import check_count

__all__ = ["PAGE", "Paged"]

T = TypeVar("T")

PAGE = 1000  # rows of one request


class Paged(ABC, Generic[T]):
    """An async iterator over rows, which asks for the next page when the last is through.

        async for row in db.all_docs(): ...
        rows = await db.all_docs().all()

    It holds one page, and no connection between pages: leaving it early costs nothing. A cancelled wait for a row loses
    none.
    """

    def __init__(self, *, page: int, limit: int | None, skip: int) -> None:
        self._page = check_count(page, "page", least=1)
        self._left = None if limit is None else check_count(limit, "limit")
        self._skip = check_count(skip, "skip")
        self._rows: deque[T] = deque()
        self._done = self._left == 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next row. Raises what a request raises; the call after that asks again."""
        while not self._rows:
            if self._done:
                raise StopAsyncIteration
            rows, more = await self._fetch(self._page if self._left is None else min(self._page, self._left))
            if self._left is not None:
                rows = rows[: self._left]
                self._left -= len(rows)
            self._done = not more or self._left == 0
            self._rows.extend(rows)
        return self._rows.popleft()

    async def all(self) -> list[T]:
        """The rows that are left, at once."""
        return [row async for row in self]

    @abstractmethod
    async def _fetch(self, size: int) -> tuple[Sequence[T], bool]:
        """The next rows, as many as wanted as far as they can be counted before; and whether there may be more.

        It changes what it goes on from only when it has its answer, so that a cancel loses nothing.
        """
