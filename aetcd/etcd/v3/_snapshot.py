"""A member's whole database, as a stream that is checked while it passes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import msgspec
from anyio import to_thread
from attrs import define, field

from aetcd._wire.message import Effect
from aetcd.errors import DecodeError
from aetcd.etcd.v3._arguments import is_async
from aetcd.etcd.v3._codec import Route
from aetcd.etcd.v3._streams import Envelope, Messages, open_stream

if TYPE_CHECKING:
    from aetcd._transport.timeouts import Timeout
    from aetcd.etcd.v3._gateway import Gateway

__all__ = [
    "Progress",
    "SavedSnapshot",
    "SnapshotStream",
    "check_progress",
    "open_snapshot",
    "save",
    "taking_the_place_of",
]

SNAPSHOT = Route(operation="v3 snapshot", path="/maintenance/snapshot", effect=Effect.READ)

Progress = Callable[[int, int], object]
"""Told of the database's bytes that have come, and of those that are still to come."""

WRITE_AT_ONCE = 1 << 20  # bytes: the hop to a thread costs as much as reading some ten thousand


class SavedSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that was saved whole: `etcdutl snapshot restore` takes the file.

    size: Bytes of the database; the file is longer by its checksum.
    sha256: Of the database, as the server counted it and as it was read.
    peer: URL of the member whose database it is.
    """

    path: Path
    size: int
    sha256: bytes
    peer: str


class _Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One message: a piece of the database, or behind the last of them its SHA-256."""

    remaining_bytes: int = 0
    blob: bytes = b""


@define(eq=False)
class SnapshotStream:
    """The database piece by piece, and its SHA-256 of 32 bytes last: together the file that `etcdutl` restores.

    It ends after the checksum was found right; until then nothing of it can be trusted. Iteration raises DecodeError
    for a wrong checksum, ConnectFailed where the stream ended early, and what reading raises.

    done: Bytes of the database that were read.
    remaining: Bytes still to come, as the server says; 0 before the first piece too.
    sha256: The checksum; empty until it came and was right.
    """

    _messages: Messages[_Chunk]
    done: int = field(default=0, init=False)
    remaining: int = field(default=0, init=False)
    sha256: bytes = field(default=b"", init=False)
    _counted: Any = field(factory=hashlib.sha256, init=False)

    @property
    def peer(self) -> str:
        """URL of the member whose database it is."""
        return self._messages.stream.peer

    def __repr__(self) -> str:
        return f"<SnapshotStream from {self.peer}: {self.done} bytes, {self.remaining} to come>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunks: Sequence[_Chunk] = await self._messages.next()
        if chunks:
            return b"".join(map(self._checked, chunks))
        if not self.sha256:
            raise self._messages.cut("before the snapshot's checksum")
        raise StopAsyncIteration

    def _checked(self, chunk: _Chunk) -> bytes:
        if self.sha256:
            raise DecodeError("the snapshot goes on behind its checksum")
        if self.done and not self.remaining:
            if chunk.blob != self._counted.digest():
                raise DecodeError(f"the snapshot of {self.peer} came damaged: its SHA-256 is another")
            self.sha256 = chunk.blob
        else:
            self._counted.update(chunk.blob)
            self.done += len(chunk.blob)
            self.remaining = chunk.remaining_bytes
        return chunk.blob


@asynccontextmanager
async def open_snapshot(
    gateway: Gateway, *, timeout: float | Timeout | None, peer: str | None
) -> AsyncIterator[SnapshotStream]:
    """Have a member send its database."""
    async with open_stream(gateway, SNAPSHOT, {}, Envelope[_Chunk], timeout=timeout, peer=peer) as messages:
        yield SnapshotStream(messages)


def check_progress(progress: Progress | None) -> None:
    """Raises TypeError for what cannot be called, and for what would have to be awaited."""
    if progress is None:
        return
    if not callable(progress):
        raise TypeError(f"progress must be a function, not {type(progress).__name__}")
    if is_async(progress):
        raise TypeError("progress must be an ordinary function: what an async one returns would not be awaited")


async def save(stream: SnapshotStream, file: BinaryIO, progress: Progress | None) -> None:
    """Write all of it to disk, by threads."""
    gathered = bytearray()
    async for piece in stream:
        gathered += piece
        if len(gathered) >= WRITE_AT_ONCE:
            await to_thread.run_sync(file.write, gathered)
            gathered = bytearray()
        if progress is not None:
            progress(stream.done, stream.remaining)
    await to_thread.run_sync(_write_and_sync, file, gathered)


@contextmanager
def taking_the_place_of(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when the block ends well, and else is gone."""
    if path.is_dir():
        raise IsADirectoryError(f"path is a folder: {path}")
    # Nothing is awaited here, so that no cancel comes between. Readable by its owner only, as etcdctl has it.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink()
        raise


def _write_and_sync(file: BinaryIO, last: bytes | bytearray) -> None:
    file.write(last)
    file.flush()
    os.fsync(file.fileno())
