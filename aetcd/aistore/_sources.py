"""What an object is made of: bytes, a file, a path or an async iterator, in pieces of moderate size."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import IO, Any, Self

import anyio.to_thread
from attrs import define, field

from aetcd.aistore._arguments import check_count

__all__ = ["Content", "Pieces", "Source", "as_source"]

PIECE = 512 * 1024  # bytes of a file at a time
IN_MEMORY = 64 * 1024  # bytes at a time of what is in memory already

Content = bytes | bytearray | memoryview | os.PathLike[str] | IO[bytes] | AsyncIterable[bytes]


@define(eq=False)
class Source:
    """Where bytes come from.

    length: Bytes in all; None where nobody knows, and it is sent in chunks.
    """

    length: int | None
    turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    current: Pieces | None = field(default=None, init=False)

    @property
    def rewindable(self) -> bool:
        """Whether it can be read from its start again."""
        return True

    def pieces(self) -> Pieces:
        """All of it, from the start; whoever reads older pieces gets no more."""
        self.current = Pieces(self)
        return self.current

    async def read(self, at: int) -> bytes:
        """The next bytes, of which `at` were read so far; none at the end."""
        raise NotImplementedError

    def close(self) -> None:
        """It is needed no longer."""


@define(eq=False)
class Pieces:
    """One reading of a source. No generator: one that is left in the middle would need a task to end it."""

    source: Source
    given: int = 0
    ended: bool = False

    @property
    def complete(self) -> bool:
        """Whether all of it was taken: only then can the other side have it all."""
        return self.ended if self.source.length is None else self.given >= self.source.length

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        # A reading that was given up may still be under way in a thread: the next one must not seek under it.
        async with self.source.turn:
            piece = await self.source.read(self.given) if self.source.current is self else b""
        if not piece:
            self.ended = True
            raise StopAsyncIteration
        self.given += len(piece)
        return piece


@define(eq=False)
class _Memory(Source):
    data: memoryview

    async def read(self, at: int) -> bytes:
        return bytes(self.data[at : at + IN_MEMORY])


@define(eq=False)
class _Path(Source):
    path: Path
    file: IO[bytes] | None = field(default=None, init=False)

    async def read(self, at: int) -> bytes:
        if self.file is None:
            self.file = await anyio.to_thread.run_sync(self.path.open, "rb")
        return await anyio.to_thread.run_sync(_read_at, self.file, at if at == 0 else None)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


@define(eq=False)
class _File(Source):
    file: IO[bytes]
    start: int | None

    @property
    def rewindable(self) -> bool:
        return self.start is not None

    async def read(self, at: int) -> bytes:
        piece = await anyio.to_thread.run_sync(_read_at, self.file, self.start if at == 0 else None)
        if not isinstance(piece, bytes):
            raise TypeError(f"content: the file gives {type(piece).__name__}: open it in binary mode")
        return piece


@define(eq=False)
class _Stream(Source):
    content: AsyncIterator[bytes]

    @property
    def rewindable(self) -> bool:
        return False

    async def read(self, at: int) -> bytes:
        async for piece in self.content:
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise TypeError(f"content: the iterator gives {type(piece).__name__}, and bytes are needed")
            if len(piece):
                return bytes(piece)
        return b""


def _read_at(file: IO[bytes], place: int | None) -> bytes:
    if place is not None:
        file.seek(place)
    return file.read(PIECE)


def as_source(content: Any, length: int | None = None) -> Source:
    """Read what a user gives as `content=`.

    length: Bytes in all, for a file or an iterator that does not know its own.

    Raises TypeError, naming the argument; a str is refused, for it may be meant as a path or as text.
    """
    if length is not None:
        check_count(length, "length")
    if isinstance(content, bytes | bytearray | memoryview):
        data = memoryview(content).cast("B") if len(content) else memoryview(b"")
        return _Memory(data=data, length=_agreed(len(data), length))
    if isinstance(content, os.PathLike):
        path = Path(content)
        return _Path(path=path, length=_agreed(path.stat().st_size, length))
    if isinstance(content, io.TextIOBase):
        raise TypeError("content: the file gives text: open it in binary mode")
    if hasattr(content, "read") and not hasattr(content, "__aiter__"):
        start = content.tell() if content.seekable() else None
        return _File(file=content, start=start, length=_size_of(content, start) if length is None else length)
    if isinstance(content, AsyncIterable):
        return _Stream(content=aiter(content), length=length)
    hint = ": a path is a pathlib.Path, text is text.encode()" if isinstance(content, str) else ""
    raise TypeError(
        f"content must be bytes, a path, a binary file or an async iterator, not {type(content).__name__}{hint}"
    )


def _agreed(real: int, told: int | None) -> int:
    if told is not None and told != real:
        raise ValueError(f"length: content has {real} bytes, not {told}")
    return real


def _size_of(file: IO[bytes], start: int | None) -> int | None:
    if start is None:
        return None
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    return end - start
