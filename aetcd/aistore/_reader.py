"""An object as it is read: piece by piece, checked, and gone on with where a connection broke."""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import define, evolve, field, frozen

from aetcd._transport.streams import Stream
from aetcd.aistore._bucket_shapes import read_object_props
from aetcd.aistore._checksums import Hasher, hasher, same
from aetcd.aistore._codec import BucketRef, object_path, request
from aetcd.aistore._errors import ChecksumMismatch, ObjectChanged
from aetcd.aistore._link import Link, TimeoutLike
from aetcd.errors import ConnectFailed, DecodeError, RequestTimeout, TransportError

if TYPE_CHECKING:
    from aetcd.aistore._dialect import Dialect
    from aetcd.aistore._models import ObjectProps

__all__ = ["ObjectReader", "Progress", "Span"]

Progress = Callable[[int, int | None], Awaitable[None] | None]

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@frozen(kw_only=True)
class Span:
    """Which bytes of an object: from `offset` on, `length` of them or all; or its `last` ones."""

    offset: int = 0
    length: int | None = None
    last: int | None = None

    @property
    def header(self) -> str | None:
        """As a Range header says it; None for the whole."""
        if self.last is not None:
            return f"bytes=-{self.last}"
        if self.length is not None:
            return f"bytes={self.offset}-{self.offset + self.length - 1}"
        return f"bytes={self.offset}-" if self.offset else None


@define(eq=False)
class ObjectReader:
    """The bytes of one object, inside `async with`: an async iterator of pieces, read no faster than they are taken.

        async with bucket.object("a/b").get() as reader:
            async for piece in reader: ...

    A connection that breaks, or a peer that falls silent, is no error: the reading goes on by a range from where it
    stopped, at the gateway again, for the target may be gone. Whoever leaves the block early drops the connection.

    Entering it raises ObjectNotFound, BucketNotFound, RangeRefused, ConfigError where the checksum cannot be computed.
    Reading raises ChecksumMismatch at the end, ObjectChanged where the object was replaced meanwhile, and the error of
    the transport where nobody goes on.
    """

    _link: Link = field(repr=False)
    _bucket: BucketRef
    _name: str
    _span: Span
    _verify: bool
    _timeout: TimeoutLike
    _props: ObjectProps | None = field(default=None, init=False)
    _start: int = field(default=0, init=False)
    _total: int | None = field(default=None, init=False)
    _size: int | None = field(default=None, init=False)
    _position: int = field(default=0, init=False)
    _stream: Stream | None = field(default=None, init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _hasher: Hasher | None = field(default=None, init=False)
    _kept: bytes = field(default=b"", init=False)
    _in_vain: int = field(default=0, init=False)
    _idle: float = field(default=math.inf, init=False)

    # What it is

    @property
    def props(self) -> ObjectProps:
        """The object's properties. Raises RuntimeError outside the block."""
        if self._props is None:
            raise RuntimeError("the reader is not entered: use `async with`")
        return self._props

    @property
    def size(self) -> int | None:
        """Bytes that there are to read: of the range, or of the whole. None where the server did not tell."""
        return self._size

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._position

    # Reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if piece := await self._next():
            return piece
        raise StopAsyncIteration

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer at the end only; by default all that is left, in memory."""
        pieces = []
        left = size
        while left and (piece := await self._next(left if size >= 0 else None)):
            pieces.append(piece)
            left -= len(piece) if size >= 0 else 0
        return b"".join(pieces)

    async def save_to(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """All that is left into a file, which is there when it is whole and checked. See `Object.save_to`.

        progress: Called with the bytes read and those in all (None where unknown); it may be async.
        """
        from aetcd.aistore._saving import save_reader

        await save_reader(self, Path(path), progress)

    async def _next(self, most: int | None = None) -> bytes:
        """The next bytes; none at the end."""
        if self._kept:
            return self._give(self._kept, most)
        while True:
            if self._stream is None:
                raise RuntimeError("the reader is not entered: use `async with`")
            if self._size is not None and self._position >= self._size:
                return self._finish()
            try:
                # A target that lives and sends nothing is as good as gone.
                piece = await self._stream.read(within=self._idle)
            except (ConnectFailed, RequestTimeout) as e:
                await self._resume(e)
                continue
            if piece:
                self._in_vain = 0
                return self._give(piece, most)
            if self._size is None:
                return self._finish()
            await self._resume(ConnectFailed("the answer ended too early", peer=self._stream.peer))

    def _give(self, piece: bytes, most: int | None) -> bytes:
        if most is not None and len(piece) > most:
            piece, self._kept = piece[:most], piece[most:]
        else:
            self._kept = b""
        self._position += len(piece)
        if self._hasher is not None:
            self._hasher.update(piece)
        if self._position == self._size:
            # Before the last piece is handed out: whoever asks for no more would never learn of it.
            self._finish()
        return piece

    def _finish(self) -> bytes:
        told = self.props.checksum
        if self._hasher is not None and told is not None:
            computed, self._hasher = self._hasher, None
            if not same(computed, told):
                raise ChecksumMismatch(
                    f"{self._bucket}/{self._name}: its {told.type} is {told.value}, and what was read has "
                    f"{computed.hexdigest()}",
                    peer=self._stream.peer if self._stream else None,
                    operation="aistore get",
                )
        return b""

    # Opening, and opening again

    async def __aenter__(self) -> Self:
        limits = self._link.budget(self._timeout).left()
        self._idle = limits.read or limits.total
        dialect = await self._link.dialect(self._timeout)
        stream = await self._open(self._span)
        try:
            self._begin(stream, dialect)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream = None
        await self._stack.aclose()

    async def _open(self, span: Span) -> Stream:
        headers = {"Range": span.header} if span.header else {}
        path = object_path(self._bucket, self._name)
        asked = request("get", "GET", path, query=self._bucket.query, headers=headers)
        self._stream = await self._stack.enter_async_context(self._link.stream(asked, self._timeout))
        return self._stream

    def _begin(self, stream: Stream, dialect: Dialect) -> None:
        props = read_object_props(dialect, stream.headers, self._bucket, self._name)
        length = stream.headers.get("Content-Length")
        self._size = int(length) if length is not None else None
        if self._span.header is not None:
            first, last, total = self._content_range(stream)
            self._start, self._size, self._total = first, last - first + 1, total
            props = evolve(props, size=total)
        else:
            self._total = self._size if self._size is not None else (props.size or None)
            self._size = self._total
        self._props = props
        if self._verify and props.checksum is not None and self._span.header is None:
            self._hasher = hasher(props.checksum.type, dialect)

    async def _resume(self, cause: TransportError) -> None:
        """Go on from where it stopped. Raises `cause` where that has been tried too often without a byte."""
        policy = self._link.retry
        self._in_vain += 1
        if self._in_vain >= policy.attempts:
            raise cause
        await self._stack.aclose()
        await asyncio.sleep(min(policy.cap, policy.base * 2.0 ** (self._in_vain - 1)) if self._in_vain > 1 else 0.0)
        left = None if self._size is None else self._size - self._position
        span = Span(offset=self._start + self._position, length=left) if self._position else self._span
        try:
            stream = await self._open(span)
        except TransportError as e:
            raise e from cause
        if span.header is None:
            length = stream.headers.get("Content-Length")
            self._check_same(stream, self._total if length is None else int(length))
            return
        first, _, total = self._content_range(stream)
        if first != self._start + self._position:
            raise DecodeError(f"bytes from {self._start + self._position} on are needed, and those from {first} came")
        self._check_same(stream, total)

    def _check_same(self, stream: Stream, total: int | None) -> None:
        dialect = self._link.spoken
        assert dialect is not None
        now = read_object_props(dialect, stream.headers, self._bucket, self._name)
        known = self.props
        if total != self._total or now.version != known.version:
            raise ObjectChanged(
                f"{self._bucket}/{self._name} was replaced while it was read: {known.size} bytes of version "
                f"{known.version or '(none)'}, now {total} of {now.version or '(none)'}",
                peer=stream.peer,
                operation="aistore get",
            )

    def _content_range(self, stream: Stream) -> tuple[int, int, int]:
        # 3.3 answers 200 to a range, today's server 206: the header alone tells what came.
        told = stream.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(told)
        if found is None:
            raise DecodeError(
                f"a range was asked for, and the answer from {stream.peer} does not say what came: {told!r}"
            )
        first, last, total = map(int, found.groups())
        return first, last, total


async def tell(progress: Progress | None, done: int, total: int | None) -> None:
    """Call a user's callback, which may be async."""
    if progress is not None:
        told: Any = progress(done, total)
        if told is not None:
            await told
