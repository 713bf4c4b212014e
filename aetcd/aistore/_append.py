"""An object that is written in steps, and is there when the last one is done."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from attrs import define, field

from aetcd._wire.message import Effect
from aetcd.aistore._codec import BucketRef, object_path, request
from aetcd.aistore._link import Link, TimeoutLike
from aetcd.aistore._sources import Source, as_source
from aetcd.aistore._writing import OCTETS
from aetcd.errors import DecodeError

__all__ = ["Appender"]


@define(eq=False)
class Appender:
    """Appends to an object inside `async with`; the end of the block makes it visible, in place of an older one.

        async with bucket.object("log").append() as appender:
            await appender.write(b"part 1")

    Until then the object is not there. A block that ends with an error, or by a cancel, flushes nothing, and nothing is
    visible; what was sent stays on the target until it is cleaned up. A write that failed leaves its outcome open, so
    that no further one is sent and nothing is flushed: begin again.

    Source: reference, "APPEND to object" and "Finalize APPEND". The names in the query and of the handle's header are
    others today, where those of 3.3 are a plain put that overwrites; so the dialect is settled first.
    """

    _link: Link = field(repr=False)
    _bucket: BucketRef
    _name: str
    _timeout: TimeoutLike
    _handle: str = field(default="", init=False)
    _open: bool = field(default=False, init=False)
    _broken: bool = field(default=False, init=False)
    size: int = field(default=0, init=False)

    async def __aenter__(self) -> Self:
        await self._link.dialect(self._timeout)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if error is not None:
            return
        if self._broken:
            raise RuntimeError("a write of this append failed, and the block went on: nothing was flushed")
        if not self._handle:
            # Without a step there is nothing to flush, and a block that wrote nothing still promises the object.
            await self._step("append", as_source(b""))
        await self._step("flush", None)

    async def write(self, content: Any, *, length: int | None = None) -> None:
        """Append bytes, a file, a path or what an async iterator gives.

        Raises OutcomeUnknown where the connection broke: the append is then of no more use.
        """
        if not self._open:
            raise RuntimeError("the append is not open: use `async with`")
        if self._broken:
            raise RuntimeError("an earlier write of this append failed: begin again")
        source = as_source(content, length)
        try:
            await self._step("append", source)
        finally:
            source.close()

    async def _step(self, kind: str, source: Source | None) -> None:
        dialect = await self._link.dialect(self._timeout)
        step, handle = dialect.append
        asked = request(
            kind,
            "PUT",
            object_path(self._bucket, self._name),
            effect=Effect.ONCE,
            query=[*self._bucket.query, (step, kind), (handle, self._handle)],
            headers=OCTETS if source is not None else {},
        )
        self._broken = True
        if source is None:
            await self._link.go(asked, self._timeout)
            self._broken = False
            return
        pieces = source.pieces()
        answer = await self._link.upload(
            asked, pieces, length=source.length, pause=self._timeout, budget=self._link.budget(self._timeout)
        )
        self._handle = answer.headers.get(dialect.headers["handle"], "")
        if not self._handle:
            # Without it the next step would begin another object: a server of another dialect has overwritten this one.
            raise DecodeError(f"an append was answered by {answer.peer} without a handle: is it of another version?")
        self._broken = False
        self.size += pieces.given
