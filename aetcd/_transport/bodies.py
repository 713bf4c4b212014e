"""Bodies that are made while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable

__all__ = ["Body", "Following", "Upload"]

ENDLESS = 2**40  # bytes, as the declared length of a body that goes on for as long as its answer


class Body:
    """What aiohttp sends, piece by piece. No generator: one left in the middle would need a task to end it.

    length: Bytes, as declared; None to send it in chunks of unknown number.
    progress: Called whenever the connection takes another piece.
    error: What the source raised, for aiohttp would show it as a broken connection.
    """

    def __init__(self, source: AsyncIterable[bytes], length: int | None) -> None:
        self.length = length
        self.progress: Callable[[], None] | None = None
        self.error: Exception | None = None
        self._source = aiter(source)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.progress is not None:
            self.progress()
        try:
            return await self._piece()
        except StopAsyncIteration:
            raise
        except Exception as e:
            self.error = e
            raise

    async def _piece(self) -> bytes:
        return await anext(self._source)


class Following(Body):
    """A body that goes on for as long as its answer is read: one piece at once, and what a source gives later."""

    def __init__(self, first: bytes, source: AsyncIterable[bytes]) -> None:
        # By a length: Go's server holds back its answer to a chunked body until that has ended.
        super().__init__(source, ENDLESS)
        self._first = first

    async def _piece(self) -> bytes:
        first, self._first = self._first, b""
        return first or await super()._piece()


class Upload(Body):
    """A body that can be sent once: the pieces of a source, in all as long as declared."""

    def __init__(self, source: AsyncIterable[bytes], length: int | None) -> None:
        super().__init__(source, length)
        self._given = 0

    async def _piece(self) -> bytes:
        try:
            piece = await super()._piece()
        except StopAsyncIteration:
            if self.length is not None and self._given != self.length:
                raise ValueError(f"content: it ended after {self._given} bytes of {self.length}") from None
            raise
        self._given += len(piece)
        if self.length is not None and self._given > self.length:
            raise ValueError(f"content: it is longer than the {self.length} bytes that were declared")
        return piece
